/**
 * The rows that change their owner in one transaction: those that were named, and all that hang on them.
 *
 * They are kept by their place (tableoid, ctid), since a table may have no key. A place is good as long as the row is
 * locked: nobody else can make another version of it.
 *
 * All tables change in one statement, whose parts are data-modifying CTEs. Foreign keys cannot be deferred and their
 * ON UPDATE is mostly NO ACTION, so parents cannot go before children nor children before parents; but Postgres checks
 * them after the statement, when it sees all of it (manual, 7.8.4 and CREATE TABLE, NO ACTION). That holds before
 * `contract`, where the old keys stand beside the new, and after it; for cycles, for self references; and for RESTRICT,
 * which differs in not being deferrable only. Tried on 15.18 and 18.4: the parent alone or the child alone is refused,
 * both together pass, in either order. So nothing is copied, no constraint is touched, no superuser is needed.
 */
import { identifier, literal } from '../identifier.ts';
import type { OwnedTable } from '../ownership.ts';
import type { Bond } from './bonds.ts';
import type { Reach } from './reach.ts';

/** Everything about one use that does not change while it runs. */
export interface Estate {
  /** The tables by number: their place in here. */
  readonly tables: readonly OwnedTable[];
  readonly bonds: readonly Bond[];
  readonly quarantineOwner: string;
}

export const movingTable = 'pg_temp.ringfence_moving';

/**
 * `loose` rows hang on by references alone that may be given up; those of `stays` keep their owner and lose the references
 * in `cleared`: numbers of bonds.
 */
export async function createMoving(reach: Reach): Promise<void> {
  await reach.asOurselves(`create temporary table ringfence_moving (
    table_no integer not null,
    leaf oid not null,
    place tid not null,
    owner uuid not null,
    target uuid not null,
    round integer not null,
    loose boolean not null default false,
    stays boolean not null default false,
    cleared integer[] not null default '{}',
    primary key (table_no, leaf, place)
  ) on commit drop`);
  await lend(reach, movingTable);
}

/** Lets the role that works on rows use a temporary table of ours. */
export async function lend(reach: Reach, table: string): Promise<void> {
  if (reach.role === null) return;
  await reach.asOurselves(`grant select, insert, update, delete on ${table} to ${identifier(reach.role)}`);
}

/** Which rows are the roots: SQL over the alias `t` of a table. */
export interface Roots {
  readonly table: OwnedTable;
  /** Further tables, for instance the list that was read: `, pg_temp.x c`. */
  readonly from: string;
  readonly condition: string;
  /** Whose rows may be taken: a condition. */
  readonly taken: string;
  /** The new owner. */
  readonly target: string;
  readonly values: readonly unknown[];
  readonly limit: number | null;
}

/** @returns how many there are */
export async function addRoots(reach: Reach, estate: Estate, roots: Roots, lock: boolean): Promise<number> {
  const { table, from, condition, taken, target } = roots;
  const rows = await reach.onRows<{ rows: number }>(
    `with found as (
      select t.tableoid as leaf, t.ctid as place, t.${identifier(table.ownerColumn)} as owner, ${target} as target
      from ${table.table} t${from}
      where (${condition}) and (${taken}) and ${differs(`t.${identifier(table.ownerColumn)}`, target)}
      ${roots.limit === null ? '' : `limit ${roots.limit}`}
      ${lock ? 'for update of t' : ''}
    ), added as (
      insert into ${movingTable} (table_no, leaf, place, owner, target, round)
      select ${estate.tables.indexOf(table)}, leaf, place, owner, target, 0 from found
      on conflict do nothing
      returning 1
    )
    select count(*)::int as rows from added`,
    roots.values,
  );
  return rows[0]?.rows ?? 0;
}

/**
 * Adds whatever refers to the rows, at any depth, until there is no more. Each round is a statement with a view of its
 * own: a child that somebody was just adding is there once its parent is locked, since its insertion locks the parent.
 *
 * @param detach tell rows apart that hang on by a reference which may be given up: they are added as `loose`
 */
export async function addDependants(reach: Reach, estate: Estate, detach: boolean, lock: boolean): Promise<void> {
  if (!detach) {
    await addRounds(reach, estate, { bonds: estate.bonds, from: 1, loose: false, lock });
    return;
  }
  const firm = estate.bonds.filter((bond) => bond.clearable === null);
  const from = await addRounds(reach, estate, { bonds: firm, from: 1, loose: false, lock });
  await addRounds(reach, estate, { bonds: estate.bonds, from, loose: true, lock });
}

interface Rounds {
  readonly bonds: readonly Bond[];
  /** The first round's number: it looks at all rows there are, the later ones at those of the round before. */
  readonly from: number;
  readonly loose: boolean;
  readonly lock: boolean;
}

/** @returns the number that the next round would have */
async function addRounds(reach: Reach, estate: Estate, { bonds, from, loose, lock }: Rounds): Promise<number> {
  for (let round = from; ; round++) {
    const parents = round === from ? 'true' : `m.round = ${round - 1}`;
    const reached = new Set(await tablesOf(reach, parents));
    if (reached.size === 0) return round;
    // Without figures about the list, Postgres takes it for a dozen rows and walks through tables for each.
    await reach.asOurselves(`analyze ${movingTable}`);
    for (const bond of bonds.filter(({ parent }) => reached.has(estate.tables.indexOf(parent)))) {
      await reach.onRows(
        `insert into ${movingTable} (table_no, leaf, place, owner, target, round, loose)
        select ${estate.tables.indexOf(bond.child)}, c.tableoid, c.ctid, c.${ownerOf(bond.child)}, m.target, ${round}, ${loose}
        ${childrenOfMoving(estate, bond)} and ${parents} and ${differs(`c.${ownerOf(bond.child)}`, 'm.target')}
        ${lock ? 'for update of c' : ''}
        on conflict do nothing`,
      );
    }
  }
}

/** Before the keys are in force a child may not have got its parent's owner yet, but nobody else's is taken. */
export function childrenOfMoving(estate: Estate, bond: Bond): string {
  const owners = bond.enforced ? 'm.owner' : `m.owner, ${literal(estate.quarantineOwner)}::uuid`;
  const children = `${pairsOf(bond)} and c.${ownerOf(bond.child)} in (${owners})`;
  return `from ${movingTable} m
        join ${bond.parent.table} p on p.tableoid = m.leaf and p.ctid = m.place
        ${bond.indexed ? lookUp(bond.child, 'c', children) : `join ${bond.child.table} c on ${children}`}
        where m.table_no = ${estate.tables.indexOf(bond.parent)}`;
}

/**
 * As text, on which there are no statistics: from a column that has had one value since its default, Postgres would
 * conclude that next to no row differs, and go through all of a table's for each: 19 s for 4,000 children of 2,000 rows.
 */
export const differs = (one: string, other: string): string => `${one}::text <> (${other})::text`;

/**
 * A join that fetches rows by an index on all of the condition, one look-up for each row before it. What the statistics say
 * of an owner column is old by the time owners are given: taking a user for one of next to no rows, Postgres would join by
 * the owner alone, and by the rest only then (60,000 rows for a user who had as many already: not done in 85 s,
 * against as long as the first 60,000 took).
 */
export function lookUp(table: OwnedTable, alias: string, condition: string): string {
  const rows = `select ${alias}.tableoid, ${alias}.ctid, ${alias}.* from ${table.table} ${alias} where ${condition} offset 0`;
  return `join lateral (${rows}) ${alias} on true`;
}

export const ownerOf = (table: OwnedTable): string => identifier(table.ownerColumn);

/** The reference's columns, child `c` to parent `p`. */
export function pairsOf(bond: Bond): string {
  return bond.columns
    .map((column, at) => `c.${identifier(column)} = p.${identifier(bond.referencedColumns[at] ?? '')}`)
    .join(' and ');
}

async function tablesOf(reach: Reach, condition: string): Promise<number[]> {
  const rows = await reach.asOurselves<{ number: number }>(
    `select distinct table_no as number from ${movingTable} m where ${condition}`,
  );
  return rows.map(({ number }) => number);
}

/** Where the rows are after they moved: an update gives a row another place. */
export const movedTable = 'pg_temp.ringfence_moved';

export interface MoveOptions {
  /** Whether references are given up: else no column but the owner is touched. */
  readonly detach: boolean;
  /** Whether `movedTable` is filled. */
  readonly remember: boolean;
}

/** Gives all rows their new owner, in one statement. */
export async function moveAll(reach: Reach, estate: Estate, options: MoveOptions): Promise<void> {
  const numbers = await reach.asOurselves<{ number: number; rows: number }>(
    `select table_no as number, count(*)::int as rows from ${movingTable} group by table_no`,
  );
  if (numbers.length === 0) return;
  if (options.remember) {
    await reach.asOurselves(
      'create temporary table ringfence_moved (table_no integer, leaf oid, place tid, target uuid) on commit drop',
    );
    await lend(reach, movedTable);
  }
  const parts = numbers.flatMap(({ number }) => updateOf(estate, number, options));
  const counts = numbers.map(({ number }) => `(select count(*)::int from changed_${number}) as changed_${number}`);
  const [changed] = await reach.onRows<Record<string, number>>(
    `with ${parts.join(',\n')}\nselect ${counts.join(', ')}`,
  );
  for (const { number, rows } of numbers) {
    const count = changed?.[`changed_${number}`];
    if (count !== rows)
      throw new Error(`${estate.tables[number]?.table}: ${rows} rows were locked and ${count} changed`);
  }
}

function updateOf(estate: Estate, number: number, { detach, remember }: MoveOptions): string[] {
  const table = estate.tables[number];
  if (!table) throw new Error(`there is no table ${number}`);
  const sets = [`${ownerOf(table)} = m.target`, ...(detach ? clearings(estate, table) : [])];
  const update = `changed_${number} as (
    update ${table.table} t set ${sets.join(', ')}
    from ${movingTable} m
    where m.table_no = ${number} and t.tableoid = m.leaf and t.ctid = m.place
    returning t.tableoid as leaf, t.ctid as place, m.target
  )`;
  if (!remember) return [update];
  const insert = `kept_${number} as (
    insert into ${movedTable} (table_no, leaf, place, target) select ${number}, leaf, place, target from changed_${number}
  )`;
  return [update, insert];
}

function clearings(estate: Estate, table: OwnedTable): string[] {
  const cleared = new Map<string, number[]>();
  for (const bond of estate.bonds.filter(({ child }) => child === table)) {
    for (const column of bond.clearable ?? []) cleared.set(column, [...(cleared.get(column) ?? []), bond.number]);
  }
  return [...cleared].map(([column, bonds]) => {
    const name = identifier(column);
    return `${name} = case when m.cleared && '{${bonds.join(',')}}' then null else t.${name} end`;
  });
}
