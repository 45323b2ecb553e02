/**
 * One moment that both the WAL and a snapshot name: the restored tables are then exactly those that were hashed.
 *
 * A restore point lies between commits in the WAL, a snapshot between commits as sessions see them, and the two orders
 * differ by the transactions that are just committing. SHARE locks on all tables wait for those and keep new ones out; a
 * few milliseconds are enough for both.
 */
import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '../../clock.ts';
import { problem } from '../../errors.ts';
import { type Connection, sqlState } from '../connection.ts';
import { labelOf } from './manifest.ts';
import { beginReading, list, readAgain, readTables, type TableToSave } from './source.ts';

/** Writers wait behind our locks while we wait for the rest of them, so we do not wait long. */
const timeout = '100ms';
/** lock_not_available, deadlock_detected, query_canceled (manual, appendix A); undefined_table: dropped since we looked. */
const worthTryingAgain = new Set(['55P03', '40P01', '57014', '42P01']);

export interface RestorePoint {
  readonly name: string;
  readonly lsn: string;
  readonly tables: readonly TableToSave[];
  /** How long writers may have waited. */
  readonly heldMs: number;
}

/**
 * @param locker makes the restore point and is free again afterwards
 * @param reader is left in the transaction whose snapshot belongs to it
 * @param patienceMs how long to try for the locks
 * @throws Problem `rollout_failed` saying who holds the locks
 */
export async function markRestorePoint(
  locker: Connection,
  reader: Connection,
  name: string,
  signal: AbortSignal,
  patienceMs = 60_000,
): Promise<RestorePoint> {
  const deadline = monotonicMs() + patienceMs;
  for (;;) {
    signal.throwIfAborted();
    try {
      return await tryOnce(locker, reader, name);
    } catch (error) {
      await Promise.all([locker.query('rollback'), reader.query('rollback')]);
      const state = sqlState(error);
      if (state === undefined || !worthTryingAgain.has(state)) throw error;
      if (monotonicMs() > deadline) throw await blocked(reader);
    }
    await delay(randomInt(50, 500), undefined, { signal });
  }
}

async function tryOnce(locker: Connection, reader: Connection, name: string): Promise<RestorePoint> {
  const present = (await readTables(locker)).filter((table) => !table.unlogged);
  const names = present.map((table) => `only ${labelOf(table)}`).join(', ');
  await beginReading(reader, present);
  // deadlock_timeout is after how long a waiting session asks autovacuum to make way; by default longer than we wait.
  await locker.query(
    `begin; set local lock_timeout = '${timeout}'; set local statement_timeout = '${timeout}';
    set local deadlock_timeout = '30ms'`,
  );
  const began = monotonicMs();
  if (present.length > 0) await locker.query(`lock table ${names} in share mode`);
  // The transaction's snapshot is taken by its first query.
  await reader.query('select pg_current_snapshot()');
  const { rows } = await locker.query<{ lsn: string }>('select pg_create_restore_point($1)::text as lsn', [name]);
  await locker.query('commit');
  const heldMs = monotonicMs() - began;
  const lsn = rows[0]?.lsn;
  if (lsn === undefined) throw new Error('pg_create_restore_point() gave nothing');
  return { name, lsn, tables: await readAgain(reader, present), heldMs };
}

async function blocked(client: Connection) {
  const { rows } = await client.query<{ who: string }>(
    `select distinct case
        when p.gid is not null then format('prepared transaction %L', p.gid)
        when a.pid is not null then format('process %s (%s, transaction since %s)', a.pid,
          coalesce(nullif(a.application_name, ''), a.backend_type), date_trunc('second', a.xact_start))
      end as who
    from pg_locks l
      left join pg_stat_activity a on a.pid = l.pid and a.pid <> pg_backend_pid()
      -- A prepared transaction has no process; what its locks share is the virtual transaction.
      left join pg_locks x on l.pid is null and x.pid is null and x.locktype = 'transactionid'
        and x.virtualtransaction = l.virtualtransaction
      left join pg_prepared_xacts p on p.transaction = x.transactionid
    where l.locktype = 'relation' and l.granted and l.database = (select oid from pg_database where datname = current_database())
      and l.relation >= 16384
      and l.mode in ('RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')`,
  );
  const holders = rows.map(({ who }) => who).filter((who) => who !== null);
  return problem(
    'rollout_failed',
    'No moment was found in which no transaction was writing, though it was tried again and again. Holding locks now: ' +
      `${holders.length > 0 ? list(holders) : 'nobody (many short transactions)'}. ` +
      'End long and prepared transactions, or go on at a quieter time: run `ringfence backup` again',
  );
}
