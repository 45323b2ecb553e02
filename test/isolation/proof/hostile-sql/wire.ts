/**
 * A connection whose every byte is seen. What a driver throws away (COPY data, notices, parameter reports, notifications)
 * is part of what an attacker observes, so the trace of a statement is what the server sent, and nothing less.
 */
import type { Socket } from 'node:net';
import pg from 'pg';

/** How one statement is sent. `simple` may hold several; `extended` is parsed, bound and executed, one alone. */
export interface Sent {
  readonly sql: string;
  readonly protocol: 'simple' | 'extended';
  /** Bound as text; only with `extended`. */
  readonly parameters?: readonly string[];
}

export class Wire {
  readonly pid: number;
  readonly databaseOid: number;
  /** The server's clock minus ours, in milliseconds. */
  readonly clockOffsetMs: number;
  readonly #client: pg.Client;
  readonly #socket: Socket;
  #chunks: Buffer[] = [];
  #scanner = new ReadyCounter();
  #wake: (() => void) | undefined;
  #ended = false;

  private constructor(client: pg.Client, socket: Socket, session: { pid: number; oid: number; now: number }) {
    this.#client = client;
    this.#socket = socket;
    this.pid = session.pid;
    this.databaseOid = session.oid;
    this.clockOffsetMs = session.now - Date.now();
    socket.removeAllListeners('data');
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#scanner.take(chunk);
      this.#wake?.();
    });
    socket.on('close', () => {
      this.#ended = true;
      this.#wake?.();
    });
  }

  /** Logs in with the driver, then takes the socket over. @param options what the session starts with and resets to */
  static async connect(url: string, options: string): Promise<Wire> {
    const client = new pg.Client({ connectionString: url, options });
    client.on('error', () => {});
    await client.connect();
    const { rows } = await client.query<{ pid: number; oid: number; now: number }>(
      `select pg_backend_pid() as pid, oid::int, extract(epoch from clock_timestamp())::float8 * 1000 as now
       from pg_database where datname = current_database()`,
    );
    const [session] = rows;
    if (session === undefined) throw new Error('the server did not say which connection this is');
    const socket = (client as unknown as { connection: { stream: Socket } }).connection.stream;
    return new Wire(client, socket, session);
  }

  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Sends everything in one write, as the application does, and waits for all answers.
   *
   * @returns what came after the first `skip` answers: the server's bytes, as they came
   */
  async run(statements: readonly Sent[], skip: number): Promise<Buffer> {
    this.#chunks = [];
    this.#scanner = new ReadyCounter(skip);
    this.#socket.write(Buffer.concat(statements.flatMap(encode)));
    while (this.#scanner.seen < statements.length && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return Buffer.concat(this.#chunks).subarray(this.#scanner.skippedBytes);
  }

  async end(): Promise<void> {
    this.#socket.destroy();
    await this.#client.end().catch(() => {});
  }
}

/** Counts ReadyForQuery messages in a stream of chunks (Postgres manual, 54.7: type byte, then length, then body). */
class ReadyCounter {
  seen = 0;
  skippedBytes = 0;
  readonly #skip: number;
  #position = 0;
  #header: Buffer = Buffer.alloc(0);
  #bodyLeft = 0;
  #type = 0;

  constructor(skip = 0) {
    this.#skip = skip;
  }

  take(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#bodyLeft === 0 && this.#header.length < 5) {
        const part = chunk.subarray(at, at + 5 - this.#header.length);
        this.#header = this.#header.length === 0 ? part : Buffer.concat([this.#header, part]);
        at += part.length;
        this.#position += part.length;
        if (this.#header.length < 5) return;
        this.#type = this.#header[0] ?? 0;
        this.#bodyLeft = this.#header.readUInt32BE(1) - 4;
      }
      const step = Math.min(this.#bodyLeft, chunk.length - at);
      at += step;
      this.#position += step;
      this.#bodyLeft -= step;
      if (this.#bodyLeft > 0) return;
      this.#header = Buffer.alloc(0);
      if (this.#type === 0x5a) {
        this.seen += 1;
        if (this.seen === this.#skip) this.skippedBytes = this.#position;
      }
    }
  }
}

function encode(statement: Sent): Buffer[] {
  // Ignored unless a COPY waits for data (manual, 54.2.7): so every COPY FROM gets a line and an end.
  if (statement.protocol === 'simple') {
    return [message('Q', text(statement.sql)), message('d', Buffer.from('x\n')), message('c')];
  }
  const parameters = statement.parameters ?? [];
  const values = parameters.flatMap((value) => {
    const bytes = Buffer.from(value);
    return [int32(bytes.length), bytes];
  });
  return [
    message('P', text(''), text(statement.sql), int16(0)),
    message('B', text(''), text(''), int16(0), int16(parameters.length), ...values, int16(0)),
    message('D', Buffer.from('P'), text('')),
    message('E', text(''), int32(0)),
    message('f', text('no data')),
    message('S'),
  ];
}

function message(type: string, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body]);
}

/** A zero byte ends a text on the wire, so none may be in it. */
const text = (value: string) => Buffer.from(`${value.replaceAll('\0', '')}\0`);

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}
