/** What the server sent, made readable, and two of them held against each other. */

/** One message of the server, as a line: a row, a command's tag, an error with all its fields. */
export type Trace = readonly string[];

const errorFields: Readonly<Record<string, string>> = {
  C: 'code',
  M: 'message',
  D: 'detail',
  H: 'hint',
  W: 'where',
  q: 'query',
  P: 'position',
  s: 'schema',
  t: 'table',
  c: 'column',
  d: 'type',
  n: 'constraint',
};

/** @param bytes whole messages, as `Wire.run` returns them */
export function decode(bytes: Buffer): Trace {
  const lines: string[] = [];
  for (let at = 0; at + 5 <= bytes.length; ) {
    const type = String.fromCharCode(bytes[at] ?? 0);
    const length = bytes.readUInt32BE(at + 1);
    lines.push(describe(type, bytes.subarray(at + 5, at + 1 + length)));
    at += 1 + length;
  }
  return lines;
}

function describe(type: string, body: Buffer): string {
  switch (type) {
    case 'D':
      return rowOf(values(body));
    case 'E':
    case 'N':
      return `${type === 'E' ? 'error' : 'notice'} ${fault(body)}`;
    case 'C':
      return `done ${strings(body)[0]}`;
    case 'd':
      return `copy ${body.toString()}`;
    case 'A':
      return `notification ${strings(body.subarray(4)).join(' ')}`;
    case 'S':
      return `parameter ${strings(body).join(' = ')}`;
    case 'T':
      return `columns ${body.readUInt16BE(0)}`;
    case 'Z':
      return `ready ${body.toString()}`;
    default:
      return type;
  }
}

/** No value can hold a zero byte, so columns stay apart. */
export const rowOf = (columns: readonly string[]): string => `row ${columns.join('\0')}`;

/** The columns of a row, or null where a line is something else. */
export const columnsOf = (line: string): string[] | null =>
  line.startsWith('row ') ? line.slice('row '.length).split('\0') : null;

function values(body: Buffer): string[] {
  const found: string[] = [];
  let at = 2;
  for (let column = body.readUInt16BE(0); column > 0; column -= 1) {
    const length = body.readInt32BE(at);
    found.push(length < 0 ? 'null' : body.subarray(at + 4, at + 4 + length).toString());
    at += 4 + Math.max(length, 0);
  }
  return found;
}

function fault(body: Buffer): string {
  return strings(body)
    .filter((field) => field[0] !== undefined && field[0] in errorFields)
    .map((field) => `${errorFields[field[0] ?? '']}: ${field.slice(1)}`)
    .join('; ');
}

const strings = (body: Buffer) => body.toString().split('\0').slice(0, -1);

/** What is the connection's and the database's own, so that it differs between any two. */
interface Own {
  readonly pid: number;
  readonly database: string;
  readonly databaseOid: number;
}

/**
 * Takes out what differs between any two runs of a statement, whoever's rows there are: the connections' own identities
 * and numbers, the databases' names, the time of day, fresh random ids.
 */
export function withoutChance(trace: Trace, own: Own): Trace {
  const numbers = new RegExp(`\\b${own.pid}\\b`, 'g');
  const database = new RegExp(`\\b${own.databaseOid}\\b`, 'g');
  return trace.map((line) =>
    line
      .replace(signed, '<signed>')
      .replace(numbers, '<pid>')
      .replaceAll(own.database, '<database>')
      .replace(database, '<database oid>')
      .replace(recentTime, '<now>')
      .replace(randomUuid, '<uuid>')
      .replace(/\b(?:actual time|Time|time)[=:] ?[\d.]+(?:\.\.[\d.]+)?(?: ms)?/g, '<time>')
      .replace(/"?\b(?:Planning|Execution|Actual)[ \w]*Time"?: [\d.]+(?: ms)?/g, '<time>'),
  );
}

/** What is signed holds a backend's number and a moment. */
const signed = /\d{13}\.\d+\.[0-9a-f]{16}\.[0-9a-f]{60,64}/gi;
/** Without word boundaries: two of them may stand side by side. */
const recentTime = /20(?:2[5-9]|[3-9]\d)-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d(?::\d\d)?)?/g;
/** Version 4; the ids of the worlds are of version 7. */
const randomUuid = /\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b/g;

export const same = (one: Trace, other: Trace): boolean =>
  one.length === other.length && one.every((line, i) => line === other[i]);

/** Rows in whatever order. */
export const sorted = (trace: Trace): Trace => [...trace].sort();

/** The first lines in which two traces part, for people. */
export function firstDifference(one: Trace, other: Trace): string {
  const at = one.findIndex((line, i) => line !== other[i]);
  const i = at < 0 ? one.length : at;
  const cut = (line: string | undefined) =>
    line === undefined ? 'nothing' : line.slice(0, 300).replaceAll('\0', ' | ');
  return `${cut(one[i])}  ≠  ${cut(other[i])}`;
}

/** The answers to each text that was sent. */
export function messagesIn(trace: Trace): Trace[] {
  const messages: string[][] = [[]];
  for (const line of trace) {
    messages.at(-1)?.push(line);
    if (line.startsWith('ready ')) messages.push([]);
  }
  return messages.slice(0, -1);
}

/** The answers to each statement of one text. What comes after the last is the transaction's. */
export function answersIn(message: Trace): Trace[] {
  const answers: string[][] = [[]];
  for (const line of message) {
    answers.at(-1)?.push(line);
    if (/^(?:done|error) |^I$/.test(line)) answers.push([]);
  }
  return answers;
}
