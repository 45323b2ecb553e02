/**
 * A foreign database as some application left it, and that application: what the rollout has to cope with. The owner of
 * every row is said here independently of the engine, over the legacy columns alone.
 */

/** A row's original columns as Postgres' JSON has them; never our owner column. */
export type Row = Readonly<Record<string, unknown>>;

export interface ShapeTable {
  /** As SQL and people write it: `"Sales App"."Order"`. */
  readonly label: string;
  /** Columns of the primary key, in order; what names a row also where there is no such constraint. */
  readonly key: readonly string[];
  /**
   * SQL over the alias `t`: the legacy id, as text, of the user whose row it is; null where nobody can tell. Null
   * instead of SQL for a table that belongs to nobody (look-up data).
   */
  readonly owner: string | null;
  /** No legacy column says whose its rows are: the old application's all go to quarantine. */
  readonly unclaimed?: true;
  /** Columns that the isolated application may change; otherwise all but those of the key. */
  readonly updatable?: readonly string[];
}

export interface Operation {
  readonly name: string;
  /** Several statements that commit together. */
  readonly transaction?: boolean;
  /** What the isolated application may not do any more: make users, give rows away, change keys. */
  readonly oldOnly?: boolean;
  run(hand: Hand): Promise<void>;
}

/** What an operation works with. Rows are those of the user that it happens to act for. */
export interface Hand {
  /** The legacy id of the user. */
  readonly user: string;
  /** Another user of this writer. */
  readonly other: string;
  /** A number that no other call of this run gets. */
  next(): number;
  /** From 0 to below `below`. */
  random(below: number): number;
  /** Some row of the user that is known to be there. */
  some(table: string, matching?: (row: Row) => boolean): Row | undefined;
  /** All of them. */
  all(table: string, matching?: (row: Row) => boolean): readonly Row[];
  insert(table: string, values: Row, owner?: string | null): Promise<Row>;
  /** Sets the columns named. */
  update(table: string, row: Row, changes: Row): Promise<Row>;
  /** Sets every column, changed or not, as many object mappers do. */
  save(table: string, row: Row, changes: Row): Promise<Row>;
  /** INSERT … ON CONFLICT (columns) DO UPDATE of what is neither in `columns` nor in the key. */
  upsert(table: string, values: Row, columns: readonly string[]): Promise<Row>;
  delete(table: string, row: Row): Promise<void>;
  /** A statement of the application's own; `writes` tells what it is measured as. */
  query(sql: string, parameters?: readonly unknown[], writes?: boolean): Promise<readonly Row[]>;
  /** Rows that Postgres removed or changed by itself, or that `query` did. */
  forget(table: string, row: Row): void;
  note(table: string, row: Row): void;
  /** The row is another user's from here on. */
  hand(table: string, row: Row, to: string | null): void;
}

export interface Shape {
  readonly name: string;
  /** Schemas whose text has to be the same after a rollback. */
  readonly schemas: readonly string[];
  /** A template of test/support/templates.ts; otherwise the database is empty. */
  readonly template?: string;
  /** Schema and rows, run by the owner. @param role the old application's log-in, quoted */
  sql(role: string): string;
  /** A WITH clause that the `owner`s of the tables may name. */
  readonly with?: string;
  /** By a short name that the operations use. Referenced tables before those that refer to them. */
  readonly tables: Readonly<Record<string, ShapeTable>>;
  /** Short name of the users' table. */
  readonly users: string;
  /** `uuid`: the legacy id is the user's id. Otherwise the namespace of the name-based one: the users' table. */
  readonly userId: 'uuid' | { readonly derivedFrom: string };
  /** ringfence.config.json: no more than what no rule can find. */
  readonly config: object;
  readonly operations: readonly Operation[];
  /** Rows that the rollout itself makes and takes away: by short name of the table, and key as JSON. */
  readonly made?: readonly { readonly table: string; readonly key: string }[];
  /** What it reads between its writes; `$1` is the legacy id of the user as text. */
  readonly reads: readonly string[];
  /** A table where the row of one user can be made again, with the same id, for another: all that differs. */
  readonly twin: { readonly table: string; readonly changes: (otherUser: string) => Row };
  /** Ids by way of views and functions: once isolated only those of the user's rows of `table`, or the query is refused. */
  readonly exposes?: readonly { readonly sql: string; readonly table: string }[];
  /** Checks of preflight that must be `fail` or `warn` here: it exits with 1 only where one is a fail. */
  readonly preflight?: Readonly<Record<string, 'fail' | 'warn'>>;
}
