/**
 * Everything outside Postgres' own schemas that a role could reach, and what of Postgres' own is open to it beyond what a
 * new cluster gives to everybody. $1 is always the roles' oids. Each row is an object: see `Found`.
 */
import type { Kind } from './found.ts';

/** A privilege that any of the roles has, by itself or through PUBLIC or a membership. */
const held = (list: string, has: (privilege: string) => string) => `(
    select coalesce(jsonb_agg(privilege order by privilege), '[]') from unnest(array[${list}]) privilege
    where exists (select from unnest($1::oid[]) r where ${has('privilege')})
  )`;

const extensionOf = (catalog: string, id: string) => `(
    select e.extname from pg_depend d join pg_extension e on e.oid = d.refobjid
    where d.classid = '${catalog}'::regclass and d.objid = ${id} and d.refclassid = 'pg_extension'::regclass and d.deptype = 'e'
  )`;

const ours = (schema: string) =>
  `${schema} <> all (array(select oid from pg_namespace where nspname ~ '^pg_' or nspname = 'information_schema'))`;

const schemaOpen = (schema: string) =>
  `exists (select from unnest($1::oid[]) r where has_schema_privilege(r, ${schema}, 'USAGE'))`;

/** MAINTAIN came with 17. */
const tablePrivileges = (version: number) =>
  `'SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'${version >= 170_000 ? ", 'MAINTAIN'" : ''}`;

/**
 * What a view reads at the end, through other views as well. From its rewritten query: pg_depend says nothing of Postgres'
 * own relations, and a view with its owner's rights over pg_authid leaks all the same.
 */
const bases = `(
    with recursive base (relation) as (
      select c.oid
      union
      select part.relid[1]::oid from base b
      join pg_class v on v.oid = b.relation and v.relkind in ('v', 'm')
      join pg_rewrite w on w.ev_class = b.relation
      cross join lateral regexp_matches(w.ev_action::text, ':relid ([0-9]+)', 'g') part (relid)
      where part.relid[1] <> '0'
    )
    select coalesce(jsonb_agg(b.relation::regclass::text order by b.relation::regclass::text), '[]')
    from base b join pg_class t on t.oid = b.relation where t.relkind not in ('v', 'm')
  )`;

const relations = (version: number) => `
select case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table' else 'table' end as kind,
  c.oid::regclass::text as name, pg_get_userbyid(c.relowner)::text as owner, ${extensionOf('pg_class', 'c.oid')} as extension,
  ${held(
    tablePrivileges(version),
    (p) => `has_table_privilege(r, c.oid, ${p})
      or (${p} in ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') and has_any_column_privilege(r, c.oid, ${p}))`,
  )} as privileges,
  ${schemaOpen('c.relnamespace')} as open,
  jsonb_build_object(
    'asCaller', coalesce((select option_value::boolean from pg_options_to_table(c.reloptions) where option_name = 'security_invoker'), false),
    'over', case when c.relkind in ('v', 'm') then ${bases} else '[]' end,
    'rules', (select coalesce(jsonb_agg(w.rulename order by w.rulename), '[]') from pg_rewrite w
      where w.ev_class = c.oid and w.rulename <> '_RETURN')
  ) as facts
from pg_class c where c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relpersistence <> 't' and ${ours('c.relnamespace')}`;

const sequences = `
select 'sequence' as kind, c.oid::regclass::text as name, pg_get_userbyid(c.relowner)::text as owner,
  ${extensionOf('pg_class', 'c.oid')} as extension,
  ${held("'SELECT', 'UPDATE', 'USAGE'", (p) => `has_sequence_privilege(r, c.oid, ${p})`)} as privileges,
  ${schemaOpen('c.relnamespace')} as open,
  jsonb_build_object('over', (
    select coalesce(jsonb_agg(distinct u.relation::regclass::text), '[]') from (
      select d.refobjid as relation from pg_depend d
      where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
      union all
      select f.adrelid from pg_depend d join pg_attrdef f on d.classid = 'pg_attrdef'::regclass and f.oid = d.objid
      where d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid
    ) u
  )) as facts
from pg_class c where c.relkind = 'S' and c.relpersistence <> 't' and ${ours('c.relnamespace')}`;

const functions = `
select 'function' as kind, p.oid::regprocedure::text as name, pg_get_userbyid(p.proowner)::text as owner,
  ${extensionOf('pg_proc', 'p.oid')} as extension,
  ${held("'EXECUTE'", (q) => `has_function_privilege(r, p.oid, ${q})`)} as privileges,
  ${schemaOpen('p.pronamespace')} and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype) as open,
  jsonb_build_object('asCaller', not (p.prosecdef or coalesce(parts.definer, false)), 'language', l.lanname,
    'trusted', case p.prokind when 'a' then parts.trusted else l.lanpltrusted or l.lanname = 'sql' end) as facts
from pg_proc p join pg_language l on l.oid = p.prolang
-- The functions that an aggregate is made of run without a privilege of the caller's.
left join lateral (
  select bool_or(s.prosecdef) as definer,
    bool_and(sl.lanpltrusted or sl.lanname = 'sql' or s.pronamespace = 'pg_catalog'::regnamespace) as trusted
  from pg_aggregate g
  join pg_proc s on s.oid in (g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggserialfn, g.aggdeserialfn, g.aggmtransfn, g.aggminvtransfn, g.aggmfinalfn)
  join pg_language sl on sl.oid = s.prolang
  where g.aggfnoid = p.oid
) parts on p.prokind = 'a'
where ${ours('p.pronamespace')}`;

/** They fire for whoever writes, before a policy sees the row (BEFORE) or behind it. */
const triggers = `
select 'trigger' as kind, format('%I on %s', t.tgname, t.tgrelid::regclass) as name, pg_get_userbyid(p.proowner)::text as owner,
  null as extension,
  ${held(
    "'INSERT', 'UPDATE', 'DELETE'",
    (q) => `has_table_privilege(r, t.tgrelid, ${q})
      or (${q} <> 'DELETE' and has_any_column_privilege(r, t.tgrelid, ${q}))`,
  )} as privileges,
  true as open,
  jsonb_build_object('asCaller', not p.prosecdef, 'language', l.lanname, 'trusted', l.lanpltrusted or l.lanname in ('sql', 'internal'),
    'function', p.oid::regprocedure::text, 'schema', n.nspname) as facts
from pg_trigger t join pg_proc p on p.oid = t.tgfoid join pg_language l on l.oid = p.prolang
join pg_namespace n on n.oid = p.pronamespace join pg_class c on c.oid = t.tgrelid
where not t.tgisinternal and t.tgenabled <> 'D' and ${ours('c.relnamespace')}`;

/** Bounded: there may be millions. The summary has the number of all. */
const largeObjects = `
select 'large object' as kind, m.oid::text as name, pg_get_userbyid(m.lomowner)::text as owner, null as extension,
  to_jsonb(array(select distinct a.privilege_type from aclexplode(coalesce(m.lomacl, acldefault('L', m.lomowner))) a
    where a.grantee = 0 or a.grantee = any ($1::oid[]))
    || case when current_setting('lo_compat_privileges')::boolean then array['SELECT', 'UPDATE'] else array[]::text[] end) as privileges,
  true as open, '{}'::jsonb as facts
from pg_largeobject_metadata m
where m.lomowner = any ($1::oid[]) or current_setting('lo_compat_privileges')::boolean
  or exists (select from aclexplode(m.lomacl) a where a.grantee = 0 or a.grantee = any ($1::oid[]))
order by m.oid limit 1000`;

const foreign = `
select 'foreign server' as kind, s.srvname::text as name, pg_get_userbyid(s.srvowner)::text as owner,
  ${extensionOf('pg_foreign_server', 's.oid')} as extension,
  ${held("'USAGE'", (p) => `has_server_privilege(r, s.oid, ${p})`)} as privileges, true as open, '{}'::jsonb as facts
from pg_foreign_server s
union all
select 'foreign data wrapper', w.fdwname, pg_get_userbyid(w.fdwowner), ${extensionOf('pg_foreign_data_wrapper', 'w.oid')},
  ${held("'USAGE'", (p) => `has_foreign_data_wrapper_privilege(r, w.oid, ${p})`)}, true, '{}'
from pg_foreign_data_wrapper w
union all
select 'user mapping', format('%s on %I', case when m.umuser = 0 then 'public' else quote_ident(m.usename) end, m.srvname), null, null,
  case when m.umuser = 0 or m.umuser = any ($1::oid[]) then '["USAGE"]'::jsonb else '[]' end, true, '{}'
from pg_user_mappings m`;

const replication = `
select 'publication' as kind, p.pubname::text as name, pg_get_userbyid(p.pubowner)::text as owner, null as extension,
  '["SELECT"]'::jsonb as privileges, true as open,
  jsonb_build_object('over', (select coalesce(jsonb_agg(format('%I.%I', t.schemaname, t.tablename) order by 1), '[]')
    from pg_publication_tables t where t.pubname = p.pubname), 'everything', p.puballtables) as facts
from pg_publication p
union all
select 'subscription', s.subname, pg_get_userbyid(s.subowner), null, '["INSERT"]', true, '{}'
from pg_subscription s where s.subdbid = (select oid from pg_database where datname = current_database())`;

const defaults = `
select 'default privileges' as kind, format('%s that %I makes%s', case d.defaclobjtype
    when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions' when 'n' then 'schemas' when 'T' then 'types' else 'large objects' end,
    pg_get_userbyid(d.defaclrole), case when n.oid is null then '' else format(' in %I', n.nspname) end) as name,
  pg_get_userbyid(d.defaclrole)::text as owner, null as extension,
  (select coalesce(jsonb_agg(distinct a.privilege_type), '[]') from aclexplode(d.defaclacl) a
    where a.grantee = 0 or a.grantee = any ($1::oid[])) as privileges,
  true as open, jsonb_build_object('of', d.defaclobjtype) as facts
from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace
where pg_get_userbyid(d.defaclrole)::text <> all (select rolname from pg_roles where oid = any ($1::oid[]))`;

const places = `
select 'database' as kind, current_database()::text as name, pg_get_userbyid(datdba)::text as owner, null as extension,
  ${held("'CONNECT', 'CREATE', 'TEMPORARY'", (p) => `has_database_privilege(r, b.oid, ${p})`)} as privileges, true as open, '{}'::jsonb as facts
from pg_database b where datname = current_database()
union all
select 'schema', quote_ident(n.nspname), pg_get_userbyid(n.nspowner), ${extensionOf('pg_namespace', 'n.oid')},
  ${held("'CREATE', 'USAGE'", (p) => `has_schema_privilege(r, n.oid, ${p})`)}, true, '{}'
from pg_namespace n where ${ours('n.oid')}
union all
select 'language', l.lanname, pg_get_userbyid(l.lanowner), null,
  ${held("'USAGE'", (p) => `has_language_privilege(r, l.oid, ${p})`)}, l.lanpltrusted, jsonb_build_object('trusted', l.lanpltrusted)
from pg_language l where l.lanname not in ('internal', 'c')
union all
select 'setting', p.parname, null, null, (select coalesce(jsonb_agg(distinct a.privilege_type), '[]') from aclexplode(p.paracl) a
    where a.grantee = 0 or a.grantee = any ($1::oid[])), true, '{}'
from pg_parameter_acl p
union all
select 'event trigger', e.evtname, pg_get_userbyid(e.evtowner), ${extensionOf('pg_event_trigger', 'e.oid')},
  case when e.evtenabled = 'D' then '[]'::jsonb else jsonb_build_array(e.evtevent) end, e.evtevent = 'login',
  jsonb_build_object('function', e.evtfoid::regprocedure::text)
from pg_event_trigger e
union all
select 'role', quote_ident(o.rolname), null, null, '["MEMBER"]', true,
  jsonb_build_object('predefined', o.rolname ~ '^pg_', 'mighty', o.rolsuper or o.rolbypassrls or o.rolcreaterole or o.rolreplication)
from pg_roles o where o.oid = any ($1::oid[])`;

/** What a role has of a thing of Postgres' own and everybody in a new cluster has not (pg_init_privs keeps what that was). */
const beyond = (catalog: string, id: string, acl: string, kind: string, sub: string) => `(
    select coalesce(jsonb_agg(distinct given.privilege_type), '[]') from aclexplode(${acl}) given
    where (given.grantee = 0 or given.grantee = any ($1::oid[]))
      and not exists (
        select from aclexplode(coalesce(
          (select i.initprivs from pg_init_privs i where i.classoid = '${catalog}'::regclass and i.objoid = ${id} and i.objsubid = ${sub}),
          acldefault('${kind}', 10))) once
        where once.grantee = 0 and once.privilege_type = given.privilege_type
      )
  )`;

const ofPostgres = `
select * from (
  select 'relation of Postgres' as kind, c.oid::regclass::text as name, null as owner, null as extension,
    ${beyond('pg_class', 'c.oid', 'c.relacl', 'r', '0')} as privileges, true as open, '{}'::jsonb as facts
  from pg_class c where c.relnamespace = 'pg_catalog'::regnamespace and c.relacl is not null
  union all
  select 'relation of Postgres', format('%s (%I)', a.attrelid::regclass, a.attname), null, null,
    ${beyond('pg_class', 'a.attrelid', 'a.attacl', 'c', 'a.attnum')}, true, '{}'
  from pg_attribute a join pg_class c on c.oid = a.attrelid
  where c.relnamespace = 'pg_catalog'::regnamespace and a.attacl is not null
  union all
  select 'function of Postgres', p.oid::regprocedure::text, null, null,
    ${beyond('pg_proc', 'p.oid', 'p.proacl', 'f', '0')}, true, '{}'
  from pg_proc p where p.pronamespace = 'pg_catalog'::regnamespace and p.proacl is not null
) o where privileges <> '[]'`;

/** By what they look at. @param version server_version_num */
export function closureQueries(version: number): readonly string[] {
  return [
    relations(version),
    sequences,
    functions,
    triggers,
    largeObjects,
    foreign,
    replication,
    defaults,
    places,
    ofPostgres,
  ];
}

/** In the order of the page. */
export const kinds: readonly Kind[] = [
  'role',
  'database',
  'schema',
  'table',
  'foreign table',
  'view',
  'materialized view',
  'sequence',
  'function',
  'trigger',
  'large object',
  'default privileges',
  'foreign server',
  'foreign data wrapper',
  'user mapping',
  'publication',
  'subscription',
  'event trigger',
  'language',
  'setting',
  'relation of Postgres',
  'function of Postgres',
];

/**
 * The application's role, log-ins that work through it, and all that these can become. Who owns the database or makes the
 * roles is a member too, and none of the application.
 *
 * $1: the application's role, $2: owners of guarded tables
 */
export const rolesQuery = `
with working as (
  select a.oid, a.rolsuper from pg_roles a where a.rolname = $1
  union
  select m.oid, false from pg_roles m join pg_roles a on a.rolname = $1
  where m.rolcanlogin and not m.rolsuper and m.oid <> a.oid and pg_has_role(m.oid, a.oid, 'USAGE')
    and m.rolname <> current_user and m.rolname <> session_user and m.rolname <> all ($2::text[]) and not m.rolcreaterole
    and m.oid <> (select datdba from pg_database where datname = current_database())
)
select r.oid::int8::int as oid, r.rolname::text as name from pg_roles r
where exists (select from working w where w.oid = r.oid or (not w.rolsuper and pg_has_role(w.oid, r.oid, 'MEMBER')))
order by r.rolname <> $1, r.rolname`;
