/** The ways by which rows come to have an owner, as they would be gone in production: while the application works. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import { type DataSet, majorityUser, withClient } from './rollout-data.ts';
import type { Interval } from './rollout-writers.ts';

export interface Gone {
  /** Until every row that was there had its owner; null where that cannot be told from the rest. */
  readonly ownersMs: number | null;
  readonly wholeMs: number;
  /** Statements or steps, in order. */
  readonly intervals: readonly Interval[];
  /** Peak resident memory of our own process in MiB; null where there is none. */
  readonly memoryMiB: number | null;
}

export interface Way {
  /** Of the command line. */
  readonly id: string;
  readonly name: string;
  readonly data: DataSet;
  go(url: string, directory: string): Promise<Gone>;
}

const epochMs = () => performance.timeOrigin + performance.now();

/**
 * Statement by statement, as somebody would type it. Rows that the application adds during the update have no owner: then
 * SET NOT NULL fails, and the rest is done with the application shut out.
 */
async function singleUpdate(url: string): Promise<Gone> {
  return withClient(url, async (client) => {
    const intervals: Interval[] = [];
    const run = async (name: string, statement: string): Promise<boolean> => {
      const from = epochMs();
      const done = await client.query(statement).then(
        () => true,
        (error: unknown) => {
          if (error instanceof Error && 'code' in error && error.code === '23502') return false;
          throw error;
        },
      );
      intervals.push({ name, from, until: epochMs() });
      return done;
    };
    const update = 'update tasks t set user_id = p.user_id from projects p where p.id = t.project_id';
    const notNull = 'alter table tasks alter user_id set not null';
    const started = epochMs();
    await run('add column', 'alter table tasks add column user_id uuid');
    await run('update', update);
    const ownersMs = epochMs() - started;
    if (!(await run('set not null', notNull))) {
      const rest = `lock table tasks in access exclusive mode; ${update} and t.user_id is null; ${notNull}`;
      await run('the rows since, set not null', rest);
    }
    await run('create index', 'create index idx_tasks_user_id on tasks (user_id)');
    return { ownersMs, wholeMs: epochMs() - started, intervals, memoryMiB: null };
  });
}

async function oneTransaction(url: string, directory: string): Promise<Gone> {
  const { output } = await ringfence(['plan', '--sql', '--one-transaction', '--config', config(directory, {})], url);
  return withClient(url, async (client) => {
    const from = epochMs();
    await client.query(output);
    const until = epochMs();
    return { ownersMs: null, wholeMs: until - from, intervals: [{ name: 'all', from, until }], memoryMiB: null };
  });
}

const ours = (settings: object) => async (url: string, directory: string) => {
  const started = performance.now();
  const { memoryMiB } = await ringfence(['apply', '--config', config(directory, settings)], url);
  const wholeMs = performance.now() - started;
  return withClient(url, async (client) => ({ ...(await stepsOf(client)), wholeMs, memoryMiB }));
};

interface StepRow {
  readonly id: string;
  /** Milliseconds since the Unix epoch. */
  readonly ended: number;
  readonly begun: number;
}

/** One step begins when the one before it ends. */
async function stepsOf(client: pg.Client): Promise<Pick<Gone, 'ownersMs' | 'intervals'>> {
  const { rows } = await client.query<StepRow>(
    `select step_id as id, extract(epoch from finished_at)::float8 * 1000 as ended,
      extract(epoch from p.frozen_at)::float8 * 1000 as begun
    from ringfence_rollout.steps s join ringfence_rollout.plans p on p.hash = s.plan_hash
    where state = 'done' order by finished_at`,
  );
  const [first] = rows;
  const ownersEnd = rows.findLast(({ id }) => id.startsWith('owners/'))?.ended;
  if (!first || ownersEnd === undefined) throw new Error('apply left no ledger');
  return {
    ownersMs: ownersEnd - first.begun,
    intervals: rows.map(({ id, ended }, at) => ({ name: id, from: rows[at - 1]?.ended ?? first.begun, until: ended })),
  };
}

export const ways: readonly Way[] = [
  { id: 'single', name: 'single update', data: 'many owners', go: singleUpdate },
  { id: 'transaction', name: 'one transaction', data: 'many owners', go: oneTransaction },
  { id: 'ours', name: 'ours', data: 'many owners', go: ours({}) },
  {
    id: 'majority',
    name: 'ours, majority owner',
    data: 'one in the majority',
    go: ours({ tables: { 'public.tasks': { defaultOwner: majorityUser } } }),
  },
];

function config(directory: string, settings: object): string {
  const path = join(directory, 'ringfence.config.json');
  writeFileSync(path, JSON.stringify(settings));
  return path;
}

const command = fileURLToPath(new URL('../bin/ringfence', import.meta.url));
const inherited = ['PATH', 'HOME', 'TMPDIR', 'LANG'];
const pollMs = 20;
const running = new Set<number>();

/** The command as a user runs it, in a process of its own. */
async function ringfence(args: readonly string[], url: string): Promise<{ output: string; memoryMiB: number }> {
  const given = Object.fromEntries(Object.entries(process.env).filter(([name]) => inherited.includes(name)));
  const child = spawn('sh', [command, ...args], {
    env: { ...given, DATABASE_URL: url },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error('ringfence cannot be started');
  running.add(pid);
  let output = '';
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    said += text;
  });
  const exited = once(child, 'close');
  const gone = new AbortController();
  const peak = peakMemory(pid, gone.signal);
  const [code] = await exited;
  running.delete(pid);
  gone.abort();
  if (code !== 0) throw new Error(`ringfence ${args[0]} ended with ${code}:\n${said}${output}`);
  return { output, memoryMiB: await peak };
}

/** What has been started and has not ended: of a run that is given up. */
export function stopWays(): void {
  for (const pid of running) process.kill(pid, 'SIGKILL');
}

/** proc(5): VmHWM, a peak that only grows. It is read until the process is gone; elsewhere than on Linux there is none. */
async function peakMemory(pid: number, ended: AbortSignal): Promise<number> {
  let peak = Number.NaN;
  while (process.platform === 'linux' && !ended.aborted) {
    try {
      const kB = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
      if (kB !== undefined) peak = Number(kB) / 1024;
    } catch {
      break;
    }
    await delay(pollMs);
  }
  return peak;
}
