/** Slowloris: clients that send a byte now and then and never finish. They must cost nobody else anything, and be ended. */
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const sockets = 48;
const trickleMs = 1_000;
/** Node's default headersTimeout and our requestTimeout are 60 s; it looks every 30 s. */
const patienceMs = 105_000;

export interface SlowClients {
  /** @param waited whether to wait until the server has ended all of them */
  end(waited: boolean): Promise<{ readonly figure: string; readonly faults: readonly string[] }>;
}

export function openSlowly(url: string): SlowClients {
  const { hostname, port } = new URL(url);
  const opened = performance.now();
  const open = new Set<Socket>();
  for (let n = 0; n < sockets; n++) {
    const socket = connect({ host: hostname, port: Number(port) });
    open.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => open.delete(socket));
    socket.resume();
    // Half of them in the headers, half in the body.
    const length = n % 2 === 0 ? '' : 'content-length: 1000\r\n\r\n';
    socket.write(`POST /api/auth/login HTTP/1.1\r\nhost: fuzz\r\n${length}`);
  }
  const trickle = setInterval(() => {
    for (const socket of open) if (socket.writable) socket.write('x');
  }, trickleMs);
  return {
    async end(waited) {
      while (waited && open.size > 0 && performance.now() - opened < patienceMs) await delay(200);
      const left = open.size;
      clearInterval(trickle);
      for (const socket of open) socket.destroy();
      return {
        figure: `${sockets - left} of ${sockets} ended by the server`,
        faults: waited && left > 0 ? [`${left} slow connections were still open after ${patienceMs / 1000} s`] : [],
      };
    },
  };
}
