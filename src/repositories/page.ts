/**
 * Keyset pagination. A cursor holds the sort key and the id of the last row, so a page costs the same wherever it is
 * and rows that come or go in between are neither shown twice nor skipped.
 */
import { type RawBuilder, sql } from 'kysely';
import type { Database } from '../database/tables.gen.ts';
import { problem } from '../errors.ts';
import type { Compilable, StatementRunner } from '../isolation/scope.ts';
import type { View } from './base-user-scoped-repository.ts';

export interface PageRequest {
  readonly limit: number;
  readonly cursor?: string | undefined;
}

export interface Page {
  /** A JSON array, as Postgres wrote it. */
  readonly items: string;
  readonly next_cursor: string | null;
}

/** A total order over a view: its key, then `v.id`. */
export interface Sort {
  /** Part of the cursor: a cursor is good for the order it was made in. */
  readonly name: string;
  /** The key as SQL over the view's columns, which go by `v`; never null (coalesce it). */
  readonly key: string;
  /** The key's type in Postgres, for reading it back from a cursor. */
  readonly type: 'timestamptz' | 'smallint' | 'integer' | 'text' | 'uuid';
  readonly direction: 'asc' | 'desc';
}

export interface PageRow {
  items: string;
  count: number;
  last_key: string | null;
  last_id: string | null;
}

/** The last row of the page before: its sort key as text, and its id; values, or arguments of a prepared statement. */
export interface Position {
  readonly key: string | RawBuilder<string>;
  readonly id: string | RawBuilder<string>;
}

export async function page(
  scope: StatementRunner<Database>,
  view: View,
  sort: Sort,
  request: PageRequest,
  details?: View,
): Promise<Page> {
  const after = readCursor(sort, request.cursor);
  const row = await scope.first(pageStatement(scope.db, view, sort, request.limit, after, details));
  return pageOf(row, sort, request.limit);
}

/**
 * One row more than asked is read, to know whether there is a next page. The limit stands directly on the sorted view:
 * there Postgres keeps the best rows in a heap, and works out what is costly in a row for the rows that are left.
 * Numbering the rows comes after it, or all of them would be sorted, and worked out, first.
 *
 * @param details for rows that show more than they are sorted and filtered by: one row, made of the view's row `t`. It
 *   runs for the rows of the page alone.
 */
export function pageStatement(
  db: StatementRunner<Database>['db'],
  view: View,
  sort: Sort,
  limit: number,
  after: Position | undefined,
  details?: View,
): Compilable<PageRow> {
  const key = sql.raw(sort.key);
  const direction = sql.raw(sort.direction);
  const from = db.selectFrom(view.as('v'));
  const columns: View = details ? from.selectAll('v') : from.select(['v.id', sql`to_json(v)`.as('item')]);
  const sorted: View = (after ? columns.where(isAfter(sort, after)) : columns)
    .select(sql`${key}`.as('sort_key'))
    .orderBy(sql`${key} ${direction}, v.id ${direction}`)
    .limit(limitOf(limit + 1));
  const limited = db.selectFrom(sorted.as('t'));
  const items: View = details
    ? limited.innerJoinLateral(details.as('d'), (join) => join.onTrue()).select(sql`to_json(d)`.as('item'))
    : limited.select('t.item');
  const rows = items.select([
    sql<string>`t.sort_key::text`.as('key'),
    sql<string>`t.id::text`.as('id'),
    sql<number>`row_number() over (order by t.sort_key ${direction}, t.id ${direction})`.as('n'),
  ]);
  return db
    .selectFrom(rows.as('r'))
    .select([
      sql<string>`coalesce(json_agg(r.item order by r.n) filter (where r.n <= ${limit}), '[]')::text`.as('items'),
      sql<number>`count(*)`.as('count'),
      sql<string | null>`max(r.key) filter (where r.n = ${limit})`.as('last_key'),
      sql<string | null>`max(r.id) filter (where r.n = ${limit})`.as('last_id'),
    ]);
}

export function pageOf(row: PageRow | undefined, sort: Sort, limit: number): Page {
  if (!row) throw problem('internal_error', 'an aggregate returned no row');
  const more = row.count > limit && row.last_key !== null && row.last_id !== null;
  return { items: row.items, next_cursor: more ? writeCursor(sort, row.last_key ?? '', row.last_id ?? '') : null };
}

export const usualLimits: ReadonlySet<number> = new Set([10, 20, 25, 50, 100]);

/**
 * A literal for the usual limits. With a parameter Postgres takes its plan for any limit to cost more than one for this
 * limit, and plans each request anew (task list: 250 of 250 times, 1.4 ms each). Not for all limits: each literal is a
 * statement of its own, and a connection keeps only so many.
 */
function limitOf(limit: number) {
  return usualLimits.has(limit - 1) ? sql<number>`${sql.raw(String(limit))}` : limit;
}

function isAfter(sort: Sort, { key, id }: Position): RawBuilder<boolean> {
  const compare = sql.raw(sort.direction === 'asc' ? '>' : '<');
  const type = sql.raw(sort.type);
  return sql<boolean>`(${sql.raw(sort.key)}, v.id) ${compare} (${key}::text::${type}, ${id}::text::uuid)`;
}

function writeCursor(sort: Sort, key: string, id: string): string {
  return Buffer.from(JSON.stringify([sortId(sort), key, id])).toString('base64url');
}

const cursorCharsMax = 2_000;
const uuidForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const keyForms = {
  timestamptz: /^(-?infinity|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?[+-]\d\d(:\d\d)?)$/,
  smallint: /^-?\d{1,4}$/,
  integer: /^-?\d{1,9}$/,
  uuid: uuidForm,
  text: /^[^\0]{0,1000}$/su,
} satisfies Record<Sort['type'], RegExp>;

/** @throws Problem `invalid_cursor` for anything that this list did not give out */
export function readCursor(sort: Sort, cursor: string | undefined): { key: string; id: string } | undefined {
  if (cursor === undefined) return undefined;
  const refuse = () =>
    problem('invalid_cursor', 'cursor: not one that this list gave out; start again without a cursor.');
  if (cursor.length > cursorCharsMax || !/^[\w-]+$/.test(cursor)) throw refuse();
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
  } catch {
    throw refuse();
  }
  if (!Array.isArray(parts) || parts.length !== 3) throw refuse();
  const [name, key, id] = parts as unknown[];
  if (typeof key !== 'string' || typeof id !== 'string' || !uuidForm.test(id)) throw refuse();
  if (!keyForms[sort.type].test(key)) throw refuse();
  if (name !== sortId(sort)) {
    throw problem('invalid_cursor', 'cursor: it belongs to another order; use the sort it was given out for.');
  }
  return { key, id };
}

function sortId(sort: Sort): string {
  return `${sort.direction === 'desc' ? '-' : ''}${sort.name}`;
}
