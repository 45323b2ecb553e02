/** One apply, rollback or assign at a time: a session's advisory lock, which ends with its backend whatever happens. */
import { monotonicMs } from '../../clock.ts';
import { problem } from '../../errors.ts';
import { type Connection, withConnection } from '../connection.ts';
import { pause } from './step-run.ts';

/** Two fixed numbers; advisory locks are the database's own. */
const lockKey = [7_246_510, 3] as const;

/** The backend of a command that was killed takes a second to notice (client_connection_check_interval). */
const patienceMs = 5_000;

export interface LockHolder {
  readonly pid: number;
  readonly application: string;
  readonly address: string | null;
  readonly since: Date | null;
}

/**
 * Runs `work` on a connection that holds the rollout's lock. When the connection breaks, the signal is aborted: somebody
 * else may have the lock then.
 *
 * @param verb shows as the connection's name
 * @throws Problem `rollout_in_progress` naming who has it
 */
export async function withRolloutLock<T>(
  url: string,
  verb: string,
  work: (client: Connection, lost: AbortSignal) => Promise<T>,
): Promise<T> {
  return withConnection(url, verb, async (client) => {
    const lost = new AbortController();
    client.on('end', () => lost.abort());
    client.on('error', () => lost.abort());
    await takeLock(client);
    return work(client, lost.signal);
  });
}

async function takeLock(client: Connection): Promise<void> {
  const end = monotonicMs() + patienceMs;
  for (;;) {
    const { rows } = await client.query<{ taken: boolean }>('select pg_try_advisory_lock($1, $2) as taken', [
      ...lockKey,
    ]);
    if (rows[0]?.taken) return;
    if (monotonicMs() >= end) break;
    await pause(100, new AbortController().signal);
  }
  const holder = await lockHolder(client);
  throw problem('rollout_in_progress', `${whoHolds(holder)} Wait for it, or see \`ringfence status\`.`);
}

function whoHolds(holder: LockHolder | null): string {
  if (holder === null) return 'Another command of the rollout is at work.';
  const address = holder.address === null ? 'a local connection' : holder.address;
  const since = holder.since === null ? '' : `, since ${holder.since.toISOString()}`;
  return `Another command of the rollout is at work: ${holder.application} (pid ${holder.pid}, ${address}${since}).`;
}

/** Who has the lock now, or null. */
export async function lockHolder(client: Connection): Promise<LockHolder | null> {
  const { rows } = await client.query<LockHolder>(
    `select a.pid, a.application_name as application, host(a.client_addr) as address, a.backend_start as since
    from pg_locks l
    join pg_stat_activity a using (pid)
    where l.locktype = 'advisory' and l.granted and l.objsubid = 2
      and l.database = (select oid from pg_database where datname = current_database())
      and l.classid = $1::int::oid and l.objid = $2::int::oid`,
    [...lockKey],
  );
  return rows[0] ?? null;
}
