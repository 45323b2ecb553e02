/** References that the owner cannot be put into. */
import { type Catalog, type ForeignKey, type Table, tableOf } from './catalog.ts';
import { type Finding, fail } from './finding.ts';
import { columnOf, isCaseless } from './named-user.ts';
import type { OwnedTable, Ownership } from './ownership.ts';
import { uniqueIndexes } from './steps/keys.ts';

/**
 * Our statements see no schema but Postgres' own, where types of extensions have no operators: a citext is compared as a
 * text is, so that its parent is not found, and with others our triggers, and so the old application's writes, fail.
 */
export function foreignTypes(catalog: Catalog, { users }: Ownership, owned: OwnedTable, table: Table): Finding[] {
  const compared = owned.references.flatMap(({ name, columns, table: parent, referencedColumns }) => [
    ...columns.map((column) => ({ by: name, found: columnOf(catalog, table.label, column) })),
    ...referencedColumns.map((column) => ({ by: name, found: columnOf(catalog, parent, column) })),
  ]);
  const lookedUp = owned.sources.flatMap((source) =>
    source.kind === 'match' && !source.ignoreCase && source.as === undefined && users !== null
      ? [
          { by: source.column, found: columnOf(catalog, table.label, source.column) },
          { by: source.column, found: columnOf(catalog, users.table, source.usersColumn) },
        ]
      : [],
  );
  // Rows that come before their parents are found again by their key; a citext's is the same text then.
  const again = owned.references.length === 0 ? [] : owned.key.map((column) => columnOf(catalog, table.label, column));
  const ofKey = again
    .filter((column) => !isCaseless(column))
    .map((found) => ({ by: table.primaryKey?.name ?? found.name, found }));
  const foreign = [...compared, ...lookedUp, ...ofKey].filter(({ found }) => found.foreignType);
  const named = new Map(foreign.map((one) => [one.by, one]));
  return [...named.values()].map(({ by, found }) =>
    isCaseless(found)
      ? fail(
          'citext-reference',
          owned.table,
          `${by} goes by a citext, whose values are equal in more than one spelling.`,
          'Make the columns text that is kept in one spelling, or refer by a number.',
        )
      : fail(
          'foreign-type',
          owned.table,
          `${by} goes by ${found.name} of type ${found.baseType}, whose operators are not Postgres' own: the rollout's statements and triggers could not compare it.`,
          "Make the columns of a type of Postgres' own, text for instance, or refer by a number.",
        ),
  );
}

/**
 * References that need a key which the last phase takes away, and do not go with it: from the users, from a table that the
 * rollout does not look at, from or to a single partition.
 */
export function pastTheOwner(catalog: Catalog, ownership: Ownership): Finding[] {
  const carried = new Set(
    ownership.owned.flatMap(({ table, references }) => references.map(({ name }) => JSON.stringify([table, name]))),
  );
  // These are told by their class: reference-from-outside.
  const told = new Set(ownership.unowned.map(({ table }) => table));
  return [...catalog.tables.values()].flatMap((table) =>
    table.foreignKeys
      .filter((fk) => needsOldKey(catalog, ownership, fk) && !carried.has(JSON.stringify([table.label, fk.name])))
      .filter((fk) => !told.has(table.label) || tableOf(catalog, fk.references).partitionOf !== null)
      .map((fk) =>
        fail(
          'reference-past-the-owner',
          table.label,
          `${fk.name} refers to ${fk.references} and cannot carry the owner, so that the key there could not change.`,
          remedyFor(catalog, table, fk),
        ),
      ),
  );
}

function needsOldKey(catalog: Catalog, { owned }: Ownership, fk: ForeignKey): boolean {
  const target = owned.find(({ table, partitions }) => table === fk.references || partitions.includes(fk.references));
  if (target?.class !== 'owned') return false;
  const referenced = new Set<string | null>(fk.referencedColumns);
  return uniqueIndexes(tableOf(catalog, fk.references), target.ownerColumn).some(
    ({ columns }) => columns.length === referenced.size && columns.every((column) => referenced.has(column)),
  );
}

function remedyFor(catalog: Catalog, table: Table, fk: ForeignKey): string {
  if (tableOf(catalog, fk.references).partitionOf !== null) return 'Let it refer to the partitioned table, or drop it.';
  if (table.partitionOf !== null) return 'Give it to the partitioned table, or drop it.';
  return 'Drop it, or keep what it says in a table of its own, whose rows belong to the user.';
}
