/** What is open to everybody in a database, as far as a rollout has to close it. */
import type { ClientBase } from 'pg';
import type { TableLabel } from './catalog.ts';
import type { DatabasePrivileges, OpenObject } from './steps/step.ts';

const onDatabase = `
select
  exists (select from pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
    where d.datname = current_database() and a.grantee = 0 and a.privilege_type = 'TEMPORARY') as "publicTemporary",
  exists (select from pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
    where d.datname = current_database() and a.grantee = 0 and a.privilege_type = 'CREATE') as "publicCreate",
  array(select distinct pg_get_userbyid(a.grantee)::text from pg_database d, aclexplode(d.datacl) a
    where d.datname = current_database() and a.grantee <> 0 and a.privilege_type in ('TEMPORARY', 'CREATE')
    union
    select pg_get_userbyid(a.grantee)::text from pg_namespace n, aclexplode(n.nspacl) a
    where n.nspname = any ($1) and a.grantee <> 0 and a.privilege_type = 'CREATE'
    order by 1) as "creators",
  array(select n.nspname::text from pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
    where n.nspname = any ($1) and a.grantee = 0 and a.privilege_type = 'CREATE' order by 1) as "publicCreateSchemas"`;

/** Extensions' own are theirs. A view that runs with its reader's rights hides nothing from the policies. */
const openObjects = `
with outside as (
  select oid, nspname from pg_namespace
  where nspname !~ '^pg_' and nspname not in ('information_schema', 'ringfence', 'ringfence_rollout')
)
select case c.relkind when 'm' then 'materialized view' else 'view' end as kind, c.oid::regclass::text as name,
  array_agg(distinct lower(a.privilege_type) order by lower(a.privilege_type)) as privileges
from pg_class c join outside n on n.oid = c.relnamespace, aclexplode(c.relacl) a
where c.relkind in ('v', 'm') and a.grantee = 0
  and not coalesce(c.reloptions @> '{security_invoker=true}' or c.reloptions @> '{security_invoker=on}', false)
  and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
group by c.oid, c.relkind
union all
select case p.prokind when 'p' then 'procedure' else 'function' end, p.oid::regprocedure::text, '{execute}'
from pg_proc p join outside n on n.oid = p.pronamespace
where p.prosecdef and p.prorettype <> 'trigger'::regtype and p.prorettype <> 'event_trigger'::regtype
  and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0)
  and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
order by 1, 2`;

/** Views that read an owned table, directly or through another view, with their owner's rights. */
const ownerViews = `
with recursive over as (
  select distinct r.ev_class as oid
  from pg_depend d join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
  where d.refclassid = 'pg_class'::regclass and d.refobjid = any ($1::text[]::regclass[])
  union
  select distinct r.ev_class
  from over o
  join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = o.oid
  join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
)
select c.oid::regclass::text as name
from over o join pg_class c on c.oid = o.oid
where c.relkind = 'v' and not coalesce(c.reloptions @> '{security_invoker=true}' or c.reloptions @> '{security_invoker=on}', false)
order by 1`;

const sequences = `
select t.label as table, array_agg(s.oid::regclass::text order by s.oid::regclass::text) as sequences
from unnest($1::text[]) t (label)
join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = t.label::regclass and d.deptype in ('a', 'i')
join pg_class s on d.classid = 'pg_class'::regclass and s.oid = d.objid and s.relkind = 'S'
group by t.label`;

/**
 * @param owned tables that are owned
 * @param schemas their schemas
 */
export async function readDatabasePrivileges(
  client: ClientBase,
  owned: readonly TableLabel[],
  schemas: readonly string[],
): Promise<DatabasePrivileges> {
  await client.query('begin isolation level repeatable read read only');
  try {
    await client.query("set local search_path = ''");
    const database = await client.query<
      Pick<DatabasePrivileges, 'publicTemporary' | 'publicCreate' | 'publicCreateSchemas' | 'creators'>
    >(onDatabase, [schemas]);
    const open = await client.query<OpenObject>(openObjects);
    const views = await client.query<{ name: string }>(ownerViews, [owned]);
    const found = await client.query<{ table: TableLabel; sequences: string[] }>(sequences, [owned]);
    const [row] = database.rows;
    if (!row) throw new Error('the query for privileges returned no row');
    return {
      ...row,
      open: open.rows,
      ownerViews: views.rows.map(({ name }) => name),
      sequences: new Map(found.rows.map((entry) => [entry.table, entry.sequences])),
    };
  } finally {
    await client.query('rollback');
  }
}
