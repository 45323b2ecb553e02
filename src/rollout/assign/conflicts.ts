/** Why rows may not change their owner: what would collide, and what would hang between two users. */
import type pg from 'pg';
import { type Catalog, type Index, type Table, tableOf } from '../catalog.ts';
import { identifier } from '../identifier.ts';
import type { OwnedTable } from '../ownership.ts';
import type { Bond } from './bonds.ts';
import { childrenOfMoving, differs, type Estate, lookUp, movingTable, ownerOf, pairsOf } from './moving.ts';
import type { Reach } from './reach.ts';

/**
 * - collision: the new owner has a row with these values of a unique constraint, or would get two
 * - reference: a row refers to one that stays, or goes, with another user
 */
export interface Conflict {
  readonly kind: 'collision' | 'reference';
  readonly table: string;
  readonly constraint: string;
  /** The row, as `(column, …) = (value, …)`. */
  readonly key: string;
  /** One sentence: what is so. */
  readonly message: string;
}

export interface Conflicts {
  /** The first of each kind and constraint, at most `shownMax` of them. */
  readonly shown: readonly Conflict[];
  readonly total: number;
}

const shownMax = 10;

export const none: Conflicts = { shown: [], total: 0 };

/** @param followed whether rows in quarantine that others refer to came along; if not, it is offered */
export async function findConflicts(
  reach: Reach,
  estate: Estate,
  catalog: Catalog,
  followed: boolean,
): Promise<Conflicts> {
  let all = none;
  const moving = await movingTables(reach, estate);
  for (const bond of estate.bonds.filter(({ child }) => moving.has(child))) {
    all = joined(all, await crossings(reach, estate, bond, followed));
  }
  for (const table of moving) {
    const described = tableOf(catalog, table.table);
    for (const index of described.indexes.filter((each) => isOwnersUnique(each, table))) {
      all = joined(all, await collisions(reach, estate, table, described, index));
    }
  }
  return all;
}

/**
 * Gives up references that may be given up, where the rows cannot go together: they are set to null with the change of
 * owner. Loose rows that are tied to others that stay are left out first, with whatever is tied to them.
 *
 * @returns how many references
 */
export async function giveUpReferences(reach: Reach, estate: Estate, lock: boolean): Promise<number> {
  const firm = estate.bonds.filter(({ clearable }) => clearable === null);
  for (let left = 1; left > 0; ) {
    left = 0;
    for (const bond of firm) left += await leaveOut(reach, estate, bond);
  }
  let given = 0;
  for (const bond of estate.bonds.filter(({ clearable }) => clearable !== null)) {
    given += await clearOutward(reach, estate, bond);
    given += await clearInward(reach, estate, bond, lock);
  }
  return given;
}

/** Loose children whose parent does not come, and loose parents whose child does not. @returns how many */
async function leaveOut(reach: Reach, estate: Estate, bond: Bond): Promise<number> {
  const [row] = await reach.onRows<{ rows: number }>(
    `with out as (
      delete from ${movingTable} k using (
        select m.table_no, m.leaf, m.place ${crossing(estate, bond)} and m.loose
        union
        select m.table_no, m.leaf, m.place ${childrenLeft(estate, bond)} and m.loose
      ) x
      where k.table_no = x.table_no and k.leaf = x.leaf and k.place = x.place
      returning 1
    ) select count(*)::int as rows from out`,
  );
  return row?.rows ?? 0;
}

/** Rows that go, and rows which refer to them and do not. */
function childrenLeft(estate: Estate, bond: Bond): string {
  return `${childrenOfMoving(estate, bond)} and not m.stays and ${differs(`c.${ownerOf(bond.child)}`, 'm.target')} and not exists (
          select from ${movingTable} k
          where k.table_no = ${estate.tables.indexOf(bond.child)} and k.leaf = c.tableoid and k.place = c.ctid and not k.stays
        )`;
}

/** Rows that go and refer to one that does not are marked. */
async function clearOutward(reach: Reach, estate: Estate, bond: Bond): Promise<number> {
  const [row] = await reach.onRows<{ rows: number }>(
    `with given as (
      update ${movingTable} k set cleared = k.cleared || ${bond.number}
      from (select m.leaf, m.place ${crossing(estate, bond)}) x
      where k.table_no = ${estate.tables.indexOf(bond.child)} and k.leaf = x.leaf and k.place = x.place
      returning 1
    ) select count(*)::int as rows from given`,
  );
  return row?.rows ?? 0;
}

/** Rows that stay and refer to one that goes are added. */
async function clearInward(reach: Reach, estate: Estate, bond: Bond, lock: boolean): Promise<number> {
  const [row] = await reach.onRows<{ rows: number }>(
    `with found as (
      select c.tableoid as leaf, c.ctid as place, c.${ownerOf(bond.child)} as owner
      ${childrenLeft(estate, bond)}
      ${lock ? 'for update of c' : ''}
    ), given as (
      insert into ${movingTable} as k (table_no, leaf, place, owner, target, round, stays, cleared)
      select ${estate.tables.indexOf(bond.child)}, leaf, place, owner, owner, -1, true, '{${bond.number}}' from found
      on conflict (table_no, leaf, place) do update set cleared = k.cleared || excluded.cleared
      returning 1
    ) select count(*)::int as rows from given`,
  );
  return row?.rows ?? 0;
}

/** Children that go and whose parent ends up with somebody else. */
export function crossing(estate: Estate, bond: Bond): string {
  const parent = estate.tables.indexOf(bond.parent);
  const owner = ownerOf(bond.parent);
  const sameOwner = bond.unambiguous ? '' : ` and p.${owner} = c.${ownerOf(bond.child)}`;
  return `from ${movingTable} m
        join ${bond.child.table} c on c.tableoid = m.leaf and c.ctid = m.place
        ${lookUp(bond.parent, 'p', `${pairsOf(bond)}${sameOwner}`)}
        left join ${movingTable} n on n.table_no = ${parent} and n.leaf = p.tableoid and n.place = p.ctid
        where m.table_no = ${estate.tables.indexOf(bond.child)} and not m.stays
          and coalesce(n.target, p.${owner}) <> m.target
          and not m.cleared @> '{${bond.number}}'`;
}

async function crossings(reach: Reach, estate: Estate, bond: Bond, followed: boolean): Promise<Conflicts> {
  const rows = await reach.onRows<{ child: string; parent: string; owner: string; total: number }>(
    `select ${rowText(bond.child, 'c')} as child, ${rowText(bond.parent, 'p')} as parent,
      coalesce(n.target, p.${ownerOf(bond.parent)})::text as owner, (count(*) over ())::int as total
    ${crossing(estate, bond)}
    limit ${shownMax}`,
  );
  const conflicts = rows.map(({ child, parent, owner }) => ({
    kind: 'reference' as const,
    table: bond.child.table,
    constraint: bond.name,
    key: child,
    message:
      `${bond.child.table} ${child} would go, but refers by ${bond.name} to ${bond.parent.table} ${parent}, ` +
      (owner !== estate.quarantineOwner
        ? `which is ${owner}'s`
        : `which stays in quarantine${followed ? '' : ' (--with-references takes it along)'}`) +
      `${bond.clearable === null ? '' : ' (--detach gives this reference up)'}`,
  }));
  return { shown: conflicts, total: rows[0]?.total ?? 0 };
}

function isOwnersUnique(index: Index, table: OwnedTable): boolean {
  // What a condition or an expression leaves to collide Postgres says itself: see `asConflict`.
  return (
    index.unique &&
    index.valid &&
    !index.partial &&
    index.columns.includes(table.ownerColumn) &&
    index.columns.every((column) => column !== null)
  );
}

async function collisions(
  reach: Reach,
  estate: Estate,
  table: OwnedTable,
  described: Table,
  index: Index,
): Promise<Conflicts> {
  const number = estate.tables.indexOf(table);
  const columns = index.columns.filter((column) => column !== null && column !== table.ownerColumn);
  const own = columns.map((column) => identifier(column ?? ''));
  const same = own.map((column) => `o.${column} = t.${column}`);
  const key = textOf(
    own.map((column) => `t.${column}`),
    own,
  );
  const moved = `${movingTable} m join ${table.table} t on t.tableoid = m.leaf and t.ctid = m.place`;
  const mine = `m.table_no = ${number} and not m.stays`;
  const rows = await reach.onRows<{ key: string; owner: string; twice: boolean; total: number }>(
    `select *, (count(*) over ())::int as total from (
      select ${key} as key, m.target::text as owner, false as twice
      from ${moved} ${lookUp(table, 'o', [`o.${ownerOf(table)} = m.target`, ...same].join(' and '))}
      where ${mine} and not exists (
        select from ${movingTable} k
        where k.table_no = ${number} and k.leaf = o.tableoid and k.place = o.ctid and not k.stays
      )
      union all
      select min(${key}), m.target::text, true
      from ${moved} where ${[mine, ...own.map((column) => `t.${column} is not null`)].join(' and ')}
      group by ${['m.target', ...own.map((column) => `t.${column}`)].join(', ')} having count(*) > 1
    ) found limit ${shownMax}`,
  );
  const name = index.constraint ?? index.name;
  const conflicts = rows.map(({ key: found, owner, twice }) => ({
    kind: 'collision' as const,
    table: described.label,
    constraint: name,
    key: found,
    message: `${described.label}: ${owner} ${twice ? 'would get two rows' : 'has a row'} with ${found} (${name})`,
  }));
  return { shown: conflicts, total: rows[0]?.total ?? 0 };
}

/** The row's key, or its place where it has none. */
function rowText(table: OwnedTable, alias: string): string {
  const columns = table.key.filter((column) => column !== table.ownerColumn).map(identifier);
  if (columns.length === 0) return `${alias}.ctid::text`;
  return textOf(
    columns.map((column) => `${alias}.${column}`),
    columns,
  );
}

function textOf(values: readonly string[], names: readonly string[]): string {
  const title = names.length === 0 ? 'no further column' : names.join(', ');
  const list =
    values.length === 0 ? "''" : `concat_ws(', ', ${values.map((v) => `coalesce(${v}::text, 'null')`).join(', ')})`;
  return `format('(%s) = (%s)', ${quoted(title)}, ${list})`;
}

const quoted = (text: string) => `'${text.replaceAll("'", "''")}'`;

async function movingTables(reach: Reach, estate: Estate): Promise<ReadonlySet<OwnedTable>> {
  const rows = await reach.asOurselves<{ number: number }>(
    `select distinct table_no as number from ${movingTable} where not stays order by 1`,
  );
  return new Set(rows.flatMap(({ number }) => estate.tables[number] ?? []));
}

function joined(one: Conflicts, other: Conflicts): Conflicts {
  return { shown: [...one.shown, ...other.shown], total: one.total + other.total };
}

/** Violations of a unique index, foreign key, check or exclusion constraint. */
const violations = new Set(['23505', '23503', '23514', '23P01']);

/** What Postgres refused in the end: partial and expression indexes, exclusion and check constraints, a user who is not there. */
export function asConflict(error: pg.DatabaseError): Conflict | null {
  const { code = '', table = '', schema = '', constraint = '', detail = '' } = error;
  if (!violations.has(code)) return null;
  const label = `${identifier(schema)}.${identifier(table)}`;
  return {
    kind: code === '23503' ? 'reference' : 'collision',
    table: label,
    constraint,
    key: '',
    message: `${label}: ${error.message}${detail === '' ? '' : `: ${detail}`}`,
  };
}
