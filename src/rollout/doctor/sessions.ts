/** Memory use that grows (guide G79–G81): connections, and transactions that are left open. SQLSTATE 55P03: who holds a lock. */
import type { ClientBase } from 'pg';
import { type Finding, pass, warn } from '../finding.ts';

interface SessionRow {
  role: string;
  total: number;
  idle: number;
  active: number;
}

const usedShare = 0.8;

export async function checkSessions(client: ClientBase): Promise<Finding[]> {
  const { rows } = await client.query<SessionRow>(
    `select coalesce(usename, 'none')::text as role, count(*)::int as total,
       count(*) filter (where state = 'idle')::int as idle, count(*) filter (where state = 'active')::int as active
     from pg_stat_activity where backend_type = 'client backend' group by 1 order by 2 desc, 1`,
  );
  const limit = await client.query<{ max: number }>("select current_setting('max_connections')::int as max");
  const left = await client.query<{ pid: number; role: string; seconds: number }>(
    `select pid, usename::text as role, extract(epoch from clock_timestamp() - state_change)::int as seconds
     from pg_stat_activity
     where state like 'idle in transaction%' and state_change < clock_timestamp() - interval '60 seconds' order by 3 desc`,
  );
  const max = limit.rows[0]?.max ?? 0;
  const total = rows.reduce((sum, row) => sum + row.total, 0);
  const list = rows
    .map(({ role, total: own, idle, active }) => `${role} ${own} (${active} active, ${idle} idle)`)
    .join(', ');
  const message = `${total} of ${max} connections: ${list}`;
  const remedy =
    'lower DATABASE_POOL_SIZE, put a pooler in between, or find the program that does not close its connections';
  return [
    total > usedShare * max ? warn('connections', undefined, message, remedy) : pass('connections', undefined, message),
    ...left.rows.map(({ pid, role, seconds }) =>
      warn(
        'idle-in-transaction',
        `session ${pid} of ${role}`,
        `does nothing in an open transaction for ${seconds} s`,
        `select pg_terminate_backend(${pid}); and set idle_in_transaction_session_timeout for ${role}`,
      ),
    ),
  ];
}

interface BlockedRow {
  pid: number;
  waiting: string;
  on: string;
  by: number[];
  holders: string;
}

export async function checkLocks(client: ClientBase): Promise<Finding[]> {
  const { rows } = await client.query<BlockedRow>(
    `select a.pid, coalesce(nullif(a.application_name, ''), a.usename) as waiting, coalesce(l.relation::regclass::text, l.locktype, '?') as on,
       pg_blocking_pids(a.pid) as by,
       (select string_agg(format('%s of %s (%s, %s)', b.pid, b.usename, b.state, coalesce(nullif(b.application_name, ''), 'unnamed')), '; ')
        from pg_stat_activity b where b.pid = any (pg_blocking_pids(a.pid))) as holders
     from pg_stat_activity a left join lateral (select * from pg_locks l where l.pid = a.pid and not l.granted limit 1) l on true
     where cardinality(pg_blocking_pids(a.pid)) > 0 order by 1`,
  );
  if (rows.length === 0) return [pass('locks', undefined, 'nobody waits for a lock')];
  return rows.map(({ pid, waiting, on, by, holders }) =>
    warn(
      'lock-wait',
      on,
      `session ${pid} (${waiting}) waits for ${holders}`,
      `wait for it to end, or: ${by.map((blocker) => `select pg_terminate_backend(${blocker})`).join('; ')}`,
    ),
  );
}
