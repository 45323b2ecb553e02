/** Phase 1: roles, identity, owner columns. Everything here is metadata; nothing that the old application uses changes. */
import { readFileSync } from 'node:fs';
import { tableOf } from '../catalog.ts';
import { identifier, literal } from '../identifier.ts';
import { ownerAlone } from '../owner-alone.ts';
import type { OwnedTable } from '../ownership.ts';
import type { Step } from '../plan.ts';
import { type PlanContext, sql, stepsOf } from './step.ts';

const isolationSql = (file: string) =>
  readFileSync(new URL(`../../../database/isolation/${file}`, import.meta.url), 'utf8').trim();

export function prepare(context: PlanContext): Step[] {
  const whole = stepsOf('prepare', null);
  const filled = context.ownership.owned.filter((table) => !table.adopted);
  return [
    whole(
      'roles',
      'make the roles of the isolated application',
      sql([], isolationSql('roles.sql')),
      sql([], ...schemasOf(context).map((schema) => `revoke usage on schema ${identifier(schema)} from ${ourRoles};`)),
    ),
    closeDatabase(context),
    whole(
      'identity',
      'install the signed identity and its verifier',
      sql([], isolationSql('identity.sql'), ownerAlone('ringfence'), ...identityGrants),
      sql([], 'drop schema if exists ringfence cascade;'),
    ),
    ...filled.map((table) => ownerColumn(context, table)),
  ];
}

export const ourRoles = 'ringfence_app, ringfence_system';

/** Nobody has anything on the table of the keys. */
const identityGrants = [
  `grant usage on schema ringfence to ${ourRoles};`,
  `grant execute on function ringfence.verified_user_id(boolean), ringfence.current_user_id() to ${ourRoles};`,
];

export function schemasOf({ catalog, ownership }: Pick<PlanContext, 'catalog' | 'ownership'>): string[] {
  return [...new Set(ownership.owned.map(({ table }) => tableOf(catalog, table).schema))].sort();
}

/**
 * Who may make temporary objects can shadow names, so the application's role must not, and it is everybody's right by
 * default. Those who are there keep it by name. Who that is, is looked up when it is done: roles come and go between a
 * plan and its step, and a role that has nothing in this database must not be tied to it.
 */
function closeDatabase(context: PlanContext): Step {
  const { database, oneTransaction } = context;
  const schemas = schemasOf(context).map((schema) => ({
    name: identifier(schema),
    open: database.publicCreateSchemas.includes(schema),
  }));
  const ofDatabase = [
    { privilege: 'temporary', open: database.publicTemporary },
    { privilege: 'create', open: database.publicCreate },
  ];
  const up: string[] = [];
  const down: string[] = [];
  for (const { privilege, open } of ofDatabase) {
    // A script is made on one server and run on another, where it may be otherwise.
    if (open || oneTransaction) up.push(keepByName(privilege, 'database', 'current_database()'));
    if (open) down.push(backToEverybody(privilege, 'database', 'current_database()', database.creators));
  }
  up.push(onDatabase(`grant connect on database %I to ${ourRoles}`));
  down.push(onDatabase(`revoke connect on database %I from ${ourRoles}`));
  for (const { name, open } of schemas) {
    if (open || oneTransaction) up.push(keepByName('create', 'schema', literal(name)));
    if (open) down.push(backToEverybody('create', 'schema', literal(name), database.creators));
    up.push(`grant usage on schema ${name} to ${ourRoles};`);
  }
  return stepsOf('prepare', null)(
    'privileges',
    "take everybody's right to make temporary objects away; who is there keeps it",
    sql([], ...up),
    sql([], ...down),
  );
}

/** Roles with objects or privileges in this database, or a session; superusers need nothing. */
const present = `select r.rolname from pg_catalog.pg_roles r
    where not r.rolsuper and r.rolname !~ '^(pg|ringfence)_' and (
      exists (select from pg_catalog.pg_shdepend d join pg_catalog.pg_database b on b.oid = d.dbid
        where b.datname = current_database() and d.refclassid = 'pg_catalog.pg_authid'::regclass and d.refobjid = r.oid)
      or exists (select from pg_catalog.pg_stat_activity a where a.datname = current_database() and a.usesysid = r.oid)
    )`;

/** Where everybody has it no more, nobody gets it. */
function keepByName(privilege: string, kind: 'database' | 'schema', name: string): string {
  const object = kind === 'database' ? 'database %I' : 'schema %s';
  const which = kind === 'database' ? name : `to_regnamespace(${name})`;
  return `do $$
declare
  someone name;
begin
  if not has_${kind}_privilege('public', ${which}, '${privilege}') then
    return;
  end if;
  for someone in ${present}
  loop
    execute format('grant ${privilege} on ${object} to %I', ${name}, someone);
  end loop;
  execute format('revoke ${privilege} on ${object} from public', ${name});
end $$;`;
}

/** @param kept who has had a right of the kind by name before, and keeps it */
function backToEverybody(
  privilege: string,
  kind: 'database' | 'schema',
  name: string,
  kept: readonly string[],
): string {
  const object = kind === 'database' ? 'database %I' : 'schema %s';
  const [catalog, acl, owner, names] =
    kind === 'database'
      ? ['pg_catalog.pg_database', 'datacl', 'datdba', 'quote_ident(o.datname) = quote_ident(current_database())']
      : ['pg_catalog.pg_namespace', 'nspacl', 'nspowner', `quote_ident(o.nspname) = ${name}`];
  return `do $$
declare
  someone name;
begin
  execute format('grant ${privilege} on ${object} to public', ${name});
  for someone in select r.rolname
    from ${catalog} o, aclexplode(o.${acl}) a join pg_catalog.pg_roles r on r.oid = a.grantee
    where ${names} and a.privilege_type = '${privilege.toUpperCase()}' and a.grantee <> o.${owner}
      and r.rolname <> all (array[${kept.map(literal).join(', ')}]::text[]) and r.rolname !~ '^(pg|ringfence)_'
  loop
    execute format('revoke ${privilege} on ${object} from %I', ${name}, someone);
  end loop;
end $$;`;
}

/** The script is made on one database and run on another. */
function onDatabase(statement: string): string {
  return `do $$ begin execute format('${statement.replaceAll("'", "''")}', current_database()); end $$;`;
}

function ownerColumn(context: PlanContext, table: OwnedTable): Step {
  const owner = identifier(table.ownerColumn);
  const whose = table.defaultOwner === context.ownership.quarantineOwner ? 'quarantine' : 'the default owner';
  return stepsOf('prepare', table.table)(
    'column',
    `add ${table.ownerColumn}, owned by ${whose} at once`,
    sql(
      [table.table],
      `alter table ${table.table} add column if not exists ${owner} uuid not null default ${literal(table.defaultOwner)};`,
    ),
    sql([table.table], `alter table ${table.table} drop column if exists ${owner};`),
    { lock: 'ACCESS EXCLUSIVE' },
  );
}
