/** Names that the steps make. What has one of them already would be taken for made, and dropped on the way back. */
import { type Catalog, type Table, tableOf } from './catalog.ts';
import { type Finding, fail } from './finding.ts';
import type { OwnedTable } from './ownership.ts';
import { isTaken, withOwner, withoutOwner } from './steps/key-names.ts';
import { leafIndex, uniqueIndexes } from './steps/keys.ts';
import { leavesOf } from './steps/step.ts';

export function takenNames(catalog: Catalog, owned: OwnedTable, table: Table): Finding[] {
  const column = !owned.adopted && table.columns.some(({ name }) => name === owned.ownerColumn);
  const constraints = owned.references
    .map((reference) => withOwner(reference.name))
    .filter((name) => table.constraints.includes(name));
  return [...(column ? [owned.ownerColumn] : []), ...takenIndexes(catalog, owned, table), ...constraints].map((name) =>
    fail('name-taken', owned.table, `${name} is there already, and the rollout needs the name.`, 'Rename it first.'),
  );
}

function takenIndexes(catalog: Catalog, owned: OwnedTable, table: Table): string[] {
  if (owned.class === 'account') return [];
  return leavesOf(catalog, table).flatMap((label) => {
    const leaf = tableOf(catalog, label);
    return uniqueIndexes(table, owned.ownerColumn)
      .map((index) => (leaf.label === table.label ? index : leafIndex(leaf, index)).name)
      .flatMap((name) => [withOwner(name), withoutOwner(name)])
      .filter((name) => isTaken(catalog, leaf.schema, name));
  });
}
