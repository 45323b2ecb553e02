/** Looks through every table of another database that can be read. Rows come to us; the marks do not go there. */
import { createHash } from 'node:crypto';
import pg, { type ClientBase } from 'pg';
import { qualified } from '../identifier.ts';
import { type Sighting, searchFor } from './search.ts';
import type { Canaries } from './state.ts';

export interface SearchedTable {
  readonly table: string;
  readonly rows: number;
  readonly sightings: readonly Sighting[];
}

const rowsAtOnce = 500;

export async function searchDatabase(
  client: ClientBase,
  canaries: Canaries,
  onTable: (table: SearchedTable) => void,
  onUnread: (unread: { readonly path: string; readonly reason: string }) => void,
): Promise<void> {
  const { rows: tables } = await client.query<{ schema: string; name: string }>(
    `select n.nspname::text as schema, c.relname::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'm', 'f') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' order by 1, 2`,
  );
  for (const { schema, name } of tables) {
    const table = qualified(schema, name);
    await client.query('begin read only');
    try {
      onTable(await searchTable(client, table, canaries));
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error;
      onUnread({ path: table, reason: `${error.message} (SQLSTATE ${error.code})` });
    } finally {
      await client.query('rollback');
    }
  }
}

async function searchTable(client: ClientBase, table: string, canaries: Canaries): Promise<SearchedTable> {
  const search = searchFor(canaries);
  let rows = 0;
  await client.query(`declare canary_search no scroll cursor for select t::text as row from ${table} t`);
  for (;;) {
    const batch = await client.query<{ row: string | null }>(`fetch ${rowsAtOnce} from canary_search`);
    for (const { row } of batch.rows) search.feed(Buffer.from(`${row ?? ''}\n`));
    rows += batch.rows.length;
    if (batch.rows.length < rowsAtOnce) return { table, rows, sightings: search.end() };
  }
}

/** Tells two databases apart without showing either's name. */
export async function databaseMark(client: ClientBase): Promise<string> {
  const { rows } = await client.query<{ mark: string }>(
    `select (select system_identifier::text from pg_control_system()) || ' ' || (select oid::text from pg_database where datname = current_database()) as mark`,
  );
  return createHash('sha256')
    .update(rows[0]?.mark ?? '')
    .digest('hex');
}
