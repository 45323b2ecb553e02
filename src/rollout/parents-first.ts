import type { OwnedTable, OwnerSource } from './ownership.ts';

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

type Sourced = Pick<OwnedTable, 'table' | 'sources'>;

/**
 * A table's sources, those last whose owner may come from this very table. Two tables that ask each other first would keep an
 * owner for ever that the rest of the database has left behind: seen when a team changed hands while its documents, and the
 * revisions that their documents name, got their owners.
 */
export function straightFirst(table: Sourced, tables: readonly Sourced[]): OwnerSource[] {
  const leadsBack = (source: OwnerSource) =>
    source.kind === 'reference' && ancestors(source.reference.table, tables).has(table.table);
  return [...table.sources.filter((source) => !leadsBack(source)), ...table.sources.filter(leadsBack)];
}

/** Where owners of a table's rows may come from, at any distance, itself included. */
function ancestors(from: string, tables: readonly Sourced[]): ReadonlySet<string> {
  const found = new Set([from]);
  // A set that grows while it is gone through is gone through to its end.
  for (const name of found) {
    for (const source of tables.find(({ table }) => table === name)?.sources ?? []) {
      if (source.kind === 'reference') found.add(source.reference.table);
    }
  }
  return found;
}
