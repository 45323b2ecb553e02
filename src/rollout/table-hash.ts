/**
 * The logical content of a table as a count and one number, so that two states can be compared without keeping either:
 * before and after a rollback, source and restored backup, two servers.
 *
 * The number is the sum, over the rows, of a 64-bit hash of the row's text. A sum does not depend on the order of rows
 * and, unlike XOR, two equal rows do not cancel each other. sum(bigint) adds up in 128 bits and so cannot overflow; the
 * aggregate runs in Postgres, in parallel where it likes, and needs the same memory for any number of rows.
 * hashtextextended() gives one value for one byte string in every version since 11, because hash partitions on disk depend
 * on it (only big-endian machines differ from little-endian ones). It finds accidents, with a chance of 2^-64 to miss
 * one; it is no defence against somebody who chooses rows so that they collide.
 *
 * The text is that of row(…): `("a b",,"")` keeps NULL (nothing) apart from '' (two quotes) and the border between columns
 * visible, and every type has it. Names of columns are not in it, only values in the order given.
 */
import type { ClientBase } from 'pg';
import { problem } from '../errors.ts';
import type { RowSecurity } from './all-rows.ts';
import { type Catalog, type TableLabel, tableOf } from './catalog.ts';
import { columnList } from './identifier.ts';

export interface TableHash {
  /** A bigint as text. */
  readonly rows: string;
  /** The sum as a decimal number; 0 for an empty table. */
  readonly hash: string;
}

/**
 * Everything that the text of a value depends on. With them goes `row_security`, off: rows that a policy would hide are
 * an error, so that a part of a table is never taken for the whole.
 */
const settings: Readonly<Record<string, string>> = {
  datestyle: 'ISO, YMD',
  intervalstyle: 'postgres',
  // 1 is the shortest text that gives the same float again.
  extra_float_digits: '1',
  timezone: 'UTC',
  bytea_output: 'hex',
  // money; regclass and its kin write names as the search path asks for them.
  lc_monetary: 'C',
  search_path: '',
  quote_all_identifiers: 'off',
};

/**
 * Hashes a table, its partitions and children included, as the client's transaction sees it; outside a transaction as it is
 * now. The session's settings are as before when it is done.
 *
 * @param columns in the order in which they are hashed; none hashes only how many rows there are
 * @throws Problem `rollout_refused` when a policy would hide rows from this role
 */
export async function hashTable(client: ClientBase, label: TableLabel, columns: readonly string[]): Promise<TableHash> {
  return withSettings(client, 'off', () => hashWith(client, label, columns));
}

/**
 * Hashes several tables, one after the other. Call it in a repeatable-read transaction to have them all of one moment.
 *
 * @param except columns to leave out, by table: what the rollout has added
 * @param rowSecurity what readAllRows() said, where policies are in force
 * @returns in the order of `labels`
 */
export async function hashTables(
  client: ClientBase,
  catalog: Catalog,
  labels: readonly TableLabel[],
  {
    except = new Map(),
    rowSecurity = 'off',
  }: { readonly except?: ReadonlyMap<TableLabel, readonly string[]>; readonly rowSecurity?: RowSecurity } = {},
): Promise<Map<TableLabel, TableHash>> {
  const hashes = new Map<TableLabel, TableHash>();
  await withSettings(client, rowSecurity, async () => {
    for (const label of labels) {
      const left = new Set(except.get(label));
      const columns = tableOf(catalog, label).columns.map(({ name }) => name);
      const kept = columns.filter((name) => !left.has(name));
      hashes.set(label, await hashWith(client, label, kept));
    }
  });
  return hashes;
}

async function hashWith(client: ClientBase, label: TableLabel, columns: readonly string[]): Promise<TableHash> {
  try {
    const { rows } = await client.query<TableHash>(
      `select count(*)::text as rows,
         coalesce(sum(hashtextextended(row(${columnList(columns)})::text collate "C", 0)), 0)::text as hash
       from ${label}`,
    );
    const [row] = rows;
    if (!row) throw new Error(`the hash of ${label} gave no row`);
    return row;
  } catch (error) {
    if (!hidesRows(error)) throw error;
    const remedy = 'Connect as a superuser or as a role with BYPASSRLS';
    throw problem('rollout_refused', `${label}: a policy hides rows from this role. ${remedy}`, {}, { cause: error });
  }
}

/** "query would be affected by row-level security policy" has the code of every refused privilege (42501). */
function hidesRows(error: unknown): boolean {
  return error instanceof Error && 'routine' in error && error.routine === 'check_enable_rls';
}

/** SET inside the caller's transaction goes with it when that fails, and then cannot be set back by a statement. */
async function withSettings<T>(client: ClientBase, rowSecurity: RowSecurity, work: () => Promise<T>): Promise<T> {
  const wanted = { ...settings, row_security: rowSecurity };
  const names = Object.keys(wanted);
  const { rows } = await client.query<{ values: string[] }>(
    'select array_agg(current_setting(name) order by at) as values from unnest($1::text[]) with ordinality as n (name, at)',
    [names],
  );
  await set(client, names, Object.values(wanted));
  const before = rows[0]?.values ?? [];
  try {
    const result = await work();
    await set(client, names, before);
    return result;
  } catch (error) {
    await set(client, names, before).catch(() => {});
    throw error;
  }
}

async function set(client: ClientBase, names: readonly string[], values: readonly string[]): Promise<void> {
  await client.query(
    'select pg_catalog.set_config(name, value, false) from unnest($1::text[], $2::text[]) as s (name, value)',
    [names, values],
  );
}
