/**
 * The rollout of the product's own schema, from 002 to 003: whose its rows are, and what it needs besides what every
 * rollout does. Both are said in the catalogue (src/isolation/owned-tables.ts) and only put into the rollout's words here;
 * migration 003, `plan`, `apply` and `verify` come from it.
 */
import { readFileSync } from 'node:fs';
import {
  type AccountTable,
  accountTables,
  everybodyMark,
  type OwnedTable,
  ownedTables,
  parentOf,
  quarantineUserId,
  sharedTables,
} from '../isolation/owned-tables.ts';
import type { Connection } from '../rollout/connection.ts';
import type { Columns, Extras, ExtraWork, TableGrants } from '../rollout/extras.ts';
import { literal } from '../rollout/identifier.ts';
import { ownerAlone } from '../rollout/owner-alone.ts';
import type { Ownership, OwnedTable as RolledOut } from '../rollout/ownership.ts';
import type { Step } from '../rollout/plan.ts';
import type { OwnerRule, RolloutConfig } from '../rollout/rollout-config.ts';
import { withOwner, withoutOwner } from '../rollout/steps/key-names.ts';
import { type PlanContext, sql, stepsOf } from '../rollout/steps/step.ts';

const label = (table: string) => `public.${table}`;
const owned: readonly OwnedTable[] = ownedTables;
const accounts: readonly AccountTable[] = accountTables;
const ledger = 'public.ringfence_migrations';

/** Roots belong to nobody until somebody claims them; all else belongs to whom what it hangs on belongs to. */
function ownerRule(table: OwnedTable): OwnerRule | OwnerRule[] {
  const parents = table.references.filter((reference) => reference.onDelete === 'cascade');
  return parents.length === 0 ? 'quarantine' : parents.map(({ column }) => ({ reference: column }));
}

/** How our own schema looks when 003 made it, and no plan says so. */
export const ownSchema: Ownership = {
  users: { table: 'public.users', id: 'id', idKind: 'uuid' },
  owned: [
    ...accounts.map(({ table, column }) =>
      rolledOut(table, 'account', column, 'says whose it is from the start (002)'),
    ),
    ...owned.map(({ table }) => rolledOut(table, 'owned', 'user_id', 'rows of one user each (003)')),
  ],
  unowned: sharedTables.map(({ table, reason }) => ({ table: label(table), class: 'shared', reason })),
  legacyRoles: [],
  quarantineOwner: quarantineUserId,
  appRole: 'ringfence_app',
};

function rolledOut(table: string, kind: RolledOut['class'], ownerColumn: string, reason: string): RolledOut {
  const nothing = { sources: [], references: [], partitions: [] };
  const adopted = kind === 'account';
  return {
    ...nothing,
    table: label(table),
    class: kind,
    ownerColumn,
    adopted,
    key: ['id'],
    reason,
    defaultOwner: quarantineUserId,
  };
}

const everything: TableGrants = { select: 'all', insert: 'all', update: 'all', delete: true };

/** What 003 adds for signing in, and grants that are narrower than those of any table. */
export const ownExtras: Extras = {
  policies: [
    // Before anybody is known there is no user to compare with; the grants, column by column, are the limit.
    ...accounts.filter(isForAccounts).map(({ table }) => ({
      table: label(table),
      name: 'accounts_mode',
      definition: `create policy accounts_mode on ${label(table)} as permissive for all to ringfence_accounts using (true) with check (true)`,
    })),
    // The log is evidence: a use of system mode can only be written down by system mode, not by a user's statement.
    {
      table: 'public.user_access_log',
      name: 'no_system_outcome',
      definition:
        "create policy no_system_outcome on public.user_access_log as restrictive for insert to ringfence_accounts, ringfence_app with check ((outcome <> 'system'::text))",
    },
  ],
  grants: Object.fromEntries([
    ...accounts.map(({ table, grants }) => [label(table), grantsOf(grants)] as const),
    ...owned.map(({ table, updatable }): readonly [string, TableGrants] => [
      label(table),
      { select: 'all', insert: 'all', update: updatable, delete: true },
    ]),
  ]),
  furtherGrants: Object.fromEntries([
    ...accounts.map((table) => [
      label(table.table),
      {
        ringfence_system: grantsOf(table.systemGrants),
        ...(isForAccounts(table) ? { ringfence_accounts: grantsOf(table.accountsGrants) } : {}),
      },
    ]),
    ...owned.map(({ table }) => [label(table), { ringfence_system: everything }]),
    [ledger, { ringfence_accounts: grantsOf(['select']) }],
  ]),
  functions: [],
};

function isForAccounts({ accountsGrants }: AccountTable): boolean {
  return accountsGrants.length > 0;
}

/** `select (a, b)` names columns, `select` means all of them. */
function grantsOf(grants: readonly string[]): TableGrants {
  const columns = (verb: string): Columns => {
    if (grants.includes(verb)) return 'all';
    const named = grants.find((grant) => grant.startsWith(`${verb} (`));
    return named === undefined ? [] : named.slice(verb.length + 2, -1).split(', ');
  };
  return {
    select: columns('select'),
    insert: columns('insert'),
    update: columns('update'),
    delete: grants.includes('delete'),
  };
}

/** The step that writes 003 into the ledger of migrations. */
export const ledgerStep = 'contract/ledger';

const ownExtraWork: ExtraWork = {
  extras: ownExtras,
  steps: (context) => [
    accountsRole(),
    systemModeMark(),
    quarantineUser(),
    ...owned.flatMap((table) => [
      ...indexes(context, table),
      ...(parentOf(table) ? [] : ownedByUser(context, table.table)),
    ]),
    ...accounts.flatMap(({ table, unscoped = [] }) => unscoped.flatMap((index) => marked(context, table, index))),
    ...accounts.filter(({ column }) => column === 'user_id').map(({ table }) => signedBy(table)),
    withoutStatistics(),
    ledgerEntry(),
  ],
};

/** As `ringfence.config.json` would say it, and what no file can say. */
export const ownRolloutConfig: RolloutConfig = {
  schemas: ['public'],
  users: { table: 'public.users' },
  tables: Object.fromEntries([
    ...owned.map((table) => [label(table.table), { class: 'owned' as const, owner: ownerRule(table) }]),
    ...accounts.map(({ table }) => [label(table), { class: 'account' as const }]),
    ...sharedTables.map(({ table, reason }) => [label(table), { class: 'shared' as const, reason }]),
  ]),
  shared: [],
  ignored: [],
  csv: {},
  extraWork: ownExtraWork,
};

/**
 * The rollout of this database: our own where it is ours, with what the operator says about rows' owners and about
 * other tables in it.
 *
 * @param config what the operator says
 */
export async function configFor(client: Connection, config: RolloutConfig): Promise<RolloutConfig> {
  const { rows } = await client.query<{ ours: boolean }>(`select to_regclass('${ledger}') is not null as ours`);
  if (rows[0]?.ours !== true) return config;
  // Whose rows are may be known to the operator; which tables have owners is not for him to say.
  const ours = Object.entries(ownRolloutConfig.tables).map(
    ([table, own]) => [table, { ...own, ...config.tables[table], class: own.class }] as const,
  );
  return {
    ...ownRolloutConfig,
    ...config,
    schemas: [...new Set(['public', ...(config.schemas ?? [])])],
    users: ownRolloutConfig.users,
    tables: { ...config.tables, ...Object.fromEntries(ours) },
  };
}

function accountsRole(): Step {
  const install = readFileSync(new URL('../../database/isolation/accounts.sql', import.meta.url), 'utf8').trim();
  return stepsOf('prepare', null)(
    'accounts role',
    'make the role that signing in works through',
    sql([], install),
    sql([], 'revoke usage on schema public from ringfence_accounts;'),
  );
}

function systemModeMark(): Step {
  const install = readFileSync(new URL('../../database/isolation/system-mode.sql', import.meta.url), 'utf8').trim();
  return stepsOf('prepare', null)(
    'system mode',
    'make the condition by which system mode has indexes of its own',
    sql(
      [],
      install,
      ownerAlone('ringfence_system_mode'),
      'grant usage on schema ringfence_system_mode to ringfence_system;',
      'grant execute on function ringfence_system_mode.every(uuid) to public;',
    ),
    sql([], 'drop schema if exists ringfence_system_mode cascade;'),
  );
}

/** Nobody can sign in as this user: no password, no outside identity, and a status that is refused everywhere. */
function quarantineUser(): Step {
  return stepsOf('prepare', 'public.users')(
    'quarantine',
    'make the user who owns what nobody has claimed, and cannot sign in',
    sql(
      [],
      `insert into public.users (id, email, name, status)
values (${literal(quarantineUserId)}, 'quarantine@ringfence.invalid', 'Unclaimed rows', 'quarantine')
on conflict do nothing;`,
    ),
    sql([], `delete from public.users where id = ${literal(quarantineUserId)};`),
  );
}

/** A root has no parent whose owner is known to exist. No cascade: erasing a user names each table, or fails. */
function ownedByUser({ oneTransaction }: PlanContext, table: string): Step[] {
  const step = stepsOf('keys', label(table));
  const name = `fk_${table}_user_id`;
  const locks = [label(table), 'public.users'];
  const drop = `alter table ${label(table)} drop constraint if exists ${name};`;
  const add = `alter table ${label(table)} add constraint ${name}\n  foreign key (user_id) references public.users (id)`;
  const remove = sql(locks, drop);
  const lock = 'SHARE ROW EXCLUSIVE';
  if (oneTransaction)
    return [step(`reference ${name}`, 'its owners are users', sql(locks, `${add};`), remove, { lock })];
  return [
    step(`reference ${name}`, "tie new rows' owners to the users", sql(locks, drop, `${add} not valid;`), remove, {
      lock,
    }),
    step(
      `validate ${name}`,
      "check the old rows' owners",
      { kind: 'validate', table: label(table), constraint: name },
      null,
      { lock: 'SHARE UPDATE EXCLUSIVE' },
    ),
  ];
}

function indexes(context: PlanContext, table: OwnedTable): Step[] {
  return [
    ...table.lists.map((columns) =>
      newIndex(table.table, `idx_${table.table}_user_id_${columns[0]}`, ['user_id', ...columns], false),
    ),
    // For system mode and for USER_ISOLATION_ENABLED=false. See everybodyMark in owned-tables.ts for the condition.
    newIndex(table.table, `idx_${table.table}_id`, ['id'], true),
    ...unscopedIndexes(table).flatMap((index) =>
      index.existed ? marked(context, table.table, index) : [newIndex(table.table, index.name, index.columns, true)],
    ),
  ];
}

interface UnscopedIndex {
  readonly name: string;
  readonly columns: readonly string[];
  /** Whether the schema before isolation had it; a reference that led a unique constraint needed none there. */
  readonly existed: boolean;
}

function unscopedIndexes(table: OwnedTable): UnscopedIndex[] {
  const covered = new Set(table.unique.map((unique) => unique.columns[0]));
  return [
    ...table.unscoped.map((index) => ({ ...index, existed: true })),
    ...table.references.map(({ column }) => ({
      name: `idx_${table.table}_${column}`,
      columns: [column],
      existed: !covered.has(column),
    })),
  ];
}

const createIndex = (table: string, name: string, columns: readonly string[], partial: boolean) =>
  `create index concurrently ${name} on ${label(table)} (${columns.join(', ')})${partial ? ` where ${everybodyMark}` : ''}`;

const build = (table: string, name: string, columns: readonly string[], partial: boolean) =>
  ({ kind: 'index', schema: 'public', name, statement: createIndex(table, name, columns, partial) }) as const;

const remove = (name: string) => ({ kind: 'dropIndex', schema: 'public', name }) as const;

function newIndex(table: string, name: string, columns: readonly string[], partial: boolean): Step {
  const title = `build the index for ${partial ? 'lists and look-ups over all users' : "a user's lists"}`;
  return stepsOf('keys', label(table))(`index ${name}`, title, build(table, name, columns, partial), remove(name), {
    lock: 'SHARE UPDATE EXCLUSIVE',
  });
}

/** An index that the old application needs until it is off; then only marked statements may have it. */
function marked(
  { oneTransaction }: PlanContext,
  table: string,
  { name, columns }: Pick<UnscopedIndex, 'name' | 'columns'>,
): Step[] {
  const [keys, contract] = [stepsOf('keys', label(table)), stepsOf('contract', label(table))];
  const title = `only statements over all users may use ${name}`;
  const drop = `drop index public.${name};`;
  const plain = (partial: boolean) =>
    `${createIndex(table, name, columns, partial).replace('index concurrently', 'index')};`;
  const lock = { lock: 'ACCESS EXCLUSIVE' } as const;
  const locks = [label(table)];
  if (oneTransaction) {
    return [contract(`mark ${name}`, title, sql(locks, drop, plain(true)), sql(locks, drop, plain(false)), lock)];
  }
  const [beside, old] = [withOwner(name), withoutOwner(name)];
  const concurrent = { lock: 'SHARE UPDATE EXCLUSIVE' } as const;
  const rename = (from: string) => `alter index public.${from} rename to ${name};`;
  return [
    keys(
      `index ${beside}`,
      `build the index for lists and look-ups over all users beside ${name}`,
      build(table, beside, columns, true),
      remove(beside),
      concurrent,
    ),
    contract(
      `restore ${beside}`,
      'the index for statements over all users comes back beside the old one',
      null,
      build(table, beside, columns, true),
      { ...concurrent, restores: 'keys' },
    ),
    contract(`mark ${name}`, title, sql(locks, drop, rename(beside)), sql(locks, drop, rename(old)), lock),
    contract(
      `old index ${old}`,
      `${name} for everybody is built again by a rollback`,
      null,
      build(table, old, columns, false),
      concurrent,
    ),
  ];
}

function withoutStatistics(): Step {
  const tables = [...accounts, ...owned].map(({ table }) => literal(label(table))).join(', ');
  const file = (name: string) =>
    readFileSync(new URL(`../../database/isolation/${name}`, import.meta.url), 'utf8')
      .trim()
      .replaceAll('%TABLES%', tables);
  return stepsOf('seal', null)(
    'statistics',
    'keep no values of rows for the planner, whose reckoning everybody can read',
    sql([], file('statistics.sql')),
    sql([], file('statistics.down.sql')),
    { lock: 'SHARE UPDATE EXCLUSIVE' },
  );
}

/** Rows of accounts are made by whom they belong to, except the users themselves. */
function signedBy(table: string): Step {
  const column = `alter table ${label(table)} alter column user_id`;
  return stepsOf('seal', label(table))(
    'signed',
    'a new row belongs to who signed for it',
    sql([label(table)], `${column} set default ringfence.current_user_id();`),
    sql([label(table)], `${column} drop default;`),
    { lock: 'ACCESS EXCLUSIVE' },
  );
}

function ledgerEntry(): Step {
  return stepsOf('contract', null)(
    'ledger',
    'write it into the ledger of migrations',
    sql([], `insert into ${ledger} (version, name) values (3, '003_add_user_isolation') on conflict do nothing;`),
    sql([], `delete from ${ledger} where version = 3;`),
  );
}
