import type { OwnedTable } from './ownership.ts';

/**
 * Orders tables so that a table comes after those its owner is taken from, as far as there is no cycle: within one, the
 * given order stands and the reconciliation goes round until nothing changes.
 */
export function parentsFirst(tables: readonly OwnedTable[]): OwnedTable[] {
  const ordered: OwnedTable[] = [];
  const seen = new Set<string>();
  const visit = (table: OwnedTable) => {
    if (seen.has(table.table)) return;
    seen.add(table.table);
    for (const parent of tables.filter((other) => takesFrom(table, other))) visit(parent);
    ordered.push(table);
  };
  for (const table of tables) visit(table);
  return ordered;
}

function takesFrom(child: OwnedTable, parent: OwnedTable): boolean {
  return child.sources.some((source) => source.kind === 'reference' && source.reference.table === parent.table);
}
