/** Long statements that are watched from another connection while they run: how far, and whom they wait for. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Connection, withConnection } from '../connection.ts';
import { blockersOf } from './blockers.ts';
import type { Progress, StepRun } from './step-run.ts';

const everyMs = 1_000;

type Measure = (observer: Connection, pid: number) => Promise<Partial<Progress>>;

/**
 * Runs `work` on a connection of its own. What the observer sees goes to the progress; that it cannot look is no fault.
 *
 * @param measure how far the statement is; null where Postgres does not tell
 */
export async function watched<T>(
  run: StepRun,
  purpose: string,
  measure: Measure | null,
  work: (client: Connection) => Promise<T>,
): Promise<T> {
  return withConnection(run.url, purpose, async (client) => {
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    const pid = rows[0]?.pid ?? 0;
    const ended = new AbortController();
    const watching = watch(run, pid, measure, ended.signal);
    try {
      return await work(client);
    } finally {
      ended.abort();
      await watching;
    }
  });
}

async function watch(run: StepRun, pid: number, measure: Measure | null, ended: AbortSignal): Promise<void> {
  let told = false;
  while (!ended.aborted) {
    await delay(everyMs, undefined, { signal: ended }).catch(() => {});
    if (ended.aborted) return;
    if (run.signal.aborted && !told) {
      told = true;
      run.say('Stopping after this statement, which Postgres cannot continue later; interrupt again to stop at once.');
    }
    try {
      const progress = measure === null ? {} : await run.observe((observer) => measure(observer, pid));
      const blockers = await run.observe((observer) => blockersOf(observer, pid));
      run.report({ ...progress, note: blockers === null ? null : `waits for ${blockers}` });
    } catch {
      return;
    }
  }
}
