/** HTTP over kept connections: fetch takes several times as long as the server does. */
import { Agent, type IncomingHttpHeaders, request } from 'node:http';

export interface WireRequest {
  readonly method: string;
  /** Path and query, as they go out. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  /** Makes the client go away in the middle of the request. */
  readonly signal?: AbortSignal;
}

export interface WireAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface Client {
  send(wire: WireRequest): Promise<WireAnswer>;
  /** How many answers have come. */
  readonly answered: number;
  close(): void;
}

const timeoutMs = 30_000;

export function openClient(url: string): Client {
  const { hostname, port } = new URL(url);
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  let answered = 0;
  return {
    get answered() {
      return answered;
    },
    send: ({ method, target, headers, body, signal }) =>
      new Promise((resolve, reject) => {
        const outgoing = request(
          {
            agent,
            hostname,
            port,
            method,
            path: target,
            timeout: timeoutMs,
            ...(signal ? { signal } : {}),
            headers: {
              ...headers,
              ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }),
            },
          },
          (incoming) => {
            const chunks: Buffer[] = [];
            incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
            incoming.on('error', reject);
            incoming.on('end', () => {
              answered += 1;
              const text = Buffer.concat(chunks).toString('utf8');
              resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text });
            });
          },
        );
        outgoing.on('timeout', () => outgoing.destroy(new Error(`${method} ${target} had no answer in time`)));
        outgoing.on('error', reject);
        outgoing.end(body);
      }),
    close: () => agent.destroy(),
  };
}
