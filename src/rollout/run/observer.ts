/** A connection for looking while the others are busy. Who looks waits for those who look already. */
import { type Connection, connect } from '../connection.ts';

export interface Observer {
  look<T>(work: (client: Connection) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

export async function openObserver(url: string): Promise<Observer> {
  const client = await connect(url, 'observer');
  let last: Promise<unknown> = Promise.resolve();
  return {
    look(work) {
      const result = last.then(() => work(client));
      last = result.catch(() => {});
      return result;
    },
    async close() {
      await last;
      await client.end().catch(() => {});
    },
  };
}
