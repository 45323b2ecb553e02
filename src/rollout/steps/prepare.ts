/** Phase 1: roles, identity, owner columns. Everything here is metadata; nothing that the old application uses changes. */
import { readFileSync } from 'node:fs';
import { tableOf } from '../catalog.ts';
import { identifier, literal } from '../identifier.ts';
import { keyText, quarantine, ruleOrQuarantine } from '../owner-expression.ts';
import type { OwnedTable } from '../ownership.ts';
import type { Step } from '../plan.ts';
import { leavesOf, type PlanContext, sql, stepsOf } from './step.ts';

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
      sql([], isolationSql('identity.sql')),
      sql([], 'drop schema if exists ringfence cascade;'),
    ),
    ...filled.map((table) => ownerColumn(context, table)),
    // Backwards, all owners are saved before the first column goes: a rule may read another table's.
    ...filled.map((table) => backup(context, table)),
  ];
}

export const ourRoles = 'ringfence_app, ringfence_system';

export function schemasOf({ catalog, ownership }: Pick<PlanContext, 'catalog' | 'ownership'>): string[] {
  return [...new Set(ownership.owned.map(({ table }) => tableOf(catalog, table).schema))].sort();
}

/**
 * Who may make temporary objects can shadow names, so the application's role must not, and it is everybody's right by
 * default. Those who are there keep it by name.
 */
function closeDatabase(context: PlanContext): Step {
  const { catalog, database, oneTransaction } = context;
  // A script is made on one server and run on another: it names no role that it does not make.
  const present = catalog.roles
    .filter((role) => !oneTransaction && role.login && !role.superuser && !role.name.startsWith('ringfence_'))
    .map((role) => identifier(role.name))
    .join(', ');
  const privileges = [
    ...(database.publicTemporary || oneTransaction ? ['temporary'] : []),
    ...(database.publicCreate || oneTransaction ? ['create'] : []),
  ].join(', ');
  // What Postgres itself gives to everybody, where it is not known what was there.
  const before = oneTransaction ? 'temporary' : privileges;
  const here = 'database %I';
  const up: string[] = [];
  const down: string[] = [];
  if (privileges !== '') {
    if (present !== '') up.push(onDatabase(`grant ${privileges} on ${here} to ${present}`));
    up.push(onDatabase(`revoke ${privileges} on ${here} from public`));
    down.push(onDatabase(`grant ${before} on ${here} to public`));
    if (present !== '') down.push(onDatabase(`revoke ${privileges} on ${here} from ${present}`));
  }
  up.push(onDatabase(`grant connect on ${here} to ${ourRoles}`));
  down.push(onDatabase(`revoke connect on ${here} from ${ourRoles}`));
  for (const schema of schemasOf(context)) {
    const name = identifier(schema);
    if (database.publicCreateSchemas.includes(schema) || oneTransaction) {
      if (present !== '') up.push(`grant create on schema ${name} to ${present};`);
      up.push(`revoke create on schema ${name} from public;`);
    }
    if (database.publicCreateSchemas.includes(schema)) {
      down.push(`grant create on schema ${name} to public;`);
      if (present !== '') down.push(`revoke create on schema ${name} from ${present};`);
    }
    up.push(`grant usage on schema ${name} to ${ourRoles};`);
  }
  return stepsOf('prepare', null)(
    'privileges',
    "take everybody's right to make temporary objects away; who is there keeps it",
    sql([], ...up),
    sql([], ...down),
  );
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

function backup(context: PlanContext, table: OwnedTable): Step {
  const action = { kind: 'saveOwners', statements: saveOwners(context, table) } as const;
  return stepsOf('prepare', table.table)('backup', 'a rollback keeps the owners in user_id_backup', null, action);
}

/** With what the rule says, so that owners given by hand can be told from the rule's when they come back. */
function saveOwners({ catalog, ownership }: PlanContext, table: OwnedTable): string[] {
  if (table.key.length === 0) return [];
  const name = literal(table.table);
  const rule = ruleOrQuarantine(ownership, table, 't');
  const owner = `t.${identifier(table.ownerColumn)}`;
  const said = table.sources.length > 0 ? `\n  or ${rule} <> ${quarantine(ownership)}` : '';
  return [
    `delete from ringfence_rollout.user_id_backup where table_name = ${name};`,
    ...leavesOf(catalog, tableOf(catalog, table.table)).map(
      (leaf) => `insert into ringfence_rollout.user_id_backup (table_name, id, user_id, rule_user_id)
select ${name}, ${keyText(table, 't')}, ${owner}, ${rule}
from ${leaf} t
where ${owner} <> ${quarantine(ownership)}${said}
on conflict (table_name, id) do update set user_id = excluded.user_id, rule_user_id = excluded.rule_user_id, saved_at = now();`,
    ),
  ];
}
