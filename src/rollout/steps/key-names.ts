/** What keys are called while both are there: the one with the owner beside the one it will take the name of. */

import type { Catalog, Table } from '../catalog.ts';
import { derivedName, identifier } from '../identifier.ts';

/** The key with the owner, until it takes the old one's name. */
export const withOwner = (name: string): string => derivedName('ringfence', name);
/** The key without the owner, while a rollback builds it beside the other. */
export const withoutOwner = (name: string): string => derivedName('ringfence_old', name);

export const userIndexName = (table: string): string => derivedName('idx', table, 'user_id');
export const referenceIndexName = (table: string, columns: readonly string[]): string =>
  derivedName('idx', table, 'user_id', ...columns);

/** Of the application's: what has the name is not ours to take for built, nor to drop on the way back. */
export function isTaken(catalog: Catalog, schema: string, name: string): boolean {
  return [...catalog.tables.values()].some(
    (table) => table.schema === schema && (table.name === name || table.indexes.some((index) => index.name === name)),
  );
}

/** The name, or another where it is taken. */
export function freeName(catalog: Catalog, schema: string, wanted: string): string {
  let name = wanted;
  for (let next = 1; isTaken(catalog, schema, name); next++)
    name = derivedName('ringfence', ...(next === 1 ? [] : [String(next)]), wanted);
  return name;
}

/**
 * An index's definition from pg_get_indexdef() under another name and with the owner as first column, or without change.
 * The text is taken apart by its known beginning, not searched: names may hold anything.
 */
export function redefine(
  table: Table,
  index: { name: string; definition: string },
  name: string,
  owner: string | null,
): string {
  const only = table.kind === 'partitioned' ? 'ONLY ' : '';
  const begin = `INDEX ${identifierAsPostgres(index.name)} ON ${only}${table.label} USING `;
  const at = index.definition.indexOf(begin);
  const head = index.definition.slice(0, at);
  const rest = index.definition.slice(at + begin.length);
  const open = rest.indexOf('(');
  if (at < 0 || open < 0)
    throw new Error(`the definition of the index ${index.name} cannot be read: ${index.definition}`);
  const columns = owner === null ? rest.slice(open + 1) : `${identifier(owner)}, ${rest.slice(open + 1)}`;
  return `${head.toLowerCase()}index concurrently ${identifier(name)} on ${table.label} using ${rest.slice(0, open)}(${columns}`;
}

const identifierAsPostgres = identifier;
