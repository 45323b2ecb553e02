/** The framing of Postgres' protocol 3 (manual, 54.7): enough to stop between two messages. */

/** Who sent it: the server under test, or Postgres. */
export type Side = 'server' | 'postgres';

export interface Message {
  readonly side: Side;
  /** Its type byte; '' for the first message of a connection, which has none. */
  readonly type: string;
  /** As it goes over the wire. */
  readonly bytes: Buffer;
}

const lengthBytes = 4;

/** Cuts one direction of a connection into messages. */
export class Framing {
  readonly #side: Side;
  #rest: Buffer = Buffer.alloc(0);
  #untyped: boolean;

  constructor(side: Side) {
    this.#side = side;
    this.#untyped = side === 'server';
  }

  /** @returns the messages that are complete now */
  push(chunk: Buffer): Message[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const messages: Message[] = [];
    for (;;) {
      const head = this.#untyped ? 0 : 1;
      if (this.#rest.length < head + lengthBytes) return messages;
      const end = head + this.#rest.readUInt32BE(head);
      if (this.#rest.length < end) return messages;
      const bytes = this.#rest.subarray(0, end);
      messages.push({ side: this.#side, type: this.#untyped ? '' : String.fromCharCode(bytes[0] ?? 0), bytes });
      this.#untyped = false;
      this.#rest = this.#rest.subarray(end);
    }
  }
}

/** A simple query, `Q`. */
export function simpleQuery(sql: string): Buffer {
  const text = Buffer.from(`${sql}\0`);
  const head = Buffer.alloc(1 + lengthBytes);
  head.write('Q');
  head.writeUInt32BE(lengthBytes + text.length, 1);
  return Buffer.concat([head, text]);
}

/** The text of a simple query or of a statement to be parsed; '' in any other message. */
export function sqlOf({ side, type, bytes }: Message): string {
  if (side !== 'server' || (type !== 'Q' && type !== 'P')) return '';
  const start = type === 'Q' ? 1 + lengthBytes : bytes.indexOf(0, 1 + lengthBytes) + 1;
  return bytes.toString('utf8', start, bytes.indexOf(0, start));
}

/** The user named in a startup message: behind length and version, pairs of texts, each ended by a zero. */
export function startupUser({ type, bytes }: Message): string {
  if (type !== '') return '';
  const words = bytes.toString('utf8', 2 * lengthBytes).split('\0');
  return words[words.indexOf('user') + 1] ?? '';
}

/** The process number in BackendKeyData, `K`. */
export function backendPid({ side, type, bytes }: Message): number | undefined {
  return side === 'postgres' && type === 'K' ? bytes.readUInt32BE(1 + lengthBytes) : undefined;
}

/** Puts one text in the place of another of the same length, so that the message's length holds. */
export function replaced(bytes: Buffer, text: string, by: string): Buffer {
  if (text.length !== by.length) throw new Error(`"${by}" is not as long as "${text}"`);
  const at = bytes.indexOf(text);
  if (at < 0) return bytes;
  const changed = Buffer.from(bytes);
  changed.write(by, at);
  return changed;
}
