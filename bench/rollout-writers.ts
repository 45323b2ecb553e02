/** Starts the old application beside a rollout, and makes figures of what its statements took. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { quantile } from './measurement.ts';

export const writersOrder = z.object({
  url: z.string(),
  connections: z.int().positive(),
  /** Statements a second, of each connection. */
  perSecond: z.number().positive(),
});
type WritersOrder = z.infer<typeof writersOrder>;

const statement = z.object({
  /** Milliseconds since the Unix epoch, of a clock that does not jump meanwhile. */
  from: z.number(),
  ms: z.number(),
  write: z.boolean(),
  failed: z.boolean(),
});
export type Statement = z.infer<typeof statement>;

const written = z.object({
  statements: z.array(statement),
  faults: z.array(z.object({ message: z.string(), count: z.int() })),
});
export type Written = z.infer<typeof written>;

export interface WritersProcess {
  /** Lets every statement end. */
  stop(): Promise<Written>;
  kill(): Promise<void>;
}

const script = fileURLToPath(new URL('rollout-writers-process.ts', import.meta.url));

/** Resolves when they write. */
export async function startWriters(order: WritersOrder): Promise<WritersProcess> {
  const child = fork(script, [JSON.stringify(order)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  await message(child);
  return {
    async stop() {
      const answer = message(child);
      child.send('stop');
      const said = written.parse(await answer);
      child.disconnect();
      return said;
    },
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

function message(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const settle = (finish: () => void) => {
      child.off('message', onMessage).off('exit', onExit);
      finish();
    };
    const onMessage = (received: unknown) => settle(() => resolve(received));
    const onExit = () => settle(() => reject(new Error('the writers ended before their time')));
    child.on('message', onMessage).on('exit', onExit);
  });
}

/** A stretch of time with a name: a statement or a step of the rollout. */
export interface Interval {
  readonly name: string;
  readonly from: number;
  readonly until: number;
}

export interface WriterFigures {
  readonly statements: number;
  readonly perSecond: number;
  readonly failed: number;
  readonly faults: Written['faults'];
  readonly writes: WaitFigures;
  readonly reads: WaitFigures;
  /** The longest write of each interval, worst first. */
  readonly byInterval: readonly { readonly name: string; readonly longestWriteMs: number }[];
}

interface WaitFigures {
  /** Milliseconds. */
  readonly longest: number;
  readonly p99: number;
  readonly p50: number;
}

const intervalsShown = 6;

export function writerFigures({ statements, faults }: Written, intervals: readonly Interval[]): WriterFigures {
  if (statements.length === 0) throw new Error('the writers sent no statement');
  const ends = statements.map(({ from, ms }) => from + ms);
  const seconds =
    (ends.reduce((a, b) => Math.max(a, b)) - statements.reduce((a, s) => Math.min(a, s.from), Infinity)) / 1000;
  const writes = statements.filter((one) => one.write);
  return {
    statements: statements.length,
    perSecond: statements.length / seconds,
    failed: statements.filter((one) => one.failed).length,
    faults,
    writes: waits(writes),
    reads: waits(statements.filter((one) => !one.write)),
    byInterval: intervals
      .map(({ name, from, until }) => ({
        name,
        longestWriteMs: writes.reduce((longest, one) => {
          const meets = one.from < until && one.from + one.ms > from;
          return meets ? Math.max(longest, one.ms) : longest;
        }, 0),
      }))
      .toSorted((a, b) => b.longestWriteMs - a.longestWriteMs)
      .slice(0, intervalsShown),
  };
}

function waits(statements: readonly Statement[]): WaitFigures {
  const sorted = Float64Array.from(statements, ({ ms }) => ms).sort();
  return { longest: sorted.at(-1) ?? Number.NaN, p99: quantile(sorted, 0.99), p50: quantile(sorted, 0.5) };
}
