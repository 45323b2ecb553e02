/** The row types of every table, as the query builder wants them. */
import type { OwnerConnection } from '../src/database/owner.ts';

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

export async function rowTypes(owner: OwnerConnection): Promise<string> {
  const { rows } = await owner.query<Column>(`
  select table_name, column_name, udt_name,
    is_nullable = 'YES' as nullable,
    column_default is not null or is_nullable = 'YES' as optional,
    is_generated = 'ALWAYS' as generated
  from information_schema.columns
  where table_schema = 'public' and table_name in (
    select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'
  )
  order by table_name, ordinal_position`);
  return `// Generated from a migrated database by \`npm run generate\`; do not edit.
import type { ColumnType } from 'kysely';

${[...Map.groupBy(rows, (row) => row.table_name)].map(([table, columns]) => tableType(table, columns)).join('\n')}
export interface Database {
${[...new Set(rows.map((row) => row.table_name))].map((table) => `  ${table}: ${pascal(table)}Table;`).join('\n')}
}
`;
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
