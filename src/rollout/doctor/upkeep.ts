/** Slow queries: tables that were not vacuumed or analysed for long, and what keeps them from it. */
import type { ClientBase } from 'pg';
import { type Finding, warn } from '../finding.ts';
import type { Subject } from '../monitor/subject.ts';

interface UpkeepRow {
  label: string;
  live: number;
  dead: number;
  changed: number;
  estimated: number;
  off: boolean;
}

/** Leaf tables: a partitioned one has no rows. */
const query = `
select format('%I.%I', n.nspname, c.relname) as label, u.n_live_tup::float8 as live, u.n_dead_tup::float8 as dead,
  u.n_mod_since_analyze::float8 as changed, c.reltuples::float8 as estimated,
  coalesce((select option_value::boolean from pg_options_to_table(c.reloptions) where option_name = 'autovacuum_enabled'), true) = false as off
from unnest($1::text[]) w (label)
join lateral (select to_regclass(w.label)::oid as relid union select relid from pg_partition_tree(to_regclass(w.label))) t on true
join pg_class c on c.oid = t.relid and c.relkind = 'r' join pg_namespace n on n.oid = c.relnamespace
join pg_stat_user_tables u on u.relid = c.oid
order by 1`;

const rowsWorthTelling = 1_000;
const share = 0.2;

export async function checkUpkeep(client: ClientBase, subject: Subject): Promise<Finding[]> {
  const { rows } = await client.query<UpkeepRow>(query, [subject.tables.map(({ table }) => table)]);
  const setting = await client.query<{ off: boolean }>("select current_setting('autovacuum')::bool = false as off");
  const held = await horizon(client);
  const findings = rows.flatMap(faultsOf);
  if (setting.rows[0]?.off === true) {
    findings.push(
      warn(
        'autovacuum',
        'the server',
        'autovacuum is off',
        'alter system set autovacuum = on; select pg_reload_conf()',
      ),
    );
  }
  return [...findings, ...held];
}

function faultsOf({ label, live, dead, changed, estimated, off }: UpkeepRow): Finding[] {
  const findings: Finding[] = [];
  if (off)
    findings.push(
      warn('autovacuum', label, 'autovacuum is off for it', `alter table ${label} reset (autovacuum_enabled)`),
    );
  if (dead >= rowsWorthTelling && dead > share * (live + dead)) {
    const message = `${dead} of ${live + dead} row versions are dead: every scan passes over them`;
    findings.push(warn('bloat', label, message, `vacuum (analyze) ${label}`));
  }
  if (changed >= rowsWorthTelling && changed > share * Math.max(estimated, live)) {
    const message = `${changed} rows changed since it was last analysed: the planner works with old figures`;
    findings.push(warn('stale-statistics', label, message, `analyze ${label}`));
  }
  return findings;
}

/** Rows stay as long as somebody might still see them. */
async function horizon(client: ClientBase): Promise<Finding[]> {
  const { rows } = await client.query<{ who: string; what: string; remedy: string }>(
    `select format('session %s of %s', pid, usename) as who, 'is in a transaction since ' || xact_start::text as what,
       format('end it: select pg_terminate_backend(%s)', pid) as remedy
     from pg_stat_activity where xact_start < now() - interval '1 hour' and backend_type = 'client backend'
     union all
     select 'replication slot ' || slot_name, 'keeps old rows and is not in use', format('select pg_drop_replication_slot(%L)', slot_name)
     from pg_replication_slots where not active and coalesce(xmin, catalog_xmin) is not null
     union all
     select 'prepared transaction ' || gid, 'waits since ' || prepared::text, format('commit prepared %L, or rollback prepared', gid)
     from pg_prepared_xacts where prepared < now() - interval '1 hour' order by 1`,
  );
  return rows.map(({ who, what, remedy }) => warn('vacuum-held-back', who, what, remedy));
}
