/** References that the owner cannot be put into. */
import { type Catalog, type Table, tableOf } from './catalog.ts';
import { type Finding, fail } from './finding.ts';
import type { OwnedTable } from './ownership.ts';

/** Our statements see no schema but Postgres' own, where a citext is compared as a text is: its parent is not found. */
export function caselessReferences(catalog: Catalog, owned: OwnedTable, table: Table): Finding[] {
  const isCaseless = (label: string, name: string) =>
    tableOf(catalog, label).columns.some((column) => column.name === name && /(^|\.)citext$/.test(column.type));
  return owned.references
    .filter(
      (reference) =>
        reference.columns.some((name) => isCaseless(table.label, name)) ||
        reference.referencedColumns.some((name) => isCaseless(reference.table, name)),
    )
    .map((reference) =>
      fail(
        'citext-reference',
        owned.table,
        `${reference.name} goes by a citext, whose values are equal in more than one spelling.`,
        'Make the columns text that is kept in one spelling, or refer by a number.',
      ),
    );
}
