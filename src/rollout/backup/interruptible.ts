/** Ctrl-C during a statement: Postgres would go on with it, unasked for, until it has an answer to send. */
import { type Connection, withConnection } from '../connection.ts';

/**
 * Runs `work`; when `signal` aborts, the statement that the client runs is cancelled, so that `work` fails and cleans up.
 *
 * @throws the signal's reason when it was aborted
 */
export async function interruptible<T>(
  url: string,
  client: Connection,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  const cancel = () => {
    withConnection(url, 'cancel', (other) => other.query('select pg_cancel_backend($1)', [rows[0]?.pid])).catch(() => {
      // The server is gone, and the statement with it.
    });
  };
  signal.addEventListener('abort', cancel, { once: true });
  try {
    const result = await work();
    signal.throwIfAborted();
    return result;
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}
