/**
 * Changes under ACCESS EXCLUSIVE on tables in use. Whoever asks for that lock stands in a queue, and everybody who comes
 * later stands behind him, readers too: so the request is given up after a moment and made again, instead of waiting for
 * the slowest transaction with the whole application behind it.
 */
import { monotonicMs } from '../../clock.ts';
import { problem } from '../../errors.ts';
import { type Connection, messageOf, sqlState } from '../connection.ts';
import type { Action, LockLevel } from '../plan.ts';
import { holdersOf } from './blockers.ts';
import { pause, retryDelay, type StepRun } from './step-run.ts';

type SqlAction = Extract<Action, { kind: 'sql' }>;

/** For one lock, and for all of an action together: while the second is waited for, the first is held. */
const lockTimeoutMs = 50;
const lockBudgetMs = 80;
/** For locks that a statement finds it needs besides, once the others are held. */
const furtherLockMs = 10;

/** No statement under a lock takes longer: what does would be a rewrite or a scan that the plan did not mean. */
const guardMs = 2_000;
const guardTripsMax = 3;

/**
 * One transaction: the locks, the statements, the entry in the ledger. Tried again until it comes through.
 *
 * @throws Problem `rollout_failed` naming who holds the locks, when it does not come through in time
 */
export async function runUnderShortLock(run: StepRun, action: SqlAction): Promise<void> {
  const end = monotonicMs() + run.options.lockRetryMs;
  let guardTrips = 0;
  let longestMs = 0;
  for (let attempt = 1; ; attempt++) {
    const asked = monotonicMs();
    const outcome = await attemptOnce(run, action, attempt, longestMs);
    if (outcome === null) return;
    longestMs = Math.max(longestMs, monotonicMs() - asked);
    guardTrips += outcome.guard ? 1 : 0;
    if (guardTrips === guardTripsMax) {
      throw problem(
        'rollout_failed',
        `a statement took longer than ${guardMs / 1000} s under its lock, ${guardTripsMax} times; it was taken back`,
      );
    }
    const holders = await holdersOf(run.client, action.locks);
    if (monotonicMs() >= end) throw neverFree(run, action, attempt, holders);
    run.report({ note: `attempt ${attempt + 1} for the lock${holders === null ? '' : `; held by ${holders}`}` });
    await pause(retryDelay(attempt), run.signal);
  }
}

function neverFree(run: StepRun, action: SqlAction, attempts: number, holders: string | null): Error {
  const tables = action.locks.length === 0 ? 'what it needs' : action.locks.join(', ');
  const by = holders === null ? 'nobody holds it at this moment' : `it is held by ${holders}`;
  return problem(
    'rollout_failed',
    `no lock on ${tables} in ${run.options.lockRetryMs / 1000} s and ${attempts} attempts: ${by}`,
  );
}

/** @returns null when it is done, else why it has to be tried again */
async function attemptOnce(
  run: StepRun,
  action: SqlAction,
  attempt: number,
  longestMs: number,
): Promise<{ guard: boolean } | null> {
  const { client } = run;
  let locked = false;
  try {
    await client.query('begin');
    const asked = monotonicMs();
    await takeLocks(client, action.locks, lockMode(run));
    locked = true;
    const left = Math.max(furtherLockMs, Math.round(lockBudgetMs - (monotonicMs() - asked)));
    await client.query(
      `set local lock_timeout = ${Math.min(lockTimeoutMs, left)};
      set local statement_timeout = ${action.locks.length > 0 ? guardMs : 0}`,
    );
    let rows = 0;
    for (const statement of action.statements) rows += changedRows(await client.query(statement));
    await client.query('set local statement_timeout = 0');
    const lockMs = Math.round(Math.max(longestMs, action.locks.length > 0 ? monotonicMs() - asked : 0));
    await run.finish(client, { attempts: attempt, lockMs, ...(rows > 0 ? { rows } : {}) });
    await client.query('commit');
    return null;
  } catch (error) {
    await client.query('rollback').catch(() => {});
    if (!mayComeThrough(error)) throw error;
    return { guard: locked && sqlState(error) === '57014' };
  }
}

/** Statements may be several in one text, which node-postgres answers with a list. */
function changedRows(result: { rowCount: number | null; command: string } | { rowCount: number | null }[]): number {
  const results = Array.isArray(result) ? result : [result];
  return results.reduce(
    (sum, one) => sum + ('command' in one && one.command === 'SELECT' ? 0 : (one.rowCount ?? 0)),
    0,
  );
}

/** The step says what its forward direction needs; what takes it back may need more. */
function lockMode(run: StepRun): LockLevel {
  return run.direction === 'down' || run.step.lock === 'none' ? 'ACCESS EXCLUSIVE' : run.step.lock;
}

async function takeLocks(client: Connection, tables: readonly string[], mode: LockLevel): Promise<void> {
  const end = monotonicMs() + lockBudgetMs;
  for (const table of new Set(tables)) {
    const left = Math.max(1, Math.round(end - monotonicMs()));
    // A partitioned table is locked with its partitions, each with a lock_timeout of its own: hence the other one.
    await client.query(
      `set local lock_timeout = ${Math.min(lockTimeoutMs, left)}; set local statement_timeout = ${left}`,
    );
    await client.query(`lock table ${table} in ${mode.toLowerCase()} mode`);
  }
}

/**
 * Lock timeout, deadlock, statement timeout; and roles and grants, which are the whole server's: two databases that are
 * worked on at once meet there.
 */
function mayComeThrough(error: unknown): boolean {
  const state = sqlState(error);
  if (state === '55P03' || state === '40P01' || state === '57014' || state === '40001') return true;
  if (state === 'XX000') return /concurrently (updated|deleted)/.test(messageOf(error));
  return state === '23505' && /pg_(authid|auth_members|namespace|proc|type)_/.test(messageOf(error));
}
