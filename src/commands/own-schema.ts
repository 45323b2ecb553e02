/** The product's own schema as the rollout sees it: whose its rows are, and what is there besides on purpose. */
import {
  type AccountTable,
  accountTables,
  ownedTables,
  quarantineUserId,
  sharedTables,
} from '../isolation/owned-tables.ts';
import type { Columns, Extras, TableGrants } from '../rollout/extras.ts';
import type { OwnedTable, Ownership } from '../rollout/ownership.ts';

const label = (table: string) => `public.${table}`;
const accounts: readonly AccountTable[] = accountTables;

const inCommon = { defaultOwner: quarantineUserId, sources: [], references: [], partitions: [] } as const;

/** As migration 003 leaves it. */
export const ownSchema: Ownership = {
  users: { table: 'public.users', id: 'id', idKind: 'uuid' },
  owned: [
    ...accounts.map(
      ({ table, column }): OwnedTable => ({
        ...inCommon,
        table: label(table),
        class: 'account',
        ownerColumn: column,
        adopted: true,
        key: ['id'],
        reason: 'says whose it is from the start (002)',
      }),
    ),
    ...ownedTables.map(
      ({ table }): OwnedTable => ({
        ...inCommon,
        table: label(table),
        class: 'owned',
        ownerColumn: 'user_id',
        adopted: false,
        key: ['id'],
        reason: 'rows of one user each (003)',
      }),
    ),
  ],
  unowned: sharedTables.map(({ table, reason }) => ({ table: label(table), class: 'shared', reason })),
  legacyRoles: [],
  quarantineOwner: quarantineUserId,
  appRole: 'ringfence_app',
};

const everything: TableGrants = { select: 'all', insert: 'all', update: 'all', delete: true };

/** What 003 adds for signing in, and grants that are narrower than those of any table. */
export const ownExtras: Extras = {
  policies: [
    ...accounts
      .filter(({ accountsGrants }) => accountsGrants.length > 0)
      .map(({ table }) => ({
        table: label(table),
        name: 'accounts_mode',
        definition: `create policy accounts_mode on ${label(table)} as permissive for all to ringfence_accounts using (true) with check (true)`,
      })),
    {
      table: 'public.user_access_log',
      name: 'no_system_outcome',
      definition:
        "create policy no_system_outcome on public.user_access_log as restrictive for insert to ringfence_accounts, ringfence_app with check ((outcome <> 'system'::text))",
    },
  ],
  grants: Object.fromEntries([
    ...accounts.map(({ table, grants }) => [label(table), grantsOf(grants)] as const),
    ...ownedTables.map(({ table, updatable }): readonly [string, TableGrants] => [
      label(table),
      { select: 'all', insert: 'all', update: updatable, delete: true },
    ]),
  ]),
  furtherGrants: Object.fromEntries([
    ...accounts.map(({ table, systemGrants, accountsGrants }) => [
      label(table),
      { ringfence_system: grantsOf(systemGrants), ringfence_accounts: grantsOf(accountsGrants) },
    ]),
    ...ownedTables.map(({ table }) => [label(table), { ringfence_system: everything }]),
  ]),
  functions: [],
};

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
