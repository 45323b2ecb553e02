/** Slow queries (guide G76): whether the planner takes the owner's index for the policy's condition, and why not. */
import type { ClientBase } from 'pg';
import { type Finding, pass, warn } from '../finding.ts';
import { identifier } from '../identifier.ts';
import { observeIndexes, type TableUse } from '../monitor/indexes.ts';
import type { Subject, WatchedTable } from '../monitor/subject.ts';

/** Below this many rows a sequential scan is as good. */
const rowsWorthAnIndex = 10_000;
/** A user that holds a larger share of the rows is better read sequentially. */
const shareWorthAnIndex = 0.1;

export async function checkPlanner(client: ClientBase, subject: Subject): Promise<Finding[]> {
  const { indexes, tables } = await observeIndexes(client, subject);
  const off = await switchedOff(client, subject.appRole);
  const findings = off.map(({ name, where }) =>
    warn('planner-setting', where, `${name} is off`, `set ${name} = on there: the planner avoids indexes without it`),
  );
  for (const watched of subject.tables) {
    const use = tables.find(({ table }) => table === watched.table);
    const indexed = indexes.some(({ table, valid }) => table === watched.table && valid);
    if (!use || !indexed || use.rows < rowsWorthAnIndex) continue;
    findings.push(await explained(client, watched, use));
  }
  return findings;
}

/** The condition as the policies have it: a value that is known at execution only. Nothing is executed. */
async function explained(client: ClientBase, { table, ownerColumn }: WatchedTable, use: TableUse): Promise<Finding> {
  const owner = identifier(ownerColumn);
  const type = await client.query<{ type: string }>(
    'select format_type(atttypid, atttypmod) as type from pg_attribute where attrelid = to_regclass($1) and attname = $2',
    [table, ownerColumn],
  );
  const { rows } = await client.query<Record<string, unknown>>(
    `explain (format json) select /* ringfence doctor */ * from ${table} where ${owner} = (select null::${type.rows[0]?.type ?? 'uuid'})`,
  );
  if (!JSON.stringify(rows).includes('"Seq Scan"')) {
    return pass('planner', table, `uses an index on ${ownerColumn}`);
  }
  if (use.distinct === null) {
    return warn('planner', table, `reads everything: it knows nothing of ${ownerColumn}`, `analyze ${table}`);
  }
  const users = use.distinct < 0 ? -use.distinct * use.rows : use.distinct;
  if (users * shareWorthAnIndex < 1) {
    return pass('planner', table, `reads everything, rightly: ${Math.round(users)} user(s) hold all of it`);
  }
  return warn(
    'planner',
    table,
    `reads everything although about ${Math.round(users)} users share ${Math.round(use.rows)} rows`,
    `analyze ${table}; then look at random_page_cost (1.1 on solid-state disks) and effective_cache_size`,
  );
}

/** For this session, for the application's role, and for everybody in this database. */
async function switchedOff(client: ClientBase, appRole: string): Promise<{ name: string; where: string }[]> {
  const { rows } = await client.query<{ name: string; where: string }>(
    `select name, 'the server' as where from pg_settings
     where name in ('enable_indexscan', 'enable_indexonlyscan') and setting = 'off'
     union all
     select split_part(c.entry, '=', 1), coalesce('role ' || r.rolname, 'this database')
     from pg_db_role_setting s left join pg_roles r on r.oid = s.setrole, unnest(s.setconfig) c (entry)
     where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
       and (s.setrole = 0 or r.rolname = $1)
       and c.entry in ('enable_indexscan=off', 'enable_indexonlyscan=off')
     order by 1, 2`,
    [appRole],
  );
  return rows;
}
