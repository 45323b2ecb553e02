/** What verify reads of the database besides the catalogue: roles, default privileges, and what else leads to the rows. */
import type { ClientBase } from 'pg';
import type { TableLabel } from '../catalog.ts';

export interface ReachableRole {
  readonly name: string;
  readonly superuser: boolean;
  readonly bypassRls: boolean;
  readonly createRole: boolean;
  readonly replication: boolean;
}

export interface View {
  readonly label: string;
  readonly materialized: boolean;
  /** Its rows are read with the privileges and under the policies of who asks. */
  readonly securityInvoker: boolean;
  /** Guarded tables that it reads, also through other views. */
  readonly over: readonly TableLabel[];
}

export interface DefaultPrivilege {
  /** Whose new tables they are for. */
  readonly maker: string;
  readonly schema: string | null;
  readonly grantee: string;
  readonly privileges: readonly string[];
}

export interface IdentityFunction {
  /** As regprocedure has it. */
  readonly signature: string;
  readonly owner: string;
  readonly body: string;
  readonly language: string;
  readonly definer: boolean;
  readonly volatility: string;
  readonly parallel: string;
  readonly settings: readonly string[];
  readonly returns: string;
}

export interface Facts {
  /** The application's role first, then the roles that it is a member of; empty when it does not exist. */
  readonly roles: readonly ReachableRole[];
  /** What the application's role itself owns, a few by name. */
  readonly owns: readonly string[];
  readonly mayMakeTemporary: boolean;
  readonly mayCreateSchemas: boolean;
  /** Schemas in which it may create objects. */
  readonly createsIn: readonly string[];
  readonly defaultPrivileges: readonly DefaultPrivilege[];
  /** Views that the application's role may use and that read guarded tables. */
  readonly views: readonly View[];
  /** SECURITY DEFINER functions that it may call, as regprocedure has them. */
  readonly definerFunctions: readonly string[];
  /** Sequences of guarded tables' columns that it may not draw from. */
  readonly closedSequences: readonly { readonly label: string; readonly table: TableLabel }[];
  /** Functions in the schema ringfence, in the order of their signatures. */
  readonly identityFunctions: readonly IdentityFunction[];
  /** Roles, or `public`, with any privilege on the table of keys, its owner aside. */
  readonly keyReaders: readonly string[];
  readonly hasKeysTable: boolean;
}

/** $1: the application's role, $2: oids of the guarded tables. Nothing here names a role that may not exist. */
const query = `
with recursive app as (select oid, rolname from pg_roles where rolname = $1),
reachable as (
  select r.oid, r.rolname, r.rolsuper, r.rolbypassrls, r.rolcreaterole, r.rolreplication, r.oid = app.oid as self
  from app join pg_roles r on r.oid = app.oid
    or (pg_has_role(app.oid, r.oid, 'MEMBER') and not (select rolsuper from pg_roles where oid = app.oid))
),
over (view, guarded) as (
  select distinct w.ev_class, d.refobjid from pg_depend d join pg_rewrite w on w.oid = d.objid
  where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = any ($2::oid[])
    and w.ev_class <> d.refobjid
  union
  select w.ev_class, o.guarded from over o
  join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = o.view
  join pg_rewrite w on w.oid = d.objid and w.ev_class <> o.view
)
select
  (select coalesce(jsonb_agg(jsonb_build_object('name', rolname, 'superuser', rolsuper, 'bypassRls', rolbypassrls,
    'createRole', rolcreaterole, 'replication', rolreplication) order by self desc, rolname), '[]') from reachable) as roles,
  array(select pg_describe_object(o.class, o.id, 0) from app, lateral (
      select 'pg_class'::regclass as class, oid as id, relowner as owner from pg_class where relkind in ('r', 'p', 'v', 'm', 'S', 'f')
      union all select 'pg_namespace'::regclass, oid, nspowner from pg_namespace
      union all select 'pg_proc'::regclass, oid, proowner from pg_proc
      union all select 'pg_database'::regclass, oid, datdba from pg_database where datname = current_database()
    ) o where o.owner = app.oid order by 1 limit 5) as owns,
  coalesce((select has_database_privilege(oid, current_database(), 'TEMPORARY') from app), false) as "mayMakeTemporary",
  coalesce((select has_database_privilege(oid, current_database(), 'CREATE') from app), false) as "mayCreateSchemas",
  (select coalesce(jsonb_agg(n.nspname order by n.nspname), '[]') from app, pg_namespace n
    where has_schema_privilege(app.oid, n.oid, 'CREATE') and n.nspname !~ '^pg_') as "createsIn",
  (select coalesce(jsonb_agg(d order by d.maker, d.schema, d.grantee), '[]') from (
    select pg_get_userbyid(d.defaclrole)::text as maker, n.nspname as schema,
      case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee)::text end as grantee,
      jsonb_agg(lower(a.privilege_type) order by a.privilege_type) as privileges
    from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace, aclexplode(d.defaclacl) a
    where d.defaclobjtype = 'r' and (a.grantee = 0 or a.grantee in (select oid from reachable))
    group by 1, 2, 3
  ) d) as "defaultPrivileges",
  (select coalesce(jsonb_agg(jsonb_build_object('label', c.oid::regclass, 'materialized', c.relkind = 'm',
      'securityInvoker', coalesce((select option_value::boolean from pg_options_to_table(c.reloptions) where option_name = 'security_invoker'), false),
      'over', (select jsonb_agg(o.guarded::regclass order by o.guarded::regclass::text) from over o where o.view = c.oid)
    ) order by c.oid::regclass::text), '[]')
    from app, pg_class c
    where c.relkind in ('v', 'm') and c.oid in (select view from over)
      and has_schema_privilege(app.oid, c.relnamespace, 'USAGE')
      and (has_table_privilege(app.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE')
        or has_any_column_privilege(app.oid, c.oid, 'SELECT, INSERT, UPDATE'))) as views,
  (select coalesce(jsonb_agg(p.oid::regprocedure order by p.oid::regprocedure::text), '[]')
    from app, pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where p.prosecdef and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
      and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
      and has_schema_privilege(app.oid, n.oid, 'USAGE') and has_function_privilege(app.oid, p.oid, 'EXECUTE')
      and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
  ) as "definerFunctions",
  (select coalesce(jsonb_agg(jsonb_build_object('label', s.oid::regclass, 'table', d.refobjid::regclass)
      order by s.oid::regclass::text), '[]')
    from app, pg_class s
    join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = s.oid and d.refclassid = 'pg_class'::regclass and d.deptype = 'a'
    where s.relkind = 'S' and d.refobjid = any ($2::oid[]) and not has_sequence_privilege(app.oid, s.oid, 'USAGE')
  ) as "closedSequences",
  (select coalesce(jsonb_agg(jsonb_build_object('signature', p.oid::regprocedure, 'owner', pg_get_userbyid(p.proowner), 'body', p.prosrc,
      'language', l.lanname, 'definer', p.prosecdef, 'volatility', p.provolatile, 'parallel', p.proparallel,
      'settings', coalesce(to_jsonb(p.proconfig), '[]'), 'returns', format_type(p.prorettype, null)) order by p.oid::regprocedure::text), '[]')
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
    where n.nspname = 'ringfence') as "identityFunctions",
  (select coalesce(jsonb_agg(distinct g.grantee order by g.grantee), '[]') from (
    select case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee)::text end as grantee
    from pg_class c join pg_namespace n on n.oid = c.relnamespace,
      lateral (
        select * from aclexplode(c.relacl)
        union all
        select x.* from pg_attribute t, aclexplode(t.attacl) x where t.attrelid = c.oid
      ) a
    where n.nspname = 'ringfence' and c.relname = 'identity_keys' and a.grantee <> c.relowner
  ) g) as "keyReaders",
  to_regclass('ringfence.identity_keys') is not null as "hasKeysTable"`;

/** In a snapshot of its own; labels are qualified whatever the session's search path is. */
export async function readFacts(client: ClientBase, appRole: string, guarded: readonly number[]): Promise<Facts> {
  await client.query('begin isolation level repeatable read read only');
  try {
    await client.query("set local search_path = ''");
    const { rows } = await client.query<Facts>(query, [appRole, guarded]);
    const [facts] = rows;
    if (!facts) throw new Error('the query for facts returned no row');
    return facts;
  } finally {
    await client.query('rollback');
  }
}
