/** What every answer must be, whatever was asked. */
import { problemKinds } from '../../../../src/errors.ts';
import { objectOf } from './operations.ts';
import type { Outcome, WireAnswer } from './wire.ts';

export interface Forbidden {
  /** Texts of victims' rows: in no answer. */
  readonly marks: readonly string[];
  /** Ids of victims' rows; they may come back to whoever sent them. */
  readonly ids: ReadonlySet<string>;
}

export interface Expectation {
  readonly forbidden: Forbidden | undefined;
  readonly sent: Uint8Array;
  /** Ids that this caller has sent at any time, and may have stored. */
  readonly known: ReadonlySet<string>;
  readonly must?: { readonly statuses: readonly number[]; readonly why: string } | undefined;
  readonly mustNotSucceed?: string | undefined;
}

/** What only the inside of the server says. None of it is in what we send. */
const insides: readonly (readonly [string, RegExp])[] = [
  ['a stack trace', /\n?\s+at (?:async )?[\w.<>$ [\]]+ \(?(?:file:|node:|\/)|\bat .{0,80}\.[cm]?[jt]s:\d+/],
  ['a file of the server', /node_modules|file:\/\/\/(?!dev)|\/src\/\w+|\bdist\/\w+|\w\.[cm]?[jt]s:\d+/],
  ['an error of Postgres', /syntax error at|invalid input syntax|unterminated quoted|invalid byte sequence|violates [\w-]+ constraint|duplicate key value|relation "|column "|operator does not exist|permission denied for|current transaction is aborted|SQLSTATE|canceling statement|pg_catalog|malformed array|out of range for type|\bRF00\d\b/],
  ['a role of the database', /ringfence_(?:app|system|accounts)/],
  ['an error of the runtime', /\b(?:Type|Range|Reference|Syntax)Error\b|is not a function|Cannot read propert|undefined \(reading|Maximum call stack/],
  ['a database of the server', /postgres(?:ql)?:\/\//],
]; // biome-ignore format: a table

const uuids = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;

export function uuidsIn(bytes: Uint8Array): string[] {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1').toLowerCase().match(uuids) ?? [];
}

/** @returns what is wrong with it; nothing when it is as it must be */
export function judge(outcome: Outcome, expected: Expectation): string[] {
  if (outcome === 'hang') return ['no answer within the deadline'];
  if (outcome === 'closed') return ['the server hung up without an answer'];
  if (outcome === 'malformed') return ['the answer is no HTTP'];
  const { status } = outcome;
  const body = outcome.body.toString('utf8');
  return [
    ...(status >= 500 ? [`status ${status}: ${body.slice(0, 300)}`] : []),
    ...(status >= 400 ? faultsOfProblem(outcome, body) : []),
    ...leaks(outcome, body, expected),
    ...faultsOfFate(status, expected),
  ];
}

function faultsOfFate(status: number, { must, mustNotSucceed }: Expectation): string[] {
  if (must && !must.statuses.includes(status)) {
    return [`status ${status} instead of ${must.statuses.join(' or ')}: ${must.why}`];
  }
  return mustNotSucceed !== undefined && status < 400 ? [`status ${status}: ${mustNotSucceed}`] : [];
}

function faultsOfProblem({ status, headers, head }: WireAnswer, body: string): string[] {
  if (!/^application\/problem\+json\b/.test(headers.get('content-type') ?? '')) {
    return [`status ${status} is no problem document: ${head.slice(0, 200)}`];
  }
  // The answer to HEAD.
  if (body === '') return [];
  let document: Readonly<Record<string, unknown>>;
  try {
    document = objectOf(JSON.parse(body));
  } catch {
    return [`status ${status}: the problem document is no JSON`];
  }
  const kind = Object.entries(problemKinds).find(([code]) => code === document.code)?.[1];
  const faults: string[] = [];
  if (!kind) faults.push(`the code ${String(document.code)} is not in the table`);
  else if (kind.status !== status || document.status !== status)
    faults.push(`${String(document.code)} with status ${status}`);
  if (document.type !== `urn:ringfence:problem:${String(document.code)}`)
    faults.push('the type is not that of the code');
  if (typeof document.detail !== 'string' || typeof document.title !== 'string') faults.push('no title or no detail');
  if (document.request_id !== headers.get('x-request-id')) faults.push('request_id is not x-request-id');
  const inside = insides.find(([, form]) => form.test(body));
  if (inside) faults.push(`it shows ${inside[0]}: ${body.slice(0, 400)}`);
  return faults;
}

function leaks({ status, headers, head, body: bytes }: WireAnswer, body: string, expected: Expectation): string[] {
  const { forbidden, sent, known } = expected;
  const faults: string[] = [];
  if (headers.has('x-injected') || headers.has('set-cookie')) faults.push('a header was injected');
  if (status >= 400 && echoesCredential(sent, body)) faults.push('it repeats the credential');
  if (!forbidden) return faults;
  const mark = forbidden.marks.find((text) => body.includes(text) || head.includes(text));
  if (mark !== undefined) faults.push(`it shows a victim's text ${mark}`);
  const id = uuidsIn(bytes).find((found) => forbidden.ids.has(found) && !known.has(found));
  if (id !== undefined) faults.push(`it shows a victim's id ${id}`);
  return faults;
}

const credentialLength = 24;

function echoesCredential(sent: Uint8Array, body: string): boolean {
  const head =
    Buffer.from(sent.buffer, sent.byteOffset, Math.min(sent.length, 40_000))
      .toString('latin1')
      .split('\r\n\r\n', 1)[0] ?? '';
  for (const [, credential = ''] of head.matchAll(/^authorization: (?:\w+ )?(.*)$/gim)) {
    if (credential.length >= credentialLength && body.includes(credential.slice(-credentialLength))) return true;
  }
  return false;
}

const compared = [
  'etag',
  'content-type',
  'content-length',
  'location',
  'link',
  'retry-after',
  'allow',
  'www-authenticate',
  'idempotency-replayed',
  'cache-control',
  'vary',
];

/**
 * What a caller can tell apart, without what differs from one request to the next in any world: names, moments, and with these
 * the length, since Postgres leaves zeros at a moment's end out.
 */
export function perceived(answer: WireAnswer): string {
  const body = answer.body.toString('utf8').toLowerCase().replaceAll(uuids, '<id>').replaceAll(/\d{4}-\d\d-\d\dt[\d:.]+(?:z|[+-]\d\d:\d\d)/g, '<time>'); // biome-ignore format: one step
  const told = body.includes('<time>') ? compared.filter((name) => name !== 'content-length') : compared;
  const headers = told.map((name) => `${name}: ${answer.headers.get(name) ?? ''}`);
  const requestId = answer.headers.get('x-request-id')?.toLowerCase() ?? '';
  return [answer.status, ...headers, requestId === '' ? body : body.replaceAll(requestId, '<request>')].join('\n');
}
