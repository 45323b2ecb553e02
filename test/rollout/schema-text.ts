/**
 * Everything of a schema that a rollback has to put back, as sorted lines of text from Postgres' catalogue: two databases
 * with the same text cannot be told apart but by their rows. Privileges are spelled out, so that none and the default are
 * one; what only the order of making shows is not in it: object ids, column numbers, and of a partition's constraint
 * whether it was there before the parent's, which no statement can set back.
 */
import type pg from 'pg';

const shown = (acl: string, kind: string, owner: string) =>
  `(select coalesce(string_agg(format('%s=%s%s by %s', case when a.grantee = 0 then 'public' else a.grantee::regrole::text end,
     a.privilege_type, case when a.is_grantable then '*' else '' end, a.grantor::regrole), ', '
     order by a.grantee::regrole::text, a.privilege_type, a.grantor::regrole::text), 'nobody')
   from aclexplode(coalesce(${acl}, acldefault('${kind}', ${owner}))) a)`;

const comment = (oid: string, catalog: string, sub = '0') =>
  `(select ' comment=' || quote_literal(d.description) from pg_description d
    where d.objoid = ${oid} and d.classoid = '${catalog}'::regclass and d.objsubid = ${sub})`;

const inSchemas = (column: string) => `${column} = any ($1::text[]::regnamespace[])`;

/** Each returns rows with one column, `line`. `$1` is the list of schemas, quoted. */
const queries: readonly string[] = [
  `select format('schema %s owner=%s acl=[%s]%s', n.oid::regnamespace, n.nspowner::regrole, ${shown('n.nspacl', 'n', 'n.nspowner')},
     ${comment('n.oid', 'pg_namespace')}) as line
   from pg_namespace n where ${inSchemas('n.oid')}`,

  `select format('database owner=%s acl=[%s]', d.datdba::regrole, ${shown('d.datacl', 'd', 'd.datdba')}) as line
   from pg_database d where d.datname = current_database() and $1::text[] is not null`,

  `select format('setting role=%s %s', coalesce(s.setrole::regrole::text, '-'), s.setconfig) as line
   from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase where d.datname = current_database() and $1::text[] is not null`,

  `select format('default privileges role=%s schema=%s type=%s acl=[%s]', d.defaclrole::regrole, d.defaclnamespace::regnamespace, d.defaclobjtype,
     ${shown('d.defaclacl', 'r', 'd.defaclrole')}) as line
   from pg_default_acl d where $1::text[] is not null`,

  `select format('relation %s kind=%s owner=%s persistence=%s options=%s tablespace=%s rls=%s forced=%s identity=%s method=%s partition=[%s] key=[%s] parents=[%s] acl=[%s]%s',
     c.oid::regclass, c.relkind, c.relowner::regrole, c.relpersistence,
     (select array_agg(o order by o) from unnest(c.reloptions) o), c.reltablespace,
     c.relrowsecurity, c.relforcerowsecurity, c.relreplident, (select amname from pg_am where oid = c.relam),
     pg_get_expr(c.relpartbound, c.oid), case when c.relkind = 'p' then pg_get_partkeydef(c.oid) end,
     (select string_agg(i.inhparent::regclass::text, ',' order by i.inhseqno) from pg_inherits i where i.inhrelid = c.oid),
     ${shown('c.relacl', 'r', 'c.relowner')}, ${comment('c.oid', 'pg_class')}) as line
   from pg_class c where ${inSchemas('c.relnamespace')} and c.relkind in ('r', 'p', 'v', 'm', 'f')`,

  `select format('column %s #%s %s type=%s collation=%s notnull=%s identity=%s generated=%s default=[%s] storage=%s compression=%s statistics=%s options=%s inherited=%s/%s acl=[%s]%s',
     c.oid::regclass, row_number() over (partition by c.oid order by a.attnum), quote_ident(a.attname),
     format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation, a.attnotnull, a.attidentity, a.attgenerated,
     pg_get_expr(d.adbin, d.adrelid), a.attstorage, a.attcompression, coalesce(a.attstattarget, -1), a.attoptions,
     a.attislocal, a.attinhcount,
     coalesce((select string_agg(format('%s=%s%s by %s', case when x.grantee = 0 then 'public' else x.grantee::regrole::text end,
       x.privilege_type, case when x.is_grantable then '*' else '' end, x.grantor::regrole), ', '
       order by x.grantee::regrole::text, x.privilege_type, x.grantor::regrole::text) from aclexplode(a.attacl) x), ''),
     ${comment('c.oid', 'pg_class', 'a.attnum')}) as line
   from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
   left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
   where ${inSchemas('c.relnamespace')} and c.relkind in ('r', 'p', 'v', 'm', 'f')`,

  `select format('constraint %s on %s: %s index=%s deferrable=%s deferred=%s validated=%s local=%s inherited=%s noinherit=%s parent=%s%s',
     quote_ident(k.conname), k.conrelid::regclass, pg_get_constraintdef(k.oid), nullif(k.conindid, 0)::regclass, k.condeferrable, k.condeferred,
     k.convalidated, k.conislocal or (select c.relispartition from pg_class c where c.oid = k.conrelid), k.coninhcount,
     k.contype in ('c', 'n') and k.connoinherit, (select quote_ident(p.conname) from pg_constraint p where p.oid = k.conparentid),
     ${comment('k.oid', 'pg_constraint')}) as line
   from pg_constraint k where ${inSchemas('k.connamespace')} and k.conrelid <> 0`,

  `select format('index %s valid=%s ready=%s unique=%s clustered=%s identity=%s statistics=%s%s', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisready,
     i.indisunique, i.indisclustered, i.indisreplident,
     (select array_agg(a.attstattarget order by a.attnum) from pg_attribute a where a.attrelid = i.indexrelid and a.attstattarget >= 0),
     ${comment('i.indexrelid', 'pg_class')}) as line
   from pg_index i join pg_class c on c.oid = i.indexrelid where ${inSchemas('c.relnamespace')}`,

  `select format('policy %s on %s %s %s to [%s] using [%s] check [%s]', quote_ident(p.polname), p.polrelid::regclass,
     case when p.polpermissive then 'permissive' else 'restrictive' end, p.polcmd,
     (select string_agg(case when r = 0 then 'public' else r::regrole::text end, ',' order by r::regrole::text) from unnest(p.polroles) r),
     pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) as line
   from pg_policy p join pg_class c on c.oid = p.polrelid where ${inSchemas('c.relnamespace')}`,

  `select format('trigger %s enabled=%s', pg_get_triggerdef(t.oid), t.tgenabled) as line
   from pg_trigger t join pg_class c on c.oid = t.tgrelid where ${inSchemas('c.relnamespace')} and not t.tgisinternal`,

  // Those that check references: disabled ones would be a hole.
  `select format('internal trigger of %s on %s by %s type=%s enabled=%s', (select quote_ident(k.conname) from pg_constraint k where k.oid = t.tgconstraint),
     t.tgrelid::regclass, t.tgfoid::regproc, t.tgtype, t.tgenabled) as line
   from pg_trigger t join pg_class c on c.oid = t.tgrelid where ${inSchemas('c.relnamespace')} and t.tgisinternal`,

  `select format('rule %s enabled=%s', pg_get_ruledef(r.oid), r.ev_enabled) as line
   from pg_rewrite r join pg_class c on c.oid = r.ev_class where ${inSchemas('c.relnamespace')}`,

  `select format('materialized view %s filled=%s', c.oid::regclass, c.relispopulated) as line
   from pg_class c where ${inSchemas('c.relnamespace')} and c.relkind = 'm'`,

  `select format('sequence %s owner=%s type=%s start=%s increment=%s min=%s max=%s cache=%s cycle=%s of=[%s] acl=[%s]', c.oid::regclass, c.relowner::regrole,
     s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle,
     (select string_agg(d.deptype::text || ' ' || d.refobjid::regclass || '.' || quote_ident(a.attname), ',') from pg_depend d
        join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')),
     ${shown('c.relacl', 's', 'c.relowner')}) as line
   from pg_class c join pg_sequence s on s.seqrelid = c.oid where ${inSchemas('c.relnamespace')}`,

  `select format('function %s owner=%s acl=[%s]%s %s', p.oid::regprocedure, p.proowner::regrole, ${shown('p.proacl', 'f', 'p.proowner')},
     ${comment('p.oid', 'pg_proc')}, case when p.prokind in ('f', 'p') then pg_get_functiondef(p.oid) end) as line
   from pg_proc p where ${inSchemas('p.pronamespace')}`,

  `select format('type %s kind=%s owner=%s acl=[%s] labels=%s', t.oid::regtype, t.typtype, t.typowner::regrole, ${shown('t.typacl', 'T', 't.typowner')},
     (select array_agg(e.enumlabel order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid)) as line
   from pg_type t where ${inSchemas('t.typnamespace')} and t.typtype in ('e', 'd', 'r')`,

  `select format('statistics %s', pg_get_statisticsobjdef(s.oid)) as line from pg_statistic_ext s where ${inSchemas('s.stxnamespace')}`,

  `select format('publication %s all=%s [%s]', quote_ident(p.pubname), p.puballtables,
     (select string_agg(r.prrelid::regclass::text, ',' order by r.prrelid::regclass::text) from pg_publication_rel r where r.prpubid = p.oid)) as line
   from pg_publication p where $1::text[] is not null`,

  `select format('event trigger %s on %s enabled=%s', quote_ident(e.evtname), e.evtevent, e.evtenabled) as line
   from pg_event_trigger e where $1::text[] is not null`,

  `select format('extension %s %s in %s', e.extname, e.extversion, e.extnamespace::regnamespace) as line
   from pg_extension e where $1::text[] is not null`,

  // Schemas that were not there before must be known, or must have gone.
  `select format('other schema %s', n.oid::regnamespace) as line from pg_namespace n
   where not (${inSchemas('n.oid')}) and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'ringfence_rollout')`,
];

const extensionMembers = `
select coalesce(c.oid::regclass::text, p.oid::regprocedure::text) as name from pg_depend d
left join pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid
left join pg_proc p on d.classid = 'pg_proc'::regclass and p.oid = d.objid
where d.deptype = 'e' and coalesce(c.oid, p.oid) is not null`;

/** @param schemas names as they are, not quoted */
export async function schemaText(client: pg.Client, schemas: readonly string[]): Promise<string> {
  await client.query('begin isolation level repeatable read read only');
  try {
    return await schemaTextWithin(client, schemas);
  } finally {
    await client.query('rollback');
  }
}

/** The same inside a transaction of the caller's. */
export async function schemaTextWithin(client: pg.Client, schemas: readonly string[]): Promise<string> {
  await client.query("set local search_path = ''");
  const quoted = await client.query<{ names: string[] }>(
    'select array_agg(quote_ident(name)) as names from unnest($1::text[]) name',
    [schemas],
  );
  // What belongs to an extension is the extension's: provisioning our own server closes pg_stat_statements to others.
  const members = await client.query<{ name: string }>(extensionMembers);
  const foreign = members.rows.map(({ name }) => name);
  const lines: string[] = [];
  for (const query of queries) {
    const { rows } = await client.query<{ line: string }>(query, [quoted.rows[0]?.names]);
    const own = rows.map(({ line }) => line).filter((line) => !foreign.some((name) => line.includes(` ${name}`)));
    lines.push(...own.sort());
  }
  return lines.join('\n');
}
