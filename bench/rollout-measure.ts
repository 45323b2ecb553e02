/** One way, on a fresh copy, with the application at work; and the application alone for as long, to tell the noise. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Postgres } from './rollout-copies.ts';
import { oldApplicationUrl, withClient } from './rollout-data.ts';
import type { Way } from './rollout-ways.ts';
import { startWriters, type WriterFigures, type Written, writerFigures } from './rollout-writers.ts';

export interface Measured {
  readonly way: string;
  readonly ownersMs: number | null;
  readonly wholeMs: number;
  /** Rows of the table over the time until they had owners, or over the whole where that is one. */
  readonly rowsPerSecond: number;
  /** Of the whole server, the application's own included. */
  readonly walMB: number;
  /** The table with its indexes afterwards. */
  readonly tableMB: number;
  readonly memoryMiB: number | null;
  readonly writers: WriterFigures;
  /** The application alone on another copy for as long. */
  readonly alone: WriterFigures;
  readonly steps: readonly { readonly name: string; readonly ms: number }[];
}

export const writersAtWork = { connections: 4, perSecond: 100 };
/** The application is at its pace before anything begins, and goes on for a while when it has ended. */
const settleMs = 1_500;
const aloneMaxMs = 120_000;

export async function measureWay(postgres: Postgres, way: Way, rows: number, directory: string): Promise<Measured> {
  const started = await postgres.withCopy(way.data, async (url) => {
    const before = await figuresOf(url);
    const { result, written } = await besideWriters(postgres, url, () => way.go(url, directory));
    const after = await figuresOf(url);
    return { ...result, written, walMB: (after.wal - before.wal) / 1e6, tableMB: after.size / 1e6 };
  });
  const alone = await postgres.withCopy(way.data, (url) =>
    besideWriters(postgres, url, () => delay(Math.min(aloneMaxMs, started.wholeMs))),
  );
  const { ownersMs, wholeMs, walMB, tableMB, memoryMiB, intervals } = started;
  return {
    way: way.name,
    ownersMs,
    wholeMs,
    rowsPerSecond: rows / ((ownersMs ?? wholeMs) / 1000),
    walMB,
    tableMB,
    memoryMiB,
    writers: writerFigures(started.written, intervals),
    alone: writerFigures(alone.written, []),
    steps: intervals.map(({ name, from, until }) => ({ name, ms: until - from })),
  };
}

async function besideWriters<T>(
  postgres: Postgres,
  url: string,
  work: () => Promise<T>,
): Promise<{ result: T; written: Written }> {
  const writers = await startWriters({ url: oldApplicationUrl(url), ...writersAtWork });
  postgres.onStop(writers.kill);
  try {
    await delay(settleMs);
    const result = await work();
    await delay(settleMs);
    return { result, written: await writers.stop() };
  } catch (error) {
    // Before their database goes.
    await writers.kill();
    throw error;
  }
}

async function figuresOf(url: string): Promise<{ wal: number; size: number }> {
  return withClient(url, async (client) => {
    const { rows } = await client.query<{ wal: number; size: number }>(
      `select (pg_current_wal_lsn() - '0/0')::float8 as wal, pg_total_relation_size('tasks')::float8 as size`,
    );
    const [row] = rows;
    if (!row) throw new Error('a query without a table returned no row');
    return row;
  });
}
