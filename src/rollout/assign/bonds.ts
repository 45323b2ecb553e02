/**
 * What ties rows of owned tables together: references that carry the owner, or will. Where one is in force, parent and
 * child cannot change their owner but together.
 */
import { type Catalog, type ForeignKey, type TableLabel, tableOf } from '../catalog.ts';
import type { OwnedTable, Ownership } from '../ownership.ts';

export interface Bond {
  /** Its place in the list: what the list of rows to be moved has of it. */
  readonly number: number;
  /** The constraint's name, for people: the old one where both forms are there. */
  readonly name: string;
  readonly child: OwnedTable;
  readonly parent: OwnedTable;
  /** Without the owner, in pairs. */
  readonly columns: readonly string[];
  readonly referencedColumns: readonly string[];
  /** A foreign key with the owner in it is there: child and parent are of one owner. */
  readonly enforced: boolean;
  /** The key without the owner is still there, up to `contract`: the columns alone say which row is meant. */
  readonly unambiguous: boolean;
  /** Children of a row are found by an index on owner and columns. */
  readonly indexed: boolean;
  /** What ON DELETE SET NULL would set; null where the reference may not be given up. */
  readonly clearable: readonly string[] | null;
}

/** All between tables of class `owned`; a row of an account or shared table is nobody's to give away. */
export function bondsOf(ownership: Ownership, catalog: Catalog): readonly Bond[] {
  const owned = ownership.owned.filter((table) => table.class === 'owned');
  const bonds = new Map<string, Bond>();
  for (const child of owned) {
    for (const fk of tableOf(catalog, child.table).foreignKeys) {
      const parent = owned.find((table) => table.table === fk.references);
      if (!parent) continue;
      const bond = bondOf(child, parent, fk, catalog);
      if (!bond) continue;
      const id = JSON.stringify([child.table, parent.table, bond.columns, bond.referencedColumns]);
      const other = bonds.get(id);
      bonds.set(id, other ? merged(other, bond) : { ...bond, number: bonds.size });
    }
  }
  return [...bonds.values()];
}

function bondOf(child: OwnedTable, parent: OwnedTable, fk: ForeignKey, catalog: Catalog): Bond | null {
  const pairs = fk.columns.map((column, at) => [column, fk.referencedColumns[at] ?? ''] as const);
  const rest = pairs.filter(([from, to]) => from !== child.ownerColumn || to !== parent.ownerColumn);
  const enforced = rest.length < pairs.length;
  // Without the owner in it, it counts while the plan means to put it in: before the phase `keys`.
  if (rest.length === 0 || (!enforced && !child.references.some(({ name }) => name === fk.name))) return null;
  const columns = rest.map(([from]) => from);
  return {
    number: 0,
    name: fk.name,
    child,
    parent,
    columns,
    referencedColumns: rest.map(([, to]) => to),
    enforced,
    unambiguous: !enforced,
    indexed: isIndexed(child, columns, catalog),
    clearable: clearable(child, fk, columns, catalog),
  };
}

function isIndexed(child: OwnedTable, columns: readonly string[], catalog: Catalog): boolean {
  const wanted = [child.ownerColumn, ...columns];
  return tableOf(catalog, child.table).indexes.some(
    ({ columns: has, valid, partial }) =>
      valid && !partial && wanted.every((column) => has.slice(0, wanted.length).includes(column)),
  );
}

function clearable(child: OwnedTable, fk: ForeignKey, columns: readonly string[], catalog: Catalog) {
  // MATCH FULL takes all columns null or none, and the owner never is.
  if (fk.onDelete !== 'set null' || (fk.match === 'full' && columns.length < fk.columns.length)) return null;
  const cleared = fk.setColumns.length > 0 ? fk.setColumns : columns;
  const nullable = (name: string) =>
    tableOf(catalog, child.table).columns.find((c) => c.name === name)?.notNull === false;
  return cleared.every(nullable) ? cleared : null;
}

/** The old form and the new one of the same reference, side by side from `keys` to `contract`. */
function merged(one: Bond, other: Bond): Bond {
  return {
    ...one,
    name: one.unambiguous ? one.name : other.name,
    enforced: one.enforced || other.enforced,
    unambiguous: one.unambiguous || other.unambiguous,
    clearable: one.clearable ?? other.clearable,
  };
}

/** The table as a caller names it, or that whose partition they named. */
export function ownedTableNamed(ownership: Ownership, label: TableLabel): OwnedTable | undefined {
  return ownership.owned.find((owned) => owned.table === label || owned.partitions.includes(label));
}
