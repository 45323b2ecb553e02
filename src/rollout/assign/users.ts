/** Who is meant by `--to`, `--from` and the last column of a list: the user's uuid. */
import { problem } from '../../errors.ts';
import { type Catalog, tableOf } from '../catalog.ts';
import { identifier, literal } from '../identifier.ts';
import type { Ownership } from '../ownership.ts';
import { isUuid } from './owner-csv.ts';
import type { Reach } from './reach.ts';

/** How a text names a user: SQL. */
export interface UserLookUp {
  /** What the text is, for a message. */
  readonly meaning: string;
  /** Rows (said, id): what may be said, and whom it means; null where any uuid will do. */
  readonly rows: string | null;
}

/**
 * @param column of the users' table; undefined: its id, or the uuid made from it
 * @throws Problem `usage_error` when there is no such column
 */
export function userLookUp(ownership: Ownership, catalog: Catalog, column: string | undefined): UserLookUp {
  const { users } = ownership;
  if (users === null) {
    if (column === undefined) return { meaning: 'uuid', rows: null };
    throw problem('usage_error', '--user-column: the plan knows no table of users; give uuids');
  }
  const columns = tableOf(catalog, users.table).columns.map(({ name }) => name);
  const said = column ?? users.id;
  if (!columns.includes(said)) {
    throw problem('usage_error', `--user-column: ${users.table} has no column ${said}; it has ${columns.join(', ')}`);
  }
  const id = `u.${identifier(users.id)}`;
  const uuid =
    users.idKind === 'uuid'
      ? `${id}::text::uuid`
      : `ringfence_rollout.derived_user_id(${literal(users.table)}, ${id}::text)`;
  const byColumn = `select u.${identifier(said)}::text as said, ${uuid} as id from ${users.table} u`;
  // Who copied an owner column has the uuid that was made, not the number it was made from.
  const byUuid = `select (${uuid})::text as said, ${uuid} as id from ${users.table} u`;
  const rows = column === undefined && users.idKind === 'derived' ? `${byColumn} union ${byUuid}` : byColumn;
  return { meaning: `${users.table}.${said}`, rows };
}

/** @throws Problem `usage_error` naming the flag, when nobody or more than one is meant */
export async function findUser(
  reach: Reach,
  { quarantineOwner }: Ownership,
  lookUp: UserLookUp,
  flag: string,
  text: string,
): Promise<string> {
  const uuid = isUuid(text) ? text.toLowerCase() : null;
  if (text === 'quarantine' || uuid === quarantineOwner) return quarantineOwner;
  if (lookUp.rows === null) {
    if (uuid !== null) return uuid;
    throw problem('usage_error', `${flag}: must be a uuid, got ${JSON.stringify(text)}`);
  }
  const found = await reach.onRows<{ id: string }>(
    `select distinct l.id from (${lookUp.rows}) l where l.said = $1 limit 2`,
    [uuid ?? text],
  );
  const [user] = found;
  if (user && found.length === 1) return user.id;
  const who = found.length > 1 ? 'more than one user has' : 'no user has';
  throw problem('usage_error', `${flag}: ${who} the ${lookUp.meaning} ${JSON.stringify(text)}`);
}
