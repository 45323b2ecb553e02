/**
 * Writes src/database/tables.gen.ts, the row types of every table, from a migrated database.
 *
 *   node scripts/generate-tables.ts OWNER_URL [--check]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import pg from 'pg';

const [url, flag] = process.argv.slice(2);
if (!url) throw new Error('usage: generate-tables.ts OWNER_URL [--check]');
const target = new URL('../src/database/tables.gen.ts', import.meta.url);

/** Per Postgres type: what a select gives, what an insert or update takes. */
const types: Record<string, readonly [read: string, write: string]> = {
  bool: ['boolean', 'boolean'],
  bytea: ['Buffer', 'Buffer'],
  float8: ['number', 'number'],
  int2: ['number', 'number'],
  int4: ['number', 'number'],
  int8: ['number', 'number'],
  jsonb: ['unknown', 'string'],
  text: ['string', 'string'],
  timestamptz: ['Date', 'Date | string'],
  uuid: ['string', 'string'],
  _text: ['string[]', 'string[]'],
};

interface Column {
  table_name: string;
  column_name: string;
  udt_name: string;
  nullable: boolean;
  optional: boolean;
  generated: boolean;
}

const client = new pg.Client({ connectionString: url });
await client.connect();
const { rows } = await client.query<Column>(`
  select table_name, column_name, udt_name,
    is_nullable = 'YES' as nullable,
    column_default is not null or is_nullable = 'YES' as optional,
    is_generated = 'ALWAYS' as generated
  from information_schema.columns
  where table_schema = 'public' and table_name in (
    select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'
  )
  order by table_name, ordinal_position`);
await client.end();

const text = `// Generated from a migrated database by \`npm run generate\`; do not edit.
import type { ColumnType } from 'kysely';

${[...Map.groupBy(rows, (row) => row.table_name)].map(([table, columns]) => tableType(table, columns)).join('\n')}
export interface Database {
${[...new Set(rows.map((row) => row.table_name))].map((table) => `  ${table}: ${pascal(table)}Table;`).join('\n')}
}
`;

if (flag === '--check') {
  if (readFileSync(target, 'utf8') !== text) {
    console.error('src/database/tables.gen.ts is out of step: run npm run generate');
    process.exitCode = 1;
  }
} else {
  writeFileSync(target, text);
}

function tableType(table: string, columns: readonly Column[]): string {
  const lines = columns.map((column) => `  ${column.column_name}: ${columnType(column)};`);
  return `export interface ${pascal(table)}Table {\n${lines.join('\n')}\n}\n`;
}

function columnType(column: Column): string {
  const type = types[column.udt_name];
  if (!type) throw new Error(`${column.table_name}.${column.column_name}: no type for ${column.udt_name}`);
  const orNull = column.nullable ? ' | null' : '';
  const [read, write] = type.map((name) => name + orNull);
  if (column.generated) return `ColumnType<${read}, never, never>`;
  // The scope sets the owner; no statement of a repository does.
  const optional = column.optional || column.column_name === 'user_id';
  return optional || read !== write
    ? `ColumnType<${read}, ${write}${optional ? ' | undefined' : ''}, ${write}>`
    : `${read}`;
}

function pascal(name: string): string {
  return name.replaceAll(/(^|_)(\w)/g, (_, __, letter: string) => letter.toUpperCase());
}
