/** HTTP/1.1 by hand over one connection that is kept: what a client library would correct, repair or refuse is sent. */

import { connect, type Socket } from 'node:net';
import { availableParallelism, loadavg } from 'node:os';

export interface WireAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** Status line and headers as they came. */
  readonly head: string;
  readonly body: Buffer;
}

/** `closed`: the server hung up without a whole answer. `malformed`: what came is no HTTP. */
export type Outcome = WireAnswer | 'closed' | 'hang' | 'malformed';

/** A server that takes longer than this for one of our requests hangs. */
export const deadlineMs = 20_000;

/** A machine that is asked for four times what it has is late without hanging: the deadline grows with its load. */
const patience = () => Math.max(1, (loadavg()[0] ?? 0) / (4 * availableParallelism()));

/** @returns the first whole answer in the bytes and what follows it; undefined while there is none */
export function readAnswer(
  bytes: Buffer,
  method: string,
  ended: boolean,
): { answer: WireAnswer; rest: Buffer } | 'malformed' | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd < 0) return undefined;
  const head = bytes.subarray(0, headEnd).toString('latin1');
  const [first = '', ...lines] = head.split('\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3})( |$)/.exec(first)?.[1]);
  if (!(status >= 100)) return 'malformed';
  const headers = new Map<string, string>();
  for (const line of lines) {
    const field = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*([\x20-\x7e\x80-\xff\t]*)$/.exec(line);
    if (!field) return 'malformed';
    headers.set((field[1] ?? '').toLowerCase(), field[2] ?? '');
  }
  const start = headEnd + 4;
  const answer = (body: Buffer, end: number) => ({
    answer: { status, headers, head, body },
    rest: bytes.subarray(end),
  });
  if (status < 200 || status === 204 || status === 304 || method === 'HEAD') return answer(Buffer.alloc(0), start);
  if (/chunked/i.test(headers.get('transfer-encoding') ?? '')) {
    const chunks = readChunks(bytes, start);
    return chunks && answer(chunks.body, chunks.end);
  }
  const length = headers.get('content-length');
  if (length === undefined) return ended ? answer(bytes.subarray(start), bytes.length) : undefined;
  const end = start + Number(length);
  return bytes.length >= end ? answer(bytes.subarray(start, end), end) : undefined;
}

function readChunks(bytes: Buffer, start: number): { body: Buffer; end: number } | undefined {
  const parts: Buffer[] = [];
  for (let at = start; ; ) {
    const line = bytes.indexOf('\r\n', at);
    if (line < 0) return undefined;
    const size = Number.parseInt(bytes.subarray(at, line).toString('latin1'), 16);
    const data = line + 2;
    if (bytes.length < data + size + 2) return undefined;
    if (size === 0) return { body: Buffer.concat(parts), end: data + 2 };
    parts.push(bytes.subarray(data, data + size));
    at = data + size + 2;
  }
}

export class Wire {
  readonly #address: { readonly host: string; readonly port: number };
  #socket: Socket | undefined;
  readonly #deadlineMs: number;
  #received: Buffer = Buffer.alloc(0);

  constructor(url: string, deadline = deadlineMs) {
    const { hostname, port } = new URL(url);
    this.#deadlineMs = deadline;
    this.#address = { host: hostname, port: Number(port) };
  }

  /** Sends a request and waits for its answer; interim answers (1xx) are passed over. */
  async send(bytes: Uint8Array, method: string): Promise<Outcome> {
    const reused = this.#socket !== undefined;
    const outcome = await this.#exchange(bytes, method);
    // The server had already closed the connection, between two requests: that is its right.
    return outcome === 'closed' && reused ? this.#exchange(bytes, method) : outcome;
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
    this.#received = Buffer.alloc(0);
  }

  #exchange(bytes: Uint8Array, method: string): Promise<Outcome> {
    // One that the server closed between two requests tells nobody so again: the request would wait for ever.
    if (this.#socket?.destroyed) this.close();
    this.#socket ??= connect(this.#address).setNoDelay(true);
    const socket = this.#socket;
    return new Promise((resolve) => {
      const done = (outcome: Outcome) => {
        clearTimeout(timer);
        socket.removeAllListeners();
        socket.on('error', () => {});
        const keep = typeof outcome === 'object' && !/close/i.test(outcome.headers.get('connection') ?? '');
        if (!keep) this.close();
        resolve(outcome);
      };
      const look = (ended: boolean) => {
        for (;;) {
          const found = readAnswer(this.#received, method, ended);
          if (found === 'malformed') return done('malformed');
          if (found === undefined) return ended ? done('closed') : undefined;
          this.#received = found.rest;
          if (found.answer.status >= 200) return done(found.answer);
        }
      };
      const timer = setTimeout(() => done('hang'), this.#deadlineMs * patience());
      socket.on('data', (chunk: Buffer) => {
        this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
        look(false);
      });
      // A refusal may overtake what is still being sent: EPIPE and ECONNRESET are followed by "close".
      socket.on('error', () => {});
      socket.on('close', () => look(true));
      socket.write(bytes);
    });
  }
}
