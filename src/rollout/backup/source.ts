/** What is to be backed up, and whether this role can: everything is asked before anything is written. */
import type { ClientBase } from 'pg';
import { problem } from '../../errors.ts';
import { identifier } from '../identifier.ts';
import { hashTable, type TableHash } from '../table-hash.ts';
import { labelOf, type SavedTable } from './manifest.ts';

export type TableToSave = Omit<SavedTable, 'rows' | 'hash'> & {
  readonly unlogged: boolean;
  /** Row security would hide rows from this role. */
  readonly hidden: boolean;
  readonly readable: boolean;
};

export interface Source {
  readonly database: string;
  /** server_version_num */
  readonly serverVersion: number;
  readonly role: string;
  readonly superuser: boolean;
  readonly createDatabase: boolean;
  readonly inRecovery: boolean;
  readonly databaseBytes: number;
  readonly tables: readonly TableToSave[];
  /** Sequences that pg_dump would stumble over. */
  readonly closedSequences: readonly string[];
}

/**
 * Every table that holds rows of its own: leaves of partitioned tables rather than these, and the rollout's own tables too.
 * Not foreign tables (their rows are elsewhere) and what belongs to extensions (CREATE EXTENSION brings it back).
 */
const tablesSql = `
select n.nspname::text as schema, c.relname::text as name,
  (select coalesce(jsonb_agg(a.attname order by a.attnum), '[]') from pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
  pg_total_relation_size(c.oid)::float8 as bytes,
  c.relpersistence = 'u' as unlogged,
  row_security_active(c.oid) as hidden,
  has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select') as readable
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence <> 't' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
order by n.nspname, c.relname`;

const aboutSql = `
select current_database()::text as database, current_setting('server_version_num')::int as "serverVersion",
  r.rolname::text as role, r.rolsuper as superuser, r.rolsuper or r.rolcreatedb as "createDatabase",
  pg_is_in_recovery() as "inRecovery", pg_database_size(current_database())::float8 as "databaseBytes",
  (select coalesce(jsonb_agg(s.oid::regclass order by s.oid::regclass::text), '[]') from pg_class s
    where case when s.relkind = 'S' and s.relpersistence <> 't' then not has_sequence_privilege(s.oid, 'select') end) as "closedSequences"
from pg_roles r where r.rolname = current_user`;

export async function readSource(client: ClientBase): Promise<Source> {
  const about = await client.query<Omit<Source, 'tables'>>(aboutSql);
  const [row] = about.rows;
  if (!row) throw new Error('the role of this session is not in pg_roles');
  return { ...row, tables: await readTables(client) };
}

export async function readTables(client: ClientBase): Promise<TableToSave[]> {
  return (await client.query<TableToSave>(tablesSql)).rows;
}

/**
 * Refuses where the backup would be a part of the data. A table owner under FORCE ROW LEVEL SECURITY is bound by the
 * policies like everybody: pg_dump fails, and with --enable-row-security it writes no rows and says nothing.
 *
 * @throws Problem `rollout_refused` naming the tables and the role that is needed
 */
export function requireWholeView(source: Source): void {
  const { role, tables, closedSequences } = source;
  const hidden = tables.filter((table) => table.hidden).map(labelOf);
  if (hidden.length > 0) {
    throw problem(
      'rollout_refused',
      `Row level security binds the role ${identifier(role)} on ${list(hidden)}: a backup by this role would miss rows ` +
        'without a word. Back up as a superuser, or as a role with BYPASSRLS ' +
        `(as a superuser: alter role ${identifier(role)} bypassrls)`,
      { tables: hidden },
    );
  }
  const closed = [...tables.filter((table) => !table.readable).map(labelOf), ...closedSequences];
  if (closed.length > 0) {
    throw problem(
      'rollout_refused',
      `The role ${identifier(role)} may not read ${list(closed)}, and a backup is of everything. Back up as a ` +
        `superuser, or let it read (grant pg_read_all_data to ${identifier(role)})`,
      { tables: closed },
    );
  }
}

/**
 * Begins a transaction that will see all tables as of its first query. The locks are those of reading; they have to come
 * before the snapshot and stay, since TRUNCATE and rewriting ALTER TABLE show an older snapshot an empty table (manual, 13.5).
 */
export async function beginReading(client: ClientBase, tables: readonly TableToSave[]): Promise<void> {
  await client.query('begin isolation level repeatable read read only');
  await client.query(
    "set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0; set local lock_timeout = '60s'",
  );
  const names = tables.map((table) => `only ${labelOf(table)}`);
  if (names.length > 0) await client.query(`lock table ${names.join(', ')} in access share mode`);
}

/** The locked tables with the columns that they have in the snapshot. */
export async function readAgain(client: ClientBase, locked: readonly TableToSave[]): Promise<TableToSave[]> {
  const labels = new Set(locked.map(labelOf));
  return (await readTables(client)).filter((table) => labels.has(labelOf(table)));
}

/** Hashes in the client's transaction, with a line for each table. */
export async function hashSaved(
  client: ClientBase,
  tables: readonly TableToSave[],
  say: (line: string) => void,
): Promise<SavedTable[]> {
  const saved: SavedTable[] = [];
  for (const [at, table] of tables.entries()) {
    const { schema, name, columns, bytes } = table;
    const { rows, hash }: TableHash = await hashTable(client, labelOf(table), columns);
    saved.push({ schema, name, columns, bytes, rows, hash });
    say(`  hashed ${at + 1}/${tables.length} ${labelOf(table)}: ${rows} rows`);
  }
  return saved;
}

/** A sentence holds ten names; a program finds them all in the problem's `tables`. */
export function list(names: readonly string[]): string {
  const shown = names.slice(0, 10).join(', ');
  return names.length > 10 ? `${shown} and ${names.length - 10} more` : shown;
}
