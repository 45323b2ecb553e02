/** What is in the tables, read past every policy by the owner, and whose it is by the shape's own reckoning. */
import { createHash } from 'node:crypto';
import pg from 'pg';
import type { Row, Shape, ShapeTable } from './shape.ts';

export const quarantine = '00000000-0000-4000-8000-000000000000';

export interface OriginalColumn {
  readonly name: string;
  /** Postgres computes it: no statement may set it. */
  readonly computed: boolean;
}

export type Columns = Readonly<Record<string, readonly OriginalColumn[]>>;

/** Key, as JSON text, to row: all the rows of a table. */
export type Rows = ReadonlyMap<string, Row>;
export type World = ReadonlyMap<string, Rows>;

export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, application_name: 'rollout test' });
  // A killed Postgres is told by the statement under way.
  client.on('error', () => {});
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

export function tableOf(shape: Shape, name: string): ShapeTable {
  const table = shape.tables[name];
  if (!table) throw new Error(`shape ${shape.name} has no table ${name}`);
  return table;
}

/** The columns before anything was done: what old applications know. */
export async function readColumns(client: pg.Client, shape: Shape): Promise<Columns> {
  const columns: Record<string, OriginalColumn[]> = {};
  for (const [name, { label }] of Object.entries(shape.tables)) {
    const { rows } = await client.query<OriginalColumn>(
      `select attname as name, attgenerated <> '' or attidentity = 'a' as computed
       from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attnum`,
      [label],
    );
    columns[name] = rows;
  }
  return columns;
}

/** SQL for a row's original columns as JSON, over an alias; in parts, since a function takes a hundred arguments. */
export function imageOf(columns: readonly OriginalColumn[], alias: string): string {
  const parts: string[] = [];
  for (let at = 0; at < columns.length; at += 40) {
    const pairs = columns
      .slice(at, at + 40)
      .map(({ name }) => `${pg.escapeLiteral(name)}, ${alias}.${pg.escapeIdentifier(name)}`);
    parts.push(`jsonb_build_object(${pairs.join(', ')})`);
  }
  return parts.join(' || ');
}

export function keyOf(table: ShapeTable, row: Row): string {
  return JSON.stringify(table.key.map((column) => row[column]));
}

export async function readWorld(client: pg.Client, shape: Shape, columns: Columns): Promise<World> {
  const world = new Map<string, Rows>();
  for (const [name, table] of Object.entries(shape.tables)) {
    const { rows } = await client.query<{ row: Row }>(
      `select ${imageOf(columns[name] ?? [], 't')} as row from ${table.label} t`,
    );
    world.set(name, new Map(rows.map(({ row }) => [keyOf(table, row), row])));
  }
  return world;
}

/** Table to key to the legacy id of the owner; null for unclaimed rows. Tables of nobody are left out. */
export async function readOwners(
  client: pg.Client,
  shape: Shape,
): Promise<ReadonlyMap<string, ReadonlyMap<string, string | null>>> {
  const owners = new Map<string, ReadonlyMap<string, string | null>>();
  for (const [name, table] of Object.entries(shape.tables)) {
    if (table.owner === null) continue;
    const key = table.key.map((column) => `t.${pg.escapeIdentifier(column)}`).join(', ');
    const { rows } = await client.query<{ key: unknown[]; owner: string | null }>(
      `${shape.with ?? ''} select jsonb_build_array(${key}) as key, ${table.owner} as owner from ${table.label} t`,
    );
    owners.set(name, new Map(rows.map((row) => [JSON.stringify(row.key), row.owner])));
  }
  return owners;
}

/**
 * The user's id of a legacy id. For those that are not UUIDs as the documentation has it (RFC 9562, 5.8): the first 16
 * bytes of SHA-256 over `ringfence user`, the namespace and the value with zero bytes between, version 8, variant 2.
 */
export function userIdOf(shape: Shape, legacyId: string | null): string {
  if (legacyId === null) return quarantine;
  if (shape.userId === 'uuid') return legacyId;
  const hash = createHash('sha256')
    .update(['ringfence user', shape.userId.derivedFrom, legacyId].join('\0'))
    .digest('hex');
  const variant = ((Number.parseInt(hash.slice(16, 18), 16) & 0x3f) | 0x80).toString(16);
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-${variant}${hash.slice(18, 20)}-${hash.slice(20, 32)}`;
}

/** The column in which the owner is now, if there is one. */
export async function ownerColumnOf(client: pg.Client, label: string): Promise<string | null> {
  const { rows } = await client.query<{ attname: string }>(
    `select attname from pg_attribute where attrelid = $1::regclass and not attisdropped and atttypid = 'uuid'::regtype
     and attnotnull and attname in ('ringfence_user_id', 'user_id') order by attname = 'ringfence_user_id' desc limit 1`,
    [label],
  );
  return rows[0]?.attname ?? null;
}

/** Up to ten sentences on what is not as it was. Empty: every row is there, as it was, and no other. */
export function differences(expected: World, found: World): string[] {
  const said: string[] = [];
  for (const [table, rows] of expected) {
    const now = found.get(table) ?? new Map<string, Row>();
    for (const [key, row] of rows) {
      const other = now.get(key);
      if (!other) said.push(`${table} ${key}: is gone; it was ${JSON.stringify(row)}`);
      else if (canonical(other) !== canonical(row))
        said.push(`${table} ${key}: is ${canonical(other)}, was ${canonical(row)}`);
    }
    for (const key of now.keys()) if (!rows.has(key)) said.push(`${table} ${key}: nobody made it`);
  }
  return said.length > 10 ? [...said.slice(0, 10), `and ${said.length - 10} more`] : said;
}

export function canonical(row: Row): string {
  return JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)));
}
