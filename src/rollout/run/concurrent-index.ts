/** Indexes that are built while everybody writes (Postgres manual, CREATE INDEX, "Building Indexes Concurrently"). */
import { problem } from '../../errors.ts';
import { type Connection, messageOf, sqlState } from '../connection.ts';
import { qualified } from '../identifier.ts';
import type { Action } from '../plan.ts';
import { type Progress, pause, retryDelay, type StepRun, stopIfAsked } from './step-run.ts';
import { watched } from './watched.ts';

type IndexAction = Extract<Action, { kind: 'index' }>;
type DropIndexAction = Extract<Action, { kind: 'dropIndex' }>;

/** It waits for transactions older than itself, holding a lock that stops no reader and no writer: so it may wait long. */
const lockTimeoutMs = 600_000;
const attemptsMax = 5;

/** @throws Problem `rollout_refused` when rows are in the way of a unique index */
export async function buildIndex(run: StepRun, action: IndexAction): Promise<void> {
  const attempts = await watched(run, 'index', buildProgress, (client) => build(run, client, action));
  await run.finish(run.client, { attempts });
}

async function build(run: StepRun, client: Connection, action: IndexAction): Promise<number> {
  await client.query(`set lock_timeout = ${lockTimeoutMs}`);
  for (let attempt = 1; ; attempt++) {
    const found = await indexState(client, action);
    if (found === 'valid') return attempt - 1;
    if (found === 'invalid') await drop(client, action);
    stopIfAsked(run.signal);
    try {
      await client.query(action.statement);
      return attempt;
    } catch (error) {
      if (sqlState(error) === '23505') throw await notUnique(client, action, error);
      if (!isLockFault(error)) throw error;
      if (attempt === attemptsMax) throw neverFree(action, error);
      run.report({ note: `attempt ${attempt + 1}: ${messageOf(error)}` });
      await pause(retryDelay(attempt), run.signal);
    }
  }
}

async function notUnique(client: Connection, action: IndexAction, error: unknown): Promise<Error> {
  // A unique index that failed goes on refusing rows of the application.
  await drop(client, action).catch(() => {});
  const detail = error instanceof Error && 'detail' in error && error.detail ? ` ${String(error.detail)}` : '';
  return problem(
    'rollout_refused',
    `the unique index ${qualified(action.schema, action.name)} cannot be built, since rows agree in all its columns.${detail}`,
    {},
    { cause: error },
  );
}

function neverFree(action: IndexAction, error: unknown): Error {
  return problem(
    'rollout_failed',
    `the index ${qualified(action.schema, action.name)} waited ${attemptsMax} times for ${lockTimeoutMs / 60_000} minutes ` +
      'for a transaction that is older than itself. End that one (pg_stat_activity, oldest xact_start)',
    {},
    { cause: error },
  );
}

export async function dropIndex(run: StepRun, action: DropIndexAction): Promise<void> {
  const attempts = await watched(run, 'index', null, async (client) => {
    await client.query(`set lock_timeout = ${lockTimeoutMs}`);
    for (let attempt = 1; ; attempt++) {
      try {
        await drop(client, action);
        return attempt;
      } catch (error) {
        if (!isLockFault(error) || attempt === attemptsMax) throw error;
        await pause(retryDelay(attempt), run.signal);
      }
    }
  });
  await run.finish(run.client, { attempts });
}

async function drop(client: Connection, { schema, name }: { schema: string; name: string }): Promise<void> {
  await client.query(`drop index concurrently if exists ${qualified(schema, name)}`);
}

function isLockFault(error: unknown): boolean {
  return ['55P03', '40P01'].includes(sqlState(error) ?? '');
}

async function indexState(client: Connection, action: IndexAction): Promise<'absent' | 'valid' | 'invalid'> {
  const { rows } = await client.query<{ valid: boolean }>(
    `select i.indisvalid and i.indisready and i.indislive as valid
    from pg_index i
    join pg_class c on c.oid = i.indexrelid
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 and c.relname = $2`,
    [action.schema, action.name],
  );
  const [row] = rows;
  if (row === undefined) return 'absent';
  return row.valid ? 'valid' : 'invalid';
}

async function buildProgress(observer: Connection, pid: number): Promise<Partial<Progress>> {
  const { rows } = await observer.query<{ done: number; total: number }>(
    `select blocks_done::float8 as done, blocks_total::float8 as total
    from pg_stat_progress_create_index where pid = $1`,
    [pid],
  );
  const [row] = rows;
  if (!row || row.total === 0) return {};
  return { done: Math.floor((100 * row.done) / row.total), total: 100, unit: 'percent' };
}
