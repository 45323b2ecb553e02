/** What is going on right now. Sessions and prepared transactions of this database only: others hold nothing up. */

/** $1: seconds. What other roles do is seen by members of pg_read_all_stats alone. */
export const sessions = `
select a.pid, a.usename::text as "user", a.application_name as application, coalesce(a.state, 'unknown') as state,
  extract(epoch from clock_timestamp() - a.xact_start)::float8 as seconds
from pg_stat_activity a
where a.datname = current_database() and a.pid <> pg_backend_pid() and a.backend_type = 'client backend'
  and a.xact_start is not null
  and (clock_timestamp() - a.xact_start > make_interval(secs => $1) or a.state like 'idle in transaction%')
order by a.xact_start`;

export const visibility = `
select pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') as activity`;

export const prepared = `
select gid, owner::text as owner, extract(epoch from clock_timestamp() - prepared)::float8 as seconds
from pg_prepared_xacts
where database = current_database()
order by prepared`;

/** Physical slots have no database. A standby has no current position, and slots there are not ours to judge. */
export const slots = `
select slot_name::text as name, active, coalesce(wal_status, 'unknown') as "walStatus",
  case when not pg_is_in_recovery() then pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::float8 end as bytes
from pg_replication_slots
where not temporary
order by 1`;

export const standbys = `
select coalesce(nullif(application_name, ''), client_addr::text, pid::text) as name, coalesce(state, 'unknown') as state,
  case when not pg_is_in_recovery() then pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::float8 end as bytes,
  extract(epoch from replay_lag)::float8 as seconds
from pg_stat_replication
order by 1`;

/** Autovacuum that keeps transaction ids from running out does not give way to a lock (Postgres manual, 25.1.6). */
export const wraparound = `
select array(
    select format('%I.%I', n.nspname, c.relname)
    from pg_stat_progress_vacuum v
    join pg_stat_activity a on a.pid = v.pid
    join pg_class c on c.oid = v.relid
    join pg_namespace n on n.oid = c.relnamespace
    where v.datname = current_database() and a.query like '%(to prevent wraparound)%'
    order by 1
  ) as running,
  age(datfrozenxid)::float8 as age, current_setting('autovacuum_freeze_max_age')::float8 as "maxAge"
from pg_database
where datname = current_database()`;
