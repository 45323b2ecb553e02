/** HTTP by hand, for requests that no client would send. */
import { connect } from 'node:net';

export interface RawAnswer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

const deadlineMs = 30_000;

/**
 * Sends bytes and reads until the server hangs up.
 *
 * @param url of the server; only host and port count
 * @returns every answer that came, in order
 */
export function sendRaw(url: string, ...pieces: (string | Uint8Array)[]): Promise<RawAnswer[]> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect({ host: hostname, port: Number(port) }, () => {
      for (const piece of pieces) socket.write(piece);
    });
    const timer = setTimeout(() => socket.destroy(new Error('the server did not hang up')), deadlineMs);
    socket.on('data', (chunk) => chunks.push(Buffer.from(chunk)));
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(answersIn(Buffer.concat(chunks)));
    });
    socket.on('error', (error) => {
      // A refusal may overtake what is still being sent.
      if (!/EPIPE|ECONNRESET/.test(error.message)) reject(error);
    });
  });
}

function answersIn(bytes: Buffer): RawAnswer[] {
  const answers: RawAnswer[] = [];
  let rest = bytes;
  while (rest.length > 0) {
    const headEnd = rest.indexOf('\r\n\r\n');
    const head = rest.subarray(0, headEnd < 0 ? rest.length : headEnd).toString('latin1');
    const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
    const bodyStart = head.length + 4;
    answers.push({
      status: Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? 0),
      head,
      body: rest.subarray(bodyStart, bodyStart + length).toString('utf8'),
    });
    rest = rest.subarray(bodyStart + length);
  }
  return answers;
}
