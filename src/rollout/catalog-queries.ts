/** The catalogue's SQL. Lists come as JSON arrays, built by Postgres, in the order of their names or numbers. */

const about = `
select current_database() as database,
  current_setting('server_version_num')::int as "serverVersion",
  (select to_jsonb(r) from (
    select rolname as name, rolsuper as superuser, rolbypassrls as "bypassRls", rolcanlogin as login
    from pg_roles where rolname = current_user
  ) r) as role`;

const roles = `
select rolname::text as name, rolsuper as superuser, rolbypassrls as "bypassRls", rolcanlogin as login
from pg_roles where rolname !~ '^pg_' order by rolname`;

/** Names of the columns of an int2vector or int2[] of attribute numbers, null where an expression stands (number 0). */
const columnNames = (relation: string, numbers: string, until: string) => `(
      select coalesce(jsonb_agg(a.attname order by part.place), '[]')
      from unnest(${numbers}::int2[]) with ordinality part (number, place)
      left join pg_attribute a on a.attrelid = ${relation} and a.attnum = part.number and part.number > 0
      where part.place <= ${until}
    )`;

const all = 'cardinality';

const columns = `(
    select coalesce(jsonb_agg(jsonb_build_object(
      'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'baseType', format_type(b.oid, null),
      'foreignType', b.typtype = 'b' and b.typnamespace <> 'pg_catalog'::regnamespace
        and b.typsubscript <> 'pg_catalog.array_subscript_handler'::regproc,
      'notNull', a.attnotnull,
      'foldsText', exists (select from pg_collation l where l.oid = a.attcollation and not l.collisdeterministic),
      'default', pg_get_expr(d.adbin, d.adrelid), 'generated', a.attgenerated <> '', 'identity', a.attidentity <> ''
    ) order by a.attnum), '[]')
    from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    cross join lateral (
      with recursive below as (
        select a.atttypid as oid
        union all
        select t.typbasetype from below join pg_type t on t.oid = below.oid where t.typtype = 'd'
      )
      select t.* from below join pg_type t on t.oid = below.oid where t.typtype <> 'd'
    ) b
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  )`;

const keys = (kind: 'p' | 'u') => `(
    select coalesce(jsonb_agg(jsonb_build_object(
      'name', k.conname, 'columns', ${columnNames('k.conrelid', 'k.conkey', `${all}(k.conkey)`)},
      'definition', pg_get_constraintdef(k.oid), 'deferrable', k.condeferrable,
      'comment', obj_description(k.oid, 'pg_constraint')
    ) order by k.conname), '[]')
    from pg_constraint k where k.conrelid = c.oid and k.contype = '${kind}'
  )`;

const indexes = `(
    select coalesce(jsonb_agg(jsonb_build_object(
      'name', ic.relname, 'label', i.indexrelid::regclass,
      'partOf', (select coalesce(jsonb_agg(p.relid::regclass), '[]') from pg_partition_ancestors(i.indexrelid) p
        where p.relid <> i.indexrelid),
      'nullsNotDistinct', i.indnullsnotdistinct, 'columns', ${columnNames('i.indrelid', 'i.indkey', 'i.indnkeyatts')},
      'unique', i.indisunique, 'valid', i.indisvalid, 'partial', i.indpred is not null,
      'constraint', (
        select k.conname from pg_constraint k
        where k.conindid = i.indexrelid and k.conrelid = i.indrelid and k.contype in ('p', 'u', 'x')
      ),
      'replicaIdentity', i.indisreplident, 'clustered', i.indisclustered,
      'comment', obj_description(i.indexrelid, 'pg_class'),
      'statistics', (
        select coalesce(jsonb_agg(jsonb_build_object('column', a.attnum, 'target', a.attstattarget) order by a.attnum), '[]')
        from pg_attribute a where a.attrelid = i.indexrelid and a.attstattarget >= 0
      ),
      'definition', pg_get_indexdef(i.indexrelid)
    ) order by ic.relname), '[]')
    from pg_index i join pg_class ic on ic.oid = i.indexrelid
    where i.indrelid = c.oid
  )`;

const action = (column: string) =>
  `case ${column} when 'r' then 'restrict' when 'c' then 'cascade' when 'n' then 'set null' when 'd' then 'set default' else 'no action' end`;

/** Those that a partition has from its partitioned table are the latter's, and so are the halves that point at partitions. */
const foreignKeys = `(
    select coalesce(jsonb_agg(jsonb_build_object(
      'name', k.conname, 'columns', ${columnNames('k.conrelid', 'k.conkey', `${all}(k.conkey)`)},
      'references', k.confrelid::regclass, 'referencedColumns', ${columnNames('k.confrelid', 'k.confkey', `${all}(k.confkey)`)},
      'onUpdate', ${action('k.confupdtype')}, 'onDelete', ${action('k.confdeltype')},
      'setColumns', ${columnNames('k.conrelid', "coalesce(k.confdelsetcols, '{}')", '32')},
      'match', case k.confmatchtype when 'f' then 'full' when 'p' then 'partial' else 'simple' end,
      'deferrable', k.condeferrable, 'deferred', k.condeferred, 'validated', k.convalidated,
      'definition', pg_get_constraintdef(k.oid), 'comment', obj_description(k.oid, 'pg_constraint')
    ) order by k.conname), '[]')
    from pg_constraint k where k.conrelid = c.oid and k.contype = 'f' and k.conparentid = 0
  )`;

/** Bits of tgtype: 16 is UPDATE, 1 is FOR EACH ROW. */
const triggers = `(
    select coalesce(jsonb_agg(jsonb_build_object(
      'name', t.tgname, 'definition', pg_get_triggerdef(t.oid),
      'onAnyUpdate', t.tgtype & 16 > 0 and cardinality(t.tgattr::int2[]) = 0,
      'enabled', case t.tgenabled when 'A' then 'always' when 'R' then 'replica' when 'D' then 'disabled' else 'origin' end,
      'function', p.oid::regprocedure, 'language', l.lanname, 'body', p.prosrc, 'settings', coalesce(to_jsonb(p.proconfig), '[]')
    ) order by t.tgname), '[]')
    from pg_trigger t join pg_proc p on p.oid = t.tgfoid join pg_language l on l.oid = p.prolang
    where t.tgrelid = c.oid and not t.tgisinternal and t.tgparentid = 0
  )`;

const policies = `(
    select coalesce(jsonb_agg(jsonb_build_object('name', p.polname, 'definition', format(
      'create policy %I on %s as %s for %s to %s%s%s', p.polname, p.polrelid::regclass,
      case when p.polpermissive then 'permissive' else 'restrictive' end,
      case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
      (select string_agg(case when m = 0 then 'public' else quote_ident(m::regrole::text) end, ', ' order by m) from unnest(p.polroles) m),
      ' using (' || pg_get_expr(p.polqual, p.polrelid) || ')', ' with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'
    )) order by p.polname), '[]')
    from pg_policy p where p.polrelid = c.oid
  )`;

const grants = `(
    select coalesce(jsonb_agg(jsonb_build_object('grantee', g.grantee, 'privilege', g.privilege, 'column', g.name)
      order by g.grantee, g.privilege, g.name), '[]')
    from (
      select case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee)::text end as grantee,
        lower(a.privilege_type) as privilege, null as name
      from aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
      union all
      select case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee)::text end, lower(a.privilege_type), t.attname
      from pg_attribute t, aclexplode(t.attacl) a
      where t.attrelid = c.oid and not t.attisdropped
    ) g
  )`;

const below = (expression: string) => `(
    select ${expression}
    from pg_partition_tree(c.oid) t join pg_class p on p.oid = t.relid
    where t.relid <> c.oid
  )`;

/** Also in an array, a domain or a composite type, to any depth. */
const usedAsType = `(
    with recursive used as (
      select t.oid from pg_type t where t.oid = c.reltype
      union
      select coalesce(x.oid, k.reltype)
      from used
      join pg_depend d on d.refclassid = 'pg_type'::regclass and d.refobjid = used.oid
      left join pg_type x on d.classid = 'pg_type'::regclass and x.oid = d.objid
      left join pg_class k on d.classid = 'pg_class'::regclass and k.oid = d.objid and k.relkind = 'c'
      where x.oid is not null or k.oid is not null
    )
    select coalesce(jsonb_agg(format('%s.%I', u.oid::regclass, a.attname) order by u.relname, a.attname), '[]')
    from used
    join pg_depend d on d.refclassid = 'pg_type'::regclass and d.refobjid = used.oid and d.classid = 'pg_class'::regclass
    join pg_class u on u.oid = d.objid and u.relkind in ('r', 'p', 'm')
    join pg_attribute a on a.attrelid = u.oid and a.attnum = d.objsubid and not a.attisdropped
  )`;

const published = `(
    select coalesce(jsonb_agg(jsonb_build_object('publication', p.pubname,
      'columns', ${columnNames('r.prrelid', 'r.prattrs', `${all}(r.prattrs::int2[])`)}) order by p.pubname), '[]')
    from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
    where r.prrelid = c.oid and r.prattrs is not null and (p.pubupdate or p.pubdelete)
  )`;

/** $1: schemas that are the rollout's own. Temporary tables are nobody's business but their session's. */
const tables = `
select c.oid, n.nspname::text as schema, c.relname::text as name,
  case c.relkind when 'p' then 'partitioned' when 'f' then 'foreign' else 'table' end as kind,
  pg_get_userbyid(c.relowner)::text as owner,
  pg_has_role(c.relowner, 'USAGE') as "mayAlter",
  c.reloftype <> 0 as typed,
  ${usedAsType} as "usedAsType",
  ${published} as published,
  ${columns} as columns,
  ${keys('p')} -> 0 as "primaryKey",
  ${keys('u')} as uniques,
  ${indexes} as indexes,
  ${foreignKeys} as "foreignKeys",
  (select coalesce(jsonb_agg(k.conname order by k.conname), '[]') from pg_constraint k
    where k.conrelid = c.oid and k.contype = 'x') as exclusions,
  (select coalesce(jsonb_agg(k.conname order by k.conname), '[]') from pg_constraint k where k.conrelid = c.oid) as constraints,
  ${triggers} as triggers,
  (select coalesce(jsonb_agg(r.rulename order by r.rulename), '[]') from pg_rewrite r where r.ev_class = c.oid) as rules,
  ${policies} as policies,
  c.relrowsecurity as "rowSecurity", c.relforcerowsecurity as forced,
  (select h.inhparent::regclass::text from pg_inherits h where h.inhrelid = c.oid and c.relispartition) as "partitionOf",
  (select coalesce(jsonb_agg(h.inhparent::regclass order by h.inhseqno), '[]') from pg_inherits h
    where h.inhrelid = c.oid and not c.relispartition) as inherits,
  coalesce(${below('jsonb_agg(p.oid::regclass order by t.level, p.relname)')}, '[]') as partitions,
  ${grants} as grants,
  coalesce(case when c.relkind = 'p' then ${below('sum(greatest(p.reltuples, 0)) filter (where t.isleaf)')} end, c.reltuples)::float8 as rows,
  coalesce(case when c.relkind = 'p' then ${below('sum(pg_total_relation_size(p.oid))')} end, pg_total_relation_size(c.oid))::float8 as bytes
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'f') and c.relpersistence <> 't'
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and n.nspname <> all ($1)
  and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
order by n.nspname, c.relname`;

export const catalogQueries = { about, roles, tables };
