/**
 * The schema as text, read from the catalogue: for database/schema.sql, and to tell whether two databases are alike.
 * pg_dump would do, but it is not among the binaries that come with npm.
 */
import type { OwnerConnection } from './owner.ts';

const schemas = ['public', 'ringfence', 'ringfence_system_mode'];
/** What belongs to an extension is the extension's. */
const notOfAnExtension = "not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')";

export async function dumpSchema(owner: OwnerConnection): Promise<string> {
  await owner.query("set search_path = ''");
  try {
    const parts = [
      await functions(owner),
      await tables(owner),
      await indexes(owner),
      await policies(owner),
      await grants(owner),
    ];
    return `${parts.flat().join('\n\n')}\n`;
  } finally {
    await owner.query('reset search_path');
  }
}

async function lines(owner: OwnerConnection, sql: string): Promise<string[]> {
  const { rows } = await owner.query<{ line: string }>(sql, [schemas]);
  return rows.map((row) => row.line);
}

function functions(owner: OwnerConnection): Promise<string[]> {
  return lines(
    owner,
    `select pg_get_functiondef(c.oid) as line from pg_proc c join pg_namespace n on n.oid = c.pronamespace
     where n.nspname = any ($1) and ${notOfAnExtension} order by n.nspname, c.proname`,
  );
}

function tables(owner: OwnerConnection): Promise<string[]> {
  return lines(
    owner,
    `select format(E'create table %s (\\n%s\\n);', c.oid::regclass, string_agg('  ' || part.text, E',\\n' order by part.place, lpad(part.name, 64)))
       || case when c.relrowsecurity then format(E'\\nalter table %s enable row level security;', c.oid::regclass) else '' end
       || case when c.relforcerowsecurity then format(E'\\nalter table %s force row level security;', c.oid::regclass) else '' end
       as line
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     cross join lateral (
       select 1 as place, a.attnum::text as name,
         format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod))
         || case when a.attnotnull then ' not null' else '' end
         || case
           when d.adbin is null then ''
           when a.attgenerated = 's' then format(' generated always as (%s) stored', pg_get_expr(d.adbin, d.adrelid, true))
           else ' default ' || pg_get_expr(d.adbin, d.adrelid, true)
         end as text
       from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
       where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
       union all
       -- not null is a constraint of its own from Postgres 18 on; it is said with its column above
       select 2, k.conname, format('constraint %I %s', k.conname, pg_get_constraintdef(k.oid))
       from pg_constraint k where k.conrelid = c.oid and k.contype <> 'n'
     ) part
     where c.relkind in ('r', 'p') and n.nspname = any ($1) and ${notOfAnExtension}
     group by c.oid, c.relrowsecurity, c.relforcerowsecurity, n.nspname, c.relname
     order by n.nspname, c.relname`,
  );
}

/** Those of constraints come with their constraints. */
async function indexes(owner: OwnerConnection): Promise<string[]> {
  const all = await lines(
    owner,
    `select pg_get_indexdef(c.oid) || ';' as line from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'i' and n.nspname = any ($1) and ${notOfAnExtension}
       and not exists (select from pg_constraint k where k.conindid = c.oid and k.contype in ('p', 'u'))
     order by n.nspname, c.relname`,
  );
  return [all.join('\n')];
}

async function policies(owner: OwnerConnection): Promise<string[]> {
  const all = await lines(
    owner,
    `select format('create policy %I on %s%s%s%s%s%s;', c.polname, c.polrelid::regclass,
       case when c.polpermissive then '' else ' as restrictive' end,
       case c.polcmd when '*' then '' else ' for ' || case c.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' else 'delete' end end,
       case when c.polroles = '{0}' then '' else ' to ' || (select string_agg(r::regrole::text, ', ' order by r::regrole::text) from unnest(c.polroles) r) end,
       ' using (' || pg_get_expr(c.polqual, c.polrelid) || ')', ' with check (' || pg_get_expr(c.polwithcheck, c.polrelid) || ')') as line
     from pg_policy c join pg_class t on t.oid = c.polrelid join pg_namespace n on n.oid = t.relnamespace
     where n.nspname = any ($1) order by t.relname, c.polname`,
  );
  return [all.join('\n')];
}

async function grants(owner: OwnerConnection): Promise<string[]> {
  const all = await lines(
    owner,
    `select format('grant %s on %s to %s;', string_agg(g.privilege, ', ' order by g.privilege), g.object, g.grantee) as line
     from (
       select lower(acl.privilege_type) as privilege, 'table ' || c.oid::regclass as object, acl.grantee::regrole as grantee
       from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) acl
       where n.nspname = any ($1) and acl.grantee not in (0, c.relowner) and ${notOfAnExtension}
       union all
       select format('%s (%s)', lower(acl.privilege_type), string_agg(quote_ident(a.attname), ', ' order by a.attnum)),
         'table ' || c.oid::regclass, acl.grantee::regrole
       from pg_class c join pg_namespace n on n.oid = c.relnamespace
       join pg_attribute a on a.attrelid = c.oid, aclexplode(a.attacl) acl
       where n.nspname = any ($1) and not a.attisdropped
       group by c.oid, acl.privilege_type, acl.grantee
       union all
       select lower(acl.privilege_type), 'function ' || c.oid::regprocedure, acl.grantee::regrole
       from pg_proc c join pg_namespace n on n.oid = c.pronamespace, aclexplode(c.proacl) acl
       where n.nspname = any ($1) and acl.grantee not in (0, c.proowner) and ${notOfAnExtension}
       union all
       select lower(acl.privilege_type), 'schema ' || quote_ident(n.nspname), acl.grantee::regrole
       from pg_namespace n, aclexplode(n.nspacl) acl
       where n.nspname = any ($1) and acl.grantee::regrole::text like 'ringfence\\_%'
     ) g group by g.object, g.grantee order by g.object, g.grantee::text`,
  );
  return [all.join('\n')];
}
