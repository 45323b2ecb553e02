/**
 * Rows of users who are nobody, in every guarded table that can be filled without doing anything else: the hostile sample of
 * `verify --deep` plants them in a transaction that is rolled back, `canary plant` for good. As somebody whom the policies
 * let see all rows.
 */
import pg, { type ClientBase } from 'pg';
import type { Column, ForeignKey, Table, TableLabel } from '../catalog.ts';
import { columnList, identifier } from '../identifier.ts';
import type { Guarded } from '../verify/expectation.ts';
import { mayHoldMark, type NamedType, valueFor } from './column-value.ts';
import { markOf, type Who } from './marks.ts';
import { actsElsewhere, keysTo, ownColumns, parentsFirst, readTypes } from './tables.ts';

export interface SyntheticUser {
  readonly who: Who;
  readonly id: string;
}

/** As text, by column. */
export type PlantedRow = Readonly<Record<string, string | null>>;

export interface Mark {
  readonly number: number;
  readonly column: string;
}

export interface Planted {
  readonly guarded: Guarded;
  readonly user: SyntheticUser;
  readonly row: PlantedRow;
  readonly marks: readonly Mark[];
}

export interface Unplanted {
  readonly table: TableLabel;
  /** A phrase. Names, never values. */
  readonly reason: string;
}

export interface PlantOptions {
  readonly stem: string;
  readonly users: readonly SyntheticUser[];
  /** What columns of a table have to be: an account that cannot log in. */
  readonly fixed?: Readonly<Record<TableLabel, PlantedRow>>;
  /** Tables to leave alone, and why. */
  readonly leave?: Readonly<Record<TableLabel, string>>;
}

export interface Planting {
  readonly planted: readonly Planted[];
  readonly unplanted: readonly Unplanted[];
}

export async function plantRows(
  client: ClientBase,
  guarded: readonly Guarded[],
  options: PlantOptions,
): Promise<Planting> {
  const roots = parentsFirst(guarded.filter(({ isPartition }) => !isPartition));
  const planter = new Planter(client, options, new Map(roots.map((one) => [one.label, one])), await readTypes(client));
  for (const one of roots) await planter.plant(one);
  return planter;
}

/** A mark has room for four digits; a table may need some hundred. */
const marksMax = 9_000;

/** A row is tried again with less of its own choice as often as this. */
const attemptsMax = 12;

class Planter implements Planting {
  readonly planted: Planted[] = [];
  readonly unplanted: Unplanted[] = [];
  readonly #client: ClientBase;
  readonly #options: PlantOptions;
  readonly #roots: ReadonlyMap<TableLabel, Guarded>;
  readonly #types: ReadonlyMap<string, NamedType>;
  #marks = 0;

  constructor(
    client: ClientBase,
    options: PlantOptions,
    roots: ReadonlyMap<TableLabel, Guarded>,
    types: ReadonlyMap<string, NamedType>,
  ) {
    this.#client = client;
    this.#options = options;
    this.#roots = roots;
    this.#types = types;
  }

  async plant(guarded: Guarded): Promise<void> {
    const full = this.#marks > marksMax ? 'there are no numbers left for its marks' : null;
    const reason = this.#options.leave?.[guarded.label] ?? actsElsewhere(guarded.table) ?? full;
    if (reason !== null) {
      this.unplanted.push({ table: guarded.label, reason });
      return;
    }
    const before = this.planted.length;
    const users = this.#options.users.flatMap((user) => Array.from({ length: this.#rowsOf(guarded) }, () => user));
    for (const user of users) {
      const outcome = await this.#row(guarded, user);
      if (typeof outcome === 'string') {
        // One user's row alone is of no use, and is taken for none.
        for (const one of this.planted.splice(before)) await this.#remove(one);
        this.unplanted.push({ table: guarded.label, reason: outcome });
        return;
      }
      this.planted.push(outcome);
    }
  }

  /** Two, where another table refers to it twice, and may want two different rows. */
  #rowsOf({ label }: Guarded): number {
    const references = [...this.#roots.values()].map(
      (child) => new Set(keysTo(child, label).map((key) => ownColumns(child, key))).size,
    );
    return Math.max(...references) > 1 ? 2 : 1;
  }

  async #remove({ guarded, user }: Planted): Promise<void> {
    const owner = identifier(guarded.owned.ownerColumn);
    await this.#client.query(`delete from ${guarded.label} where ${owner} = $1`, [user.id]);
  }

  /** @returns a phrase where no row can be had */
  async #row(guarded: Guarded, user: SyntheticUser): Promise<Planted | string> {
    const { table, label } = guarded;
    const references = await this.#references(guarded, user);
    if (typeof references === 'string') return references;
    const fixed = { ...references, [guarded.owned.ownerColumn]: user.id, ...this.#options.fixed?.[label] };
    /** Columns that a check refused: left to their default, or taken from a row that is there. */
    const humble = new Set<string>();
    let last = '';
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const draft = await this.#draft(table, user, fixed, humble);
      if (typeof draft === 'string') return draft;
      const outcome = await this.#insert(guarded, user, draft);
      if (!(outcome instanceof pg.DatabaseError)) return outcome;
      last = `Postgres refuses it: SQLSTATE ${outcome.code}${outcome.constraint === undefined ? '' : `, ${outcome.constraint}`}`;
      const refused = (await this.#columnsOf(table, outcome)).filter((column) => !humble.has(column));
      if (refused.length === 0) return last;
      for (const column of refused) humble.add(column);
    }
    return last;
  }

  async #draft(
    table: Table,
    user: SyntheticUser,
    fixed: Readonly<Record<string, string | null>>,
    humble: ReadonlySet<string>,
  ): Promise<Map<string, { text: string | null; mark: number | null }> | string> {
    const draft = new Map<string, { text: string | null; mark: number | null }>();
    for (const column of table.columns.filter(({ generated }) => !generated)) {
      const { name } = column;
      const loose = humble.has(name) && !column.notNull && column.default === null;
      if (Object.hasOwn(fixed, name) && !loose) {
        draft.set(name, { text: fixed[name] ?? null, mark: null });
        continue;
      }
      // A sequence that is drawn from is not rolled back.
      const draws = column.identity || /nextval\(/.test(column.default ?? '');
      if (humble.has(name)) {
        if (draws || (column.notNull && column.default === null)) {
          const sample = await this.#sample(table, column);
          if (sample === null) return `there is no row to take a valid ${identifier(name)} from`;
          draft.set(name, { text: sample, mark: null });
        }
        continue;
      }
      const needed = draws || (column.notNull && column.default === null);
      if (!needed && !mayHoldMark(column)) continue;
      const number = this.#marks;
      const value = valueFor(column, this.#types, () => markOf(this.#options.stem, user.who, number));
      if (value === null) return `nothing is known of the type ${column.type} of ${identifier(name)}`;
      if (value.isMarked) this.#marks += 1;
      draft.set(name, { text: value.text, mark: value.isMarked ? number : null });
    }
    return draft;
  }

  async #insert(
    guarded: Guarded,
    user: SyntheticUser,
    draft: ReadonlyMap<string, { text: string | null; mark: number | null }>,
  ): Promise<Planted | pg.DatabaseError> {
    const columns = [...draft.keys()];
    const values = columns.map((column) => draft.get(column)?.text ?? null);
    const back = guarded.table.columns.map(({ name }) => `t.${identifier(name)}::text as ${identifier(name)}`);
    const sql = `insert into ${guarded.label} as t (${columnList(columns)}) overriding system value
values (${columns.map((_, at) => `$${at + 1}`).join(', ')}) returning ${back.join(', ')}`;
    await this.#client.query('savepoint planting');
    try {
      const { rows } = await this.#client.query<Record<string, string | null>>(sql, values);
      const marks = columns.flatMap((column) => {
        const number = draft.get(column)?.mark ?? null;
        return number === null ? [] : [{ number, column }];
      });
      return { guarded, user, row: rows[0] ?? {}, marks };
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error;
      await this.#client.query('rollback to savepoint planting');
      return error;
    } finally {
      await this.#client.query('release savepoint planting');
    }
  }

  /** Values of the columns that lead to other rows: the same user's where the table is guarded. */
  async #references(guarded: Guarded, user: SyntheticUser): Promise<Record<string, string | null> | string> {
    const values: Record<string, string | null> = {};
    for (const key of guarded.table.foreignKeys) {
      const parent = await this.#parent(guarded, key, user);
      const open = key.columns.filter(
        (column) => !Object.hasOwn(values, column) && column !== guarded.owned.ownerColumn,
      );
      if (parent === null && open.some((name) => guarded.table.columns.some((c) => c.name === name && c.notNull))) {
        return `it needs a row of ${key.references}, where none could be planted`;
      }
      for (const [at, column] of key.columns.entries()) {
        if (open.includes(column)) values[column] = parent?.[key.referencedColumns[at] ?? ''] ?? null;
      }
    }
    return values;
  }

  async #parent(guarded: Guarded, key: ForeignKey, user: SyntheticUser): Promise<PlantedRow | null> {
    if (key.references === guarded.label) return null;
    const rows = this.planted.filter((one) => one.guarded.label === key.references && one.user.id === user.id);
    // A reference and its twin that carries the owner lead to one row, two references to two.
    const sets = [...new Set(keysTo(guarded, key.references).map((other) => ownColumns(guarded, other)))];
    const row = rows[sets.indexOf(ownColumns(guarded, key)) % Math.max(1, rows.length)];
    if (row !== undefined || this.#roots.has(key.references)) return row?.row ?? null;
    // A table that everybody shares: any row of it.
    const columns = key.referencedColumns.map((name) => `${identifier(name)}::text as ${identifier(name)}`);
    const sql = `select ${columns.join(', ')} from ${key.references} limit 1`;
    return (await this.#client.query<Record<string, string | null>>(sql)).rows[0] ?? null;
  }

  /** A value that the checks let through: of a row that is there, or the first that a check names. */
  async #sample({ label }: Table, { name, type }: Column): Promise<string | null> {
    const column = identifier(name);
    const sql = `select ${column}::text as value from ${label} where ${column} is not null limit 1`;
    const sample = (await this.#client.query<{ value: string }>(sql)).rows[0]?.value;
    if (sample !== undefined) return sample;
    const { rows } = await this.#client.query<{ value: string | null }>(
      `select substring(pg_get_constraintdef(k.oid) from $$'((?:[^']|'')*)'::$$) as value from pg_constraint k
       join pg_attribute a on a.attrelid = k.conrelid and a.attnum = any (k.conkey)
       where k.conrelid = $1::regclass and k.contype = 'c' and a.attname = $2`,
      [label, name],
    );
    const named = rows.find(({ value }) => value !== null)?.value?.replaceAll("''", "'") ?? null;
    return named !== null && type.endsWith('[]') ? `{${named}}` : named;
  }

  /** Columns that what refused a row looks at. */
  async #columnsOf(table: Table, { code, constraint, column, dataType }: pg.DatabaseError): Promise<readonly string[]> {
    if (column !== undefined) return [column];
    if (code !== '23514' && code !== '22P02') return [];
    const { rows } = await this.#client.query<{ name: string }>(
      `select a.attname::text as name from pg_attribute a
       where a.attrelid = $1::regclass and a.attnum > 0 and (
         a.attnum = any (array(select unnest(k.conkey) from pg_constraint k where k.conrelid = a.attrelid and k.conname = $2))
         or exists (select from pg_type t where t.oid = a.atttypid and t.typname = $3)
       )`,
      [table.label, constraint ?? '', dataType ?? ''],
    );
    return rows.map(({ name }) => name);
  }
}
