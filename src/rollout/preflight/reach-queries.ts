/** Ways to rows that do not name the table. $1 is always the oids of the tables. */

/** Views over the tables, also through other views. */
export const views = `
with recursive above (view, base) as (
  select r.ev_class, d.refobjid
  from pg_depend d
  join pg_rewrite r on r.oid = d.objid
  where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass
    and d.refobjid = any ($1::oid[]) and r.ev_class <> d.refobjid
  union
  select r.ev_class, a.base
  from above a
  join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = a.view
  join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid and r.ev_class <> a.view
)
select n.nspname::text as schema, c.relname::text as name, c.relkind = 'm' as materialized,
  coalesce((select o.option_value::boolean from pg_options_to_table(c.reloptions) o
    where o.option_name = 'security_invoker'), false) as invoker,
  w.rolname::text as owner, w.rolsuper or w.rolbypassrls as bypasses,
  exists (
    select from aclexplode(c.relacl) g where g.grantee = 0 and g.privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
  ) as public,
  array_agg(distinct a.base) as tables
from above a
join pg_class c on c.oid = a.view and c.relkind in ('v', 'm')
join pg_namespace n on n.oid = c.relnamespace
join pg_roles w on w.oid = c.relowner
where not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e')
group by c.oid, n.nspname, w.oid, w.rolname, w.rolsuper, w.rolbypassrls, c.relname, c.relkind, c.reloptions, c.relacl
order by 1, 2`;

/** Functions that run as their owner; what they read cannot be told. $1: schemas that are the rollout's own. */
export const definers = `
select n.nspname::text as schema, p.proname::text as name, pg_get_function_identity_arguments(p.oid) as arguments,
  w.rolname::text as owner, w.rolsuper or w.rolbypassrls as bypasses,
  exists (
    select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
    where g.grantee = 0 and g.privilege_type = 'EXECUTE'
  ) and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype) as public
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
join pg_roles w on w.oid = p.proowner
where p.prosecdef and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and n.nspname <> all ($1)
  and not exists (select from pg_depend e where e.classid = 'pg_proc'::regclass and e.objid = p.oid and e.deptype = 'e')
order by 1, 2, 3`;

/** Sequences in the tables' schemas with the column that they feed: that owns them, or whose default calls them. */
export const sequences = `
select n.nspname::text as schema, c.relname::text as name,
  (
    select format('%I.%I.%I', tn.nspname, t.relname, a.attname)
    from (
      select d.refobjid as relation, d.refobjsubid as number from pg_depend d
      where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_class'::regclass
        and d.deptype in ('a', 'i')
      union all
      select f.adrelid, f.adnum from pg_depend d join pg_attrdef f on d.classid = 'pg_attrdef'::regclass and f.oid = d.objid
      where d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid
    ) u
    join pg_class t on t.oid = u.relation
    join pg_namespace tn on tn.oid = t.relnamespace
    join pg_attribute a on a.attrelid = u.relation and a.attnum = u.number
    limit 1
  ) as feeds
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'S' and c.relpersistence <> 't'
  and c.relnamespace in (select t.relnamespace from pg_class t where t.oid = any ($1::oid[]))
  and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e')
order by 1, 2`;

export const publications = `
select p.pubname::text as name, p.puballtables as everything, array_agg(c.oid order by c.relname) as tables
from pg_publication p
cross join lateral pg_get_publication_tables(p.pubname::text) g
join pg_class c on c.oid = g.relid
where c.oid = any ($1::oid[])
group by p.oid, p.pubname, p.puballtables
order by 1`;

export const subscribed = `
select s.srrelid as oid from pg_subscription_rel s where s.srrelid = any ($1::oid[]) order by 1`;

export const eventTriggers = `
select e.evtname::text as name, e.evtevent::text as event, p.proname::text as function
from pg_event_trigger e
join pg_proc p on p.oid = e.evtfoid
where e.evtenabled <> 'D'
  and not exists (select from pg_depend d where d.classid = 'pg_event_trigger'::regclass and d.objid = e.oid and d.deptype = 'e')
order by 1`;

export const largeObjects = `select exists (select from pg_largeobject_metadata) as any`;

/**
 * Indexes that no leakproof operator can use by their first column: under a policy the planner may not evaluate such
 * a condition before it (Postgres manual, 41.5).
 */
export const leakyIndexes = `
select i.indrelid as oid, c.relname::text as name, am.amname::text as method
from pg_index i
join pg_class c on c.oid = i.indexrelid
join pg_am am on am.oid = c.relam
join pg_opclass k on k.oid = i.indclass[0]
where i.indrelid = any ($1::oid[]) and i.indisvalid
  and exists (select from pg_amop o where o.amopfamily = k.opcfamily and o.amoplefttype = k.opcintype and o.amoppurpose = 's')
  and not exists (
    select from pg_amop o
    join pg_operator p on p.oid = o.amopopr
    join pg_proc f on f.oid = p.oprcode
    where o.amopfamily = k.opcfamily and o.amoplefttype = k.opcintype and o.amoppurpose = 's' and f.proleakproof
  )
order by 1, 2`;
