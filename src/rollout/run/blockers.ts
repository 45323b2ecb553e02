/** Who is in the way. Never what they run: a statement may hold anybody's data. */
import type { ClientBase } from 'pg';
import type { TableLabel } from '../catalog.ts';

interface Blocker {
  readonly pid: number | null;
  readonly application: string | null;
  readonly user: string | null;
  readonly state: string | null;
  readonly seconds: number | null;
}

const columns = `a.pid, a.application_name as application, a.usename as "user", a.state,
  extract(epoch from clock_timestamp() - a.xact_start)::float8 as seconds`;

/** Those who hold a lock on one of the tables, or a partition of it, oldest transaction first. Tables that are gone are none. */
export async function holdersOf(client: ClientBase, tables: readonly TableLabel[]): Promise<string | null> {
  const { rows } = await client.query<Blocker>(
    `with relation as (
      select to_regclass(label)::oid as oid from unnest($1::text[]) label
      union
      select tree.relid::oid from unnest($1::text[]) label cross join lateral pg_partition_tree(to_regclass(label)) tree
    )
    select l.pid, ${columns.slice(columns.indexOf(',') + 1)}
    from (
      select distinct l.pid
      from pg_locks l
      where l.locktype = 'relation' and l.granted and l.pid is distinct from pg_backend_pid()
        and l.database = (select oid from pg_database where datname = current_database())
        and l.relation in (select oid from relation)
    ) l
    left join pg_stat_activity a on a.pid = l.pid
    order by a.xact_start nulls first
    limit 5`,
    [tables],
  );
  return sentence(rows);
}

/** Those whom a backend waits for right now. */
export async function blockersOf(client: ClientBase, pid: number): Promise<string | null> {
  const { rows } = await client.query<Blocker>(
    `select ${columns} from pg_stat_activity a where a.pid = any(pg_blocking_pids($1)) order by a.xact_start limit 5`,
    [pid],
  );
  return sentence(rows);
}

function sentence(blockers: readonly Blocker[]): string | null {
  return blockers.length === 0 ? null : blockers.map(describe).join('; ');
}

function describe({ pid, application, user, state, seconds }: Blocker): string {
  // A prepared transaction belongs to no backend.
  if (pid === null) return 'a prepared transaction (see pg_prepared_xacts)';
  const name = application ? `${application}, ` : '';
  const age = seconds === null ? '' : `, in a transaction for ${seconds.toFixed(1)} s`;
  return `pid ${pid} (${name}${user ?? 'unknown role'}, ${state ?? 'state unknown'}${age})`;
}
