/** The table of users, by the configuration or by its name, and what tells its rows apart. */
import type { ClientBase } from 'pg';
import type { Table } from './catalog.ts';
import { identifier } from './identifier.ts';
import type { OwnerSource, UsersTable } from './ownership.ts';
import type { RolloutConfig } from './rollout-config.ts';

export type FoundUsers = UsersTable & { readonly uniqueColumns: readonly string[] };

const usualNames = [
  'users',
  'user',
  'accounts',
  'account',
  'app_users',
  'user_accounts',
  'people',
  'members',
  'customers',
];

/** Whose rows say themselves whose they are (customers of a user) are not the users. */
function isUsersLike(table: Table): boolean {
  const namesAnother = ['user_id', 'owner_id', 'owner_user_id', 'account_id'];
  return table.primaryKey?.columns.length === 1 && !table.columns.some(({ name }) => namesAnother.includes(name));
}

/** The configured table of users, else the only one with a usual name and a key of one column. */
export function findUsers(tables: readonly Table[], config: RolloutConfig): FoundUsers | null {
  if (config.users === null) return null;
  const wanted = config.users?.table;
  const candidates =
    wanted === undefined
      ? usualNames.flatMap((name) => tables.filter((t) => t.name.toLowerCase() === name && isUsersLike(t)))
      : tables.filter((t) => t.label === wanted);
  const [table] = candidates;
  const id = table?.primaryKey?.columns[0];
  if (table === undefined || id === undefined) return null;
  const type = table.columns.find((column) => column.name === id)?.type;
  const uniqueColumns = table.indexes
    .filter((index) => index.unique && index.valid && !index.partial && index.columns.length === 1)
    .flatMap((index) => index.columns[0] ?? [])
    .filter((name) => name !== id);
  return {
    table: table.label,
    id,
    idKind: type === 'uuid' ? 'uuid' : 'derived',
    uniqueColumns: [...new Set(uniqueColumns)],
  };
}

/** The owner whose id is in a column. */
export function ofUser(users: UsersTable, column: string): OwnerSource {
  return users.idKind === 'uuid'
    ? { kind: 'uuid', column, isText: false }
    : { kind: 'derive', column, namespace: users.table };
}

/** Whether two users have the same value: then it names neither. */
export async function isAmbiguous(
  client: ClientBase,
  users: UsersTable,
  column: string,
  ignoreCase: boolean,
): Promise<boolean> {
  const value = ignoreCase ? `lower(u.${identifier(column)}::text)` : `u.${identifier(column)}::text`;
  const { rows } = await client.query<{ ambiguous: boolean }>(
    `select exists (select from ${users.table} u where ${value} is not null group by ${value} having count(*) > 1) as ambiguous`,
  );
  return rows[0]?.ambiguous === true;
}
