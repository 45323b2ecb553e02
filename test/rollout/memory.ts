/** What a writer knows to be in the database, since Postgres acknowledged it. */
import { keyOf, tableOf } from './rows.ts';
import type { Row, Shape } from './shape.ts';

type Owner = string | null;

/** One row before and after a change; undefined: not there. */
export interface Change {
  readonly table: string;
  readonly key: string;
  readonly row: Row | undefined;
  readonly owner: Owner;
}

export class Memory {
  readonly #shape: Shape;
  /** Table, owner, key: rows are looked for by owner all the time. */
  readonly #rows = new Map<string, Map<Owner, Map<string, Row>>>();
  readonly #owners = new Map<string, Map<string, Owner>>();

  constructor(shape: Shape) {
    this.#shape = shape;
    for (const table of Object.keys(shape.tables)) {
      this.#rows.set(table, new Map());
      this.#owners.set(table, new Map());
    }
  }

  apply({ table, key, row, owner }: Change): void {
    const owners = this.#owners.get(table);
    const before = owners?.get(key);
    if (before !== undefined) this.#rows.get(table)?.get(before)?.delete(key);
    owners?.delete(key);
    if (row === undefined) return;
    owners?.set(key, owner);
    const byOwner = this.#rows.get(table);
    const rows = byOwner?.get(owner) ?? new Map<string, Row>();
    rows.set(key, row);
    byOwner?.set(owner, rows);
  }

  change(table: string, row: Row, owner: Owner): Change {
    return { table, key: keyOf(tableOf(this.#shape, table), row), row, owner };
  }

  removal(table: string, row: Row): Change {
    return { table, key: keyOf(tableOf(this.#shape, table), row), row: undefined, owner: null };
  }

  /** The state of the same row as it is known, whatever the change says. */
  known({ table, key }: Change): Change {
    const owner = this.#owners.get(table)?.get(key);
    const row = owner === undefined ? undefined : this.#rows.get(table)?.get(owner)?.get(key);
    return { table, key, row, owner: owner ?? null };
  }

  ownerOf(table: string, row: Row): Owner | undefined {
    return this.#owners.get(table)?.get(keyOf(tableOf(this.#shape, table), row));
  }

  rowsOf(table: string, owner: Owner): readonly Row[] {
    return [...(this.#rows.get(table)?.get(owner)?.values() ?? [])];
  }

  users(): readonly string[] {
    return [...(this.#owners.get(this.#shape.users)?.values() ?? [])].filter((owner) => owner !== null);
  }

  *all(): Iterable<{ table: string; key: string; row: Row; owner: Owner }> {
    for (const [table, byOwner] of this.#rows) {
      for (const [owner, rows] of byOwner) for (const [key, row] of rows) yield { table, key, row, owner };
    }
  }
}
