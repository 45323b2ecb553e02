/**
 * What owner-like columns hold. These statements are made per column: names cannot be bound. Each is read in one go, of
 * the whole table or of a sample of its pages.
 */
import type { Column, Table } from '../catalog.ts';
import { identifier, literal } from '../identifier.ts';

/** A column of the users' table to compare with, in its own type, so that its index can be used. */
export interface UserColumn {
  readonly table: Table;
  readonly column: Column;
}

const uuidPattern = '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$';
const emailPattern = '^[^@[:space:]]+@[^@[:space:]]+[.][^@[:space:]]+$';

/**
 * @param percent of the table's pages; null reads all
 * @returns a statement with no parameters but $1, the most rows that are looked at
 */
export function contentsQuery(
  table: Table,
  columns: readonly Column[],
  users: readonly UserColumn[],
  percent: number | null,
): string {
  const sample = percent === null ? '' : ` tablesample system (${percent}) repeatable (1)`;
  const values = columns.map((column, at) => `${identifier(column.name)}::text as v${at}`);
  const counted = columns.map(
    (_, at) => `, d${at} as materialized (select v${at} as value, count(*) as times from looked group by 1)`,
  );
  const parts = columns.map((_, at) => contentsOf(`d${at}`, users));
  return `
with looked as materialized (select ${values.join(', ')} from ${table.label}${sample} limit $1)${counted.join('')}
select (select count(*) from looked)::float8 as rows, array[${parts.join(', ')}] as columns`;
}

function contentsOf(values: string, users: readonly UserColumn[]): string {
  // By EXISTS in the WHERE, so that it is planned as a join: as an expression it would be looked up value by value.
  const matches = users.map(
    (user) => `${literal(matchName(user))}, (
      select coalesce(sum(d.times), 0) from ${values} d
      where exists (select from ${user.table.label} u where ${equals(user, 'd.value')})
    )`,
  );
  return `(
  select jsonb_build_object(
    'nulls', coalesce(sum(d.times) filter (where d.value is null), 0),
    'distinct', count(d.value),
    'uuids', coalesce(sum(d.times) filter (where d.value ~* '${uuidPattern}'), 0),
    'emails', coalesce(sum(d.times) filter (where d.value ~ '${emailPattern}'), 0),
    'matches', jsonb_build_object(${matches.join(', ')})
  ) from ${values} d)`;
}

/** What the matches with a column of the users' table are called in the answer. */
export function matchName({ table, column }: UserColumn): string {
  return `${table.oid}.${column.name}`;
}

/** The value is cast, not the users' column, wherever that cannot raise an error. */
function equals({ column }: UserColumn, value: string): string {
  const name = `u.${identifier(column.name)}`;
  const cast = (pattern: string, type: string) =>
    `${name} = case when ${value} ~* '${pattern}' then ${value}::${type} end`;
  switch (column.type) {
    case 'uuid':
      return cast(uuidPattern, 'uuid');
    case 'smallint':
      return cast('^[0-9]{1,4}$', 'smallint');
    case 'integer':
      return cast('^[0-9]{1,9}$', 'integer');
    case 'bigint':
      return cast('^[0-9]{1,18}$', 'bigint');
    case 'text':
      return `${name} = ${value}`;
    default:
      return `${name}::text = ${value}`;
  }
}
