/**
 * Gives rows to users, each with everything that hangs on it: by list, by predicate, by key, or by the plan's rule.
 *
 * What was asked for is checked as a whole before anything changes. It then changes in transactions that never part
 * what one user gets, unless `batch` says how many rows at most: nobody sees half a subtree.
 */
import { setTimeout as wait } from 'node:timers/promises';
import pg from 'pg';
import { problem } from '../../errors.ts';
import { tableOf } from '../catalog.ts';
import { type Connection, messageOf, sqlState } from '../connection.ts';
import { identifier, literal } from '../identifier.ts';
import { ownerExpression } from '../owner-expression.ts';
import type { OwnedTable, Ownership } from '../ownership.ts';
import { installState, recordEvent, stateInstalled } from '../state.ts';
import { bondsOf, ownedTableNamed } from './bonds.ts';
import { addressOf, type Claims, claimsTable, readClaims } from './claims.ts';
import { asConflict, type Conflict, type Conflicts, findConflicts, giveUpReferences, none } from './conflicts.ts';
import {
  addDependants,
  addRoots,
  createMoving,
  differs,
  type Estate,
  moveAll,
  movingTable,
  type Roots,
} from './moving.ts';
import { recordOverrides } from './overrides.ts';
import { type Reach, reachOf } from './reach.ts';
import { addReferred } from './referred.ts';
import { readStanding, type Standing } from './standing.ts';
import { findUser, userLookUp } from './users.ts';

/** What names the rows. A transfer is by key and takes the row from whoever has it. */
export type Selection =
  | { readonly by: 'csv'; readonly table: string; readonly file: string }
  | { readonly by: 'where'; readonly table: string; readonly predicate: string; readonly to: string }
  | { readonly by: 'key'; readonly table: string; readonly key: readonly string[]; readonly to: string }
  | { readonly by: 'rule'; readonly table: string | undefined };

export interface AssignOptions {
  readonly selection: Selection;
  /** Whose rows may be taken: a user, `quarantine`, or `any`. Default: quarantine; for a key any. */
  readonly from?: string | undefined;
  /** Column of the users' table that `to`, `from` and the list name users by. */
  readonly userColumn?: string | undefined;
  /** Set references to null that would hang between two users, where ON DELETE SET NULL says that they may be. */
  readonly detach?: boolean | undefined;
  /** Rows in quarantine that the named ones, or what hangs on them, refer to come along. */
  readonly withReferences?: boolean | undefined;
  readonly dryRun?: boolean | undefined;
  /** Leave out lines of the list whose row is not there. */
  readonly skipMissing?: boolean | undefined;
  /** At most so many named rows in a transaction; default: all that one user gets. */
  readonly batch?: number | undefined;
  /** Whose the tables are where no plan is in force. */
  readonly withoutPlan?: Ownership | undefined;
  readonly onProgress?: (done: number, total: number | null) => void;
}

export interface MovedRows {
  readonly table: string;
  readonly from: string;
  readonly to: string;
  readonly rows: number;
}

export interface Assignment {
  readonly dryRun: boolean;
  /** Lines of the list; null without one. */
  readonly listed: number | null;
  /** Rows that were named, and were to be taken. */
  readonly named: number;
  /** Rows of all tables that went, or would go. */
  readonly rows: number;
  readonly tables: readonly { readonly table: string; readonly rows: number }[];
  /** The largest, at most 100. */
  readonly moves: readonly MovedRows[];
  /** Named rows that belong to somebody from whom nothing was to be taken. */
  readonly othersRows: number;
  readonly detached: number;
  readonly missing: readonly string[];
  readonly missingTotal: number;
  readonly conflicts: readonly Conflict[];
  readonly conflictsTotal: number;
}

const movesMax = 100;

interface Use {
  readonly client: Connection;
  readonly options: AssignOptions;
  readonly standing: Standing;
  readonly estate: Estate;
  readonly reach: Reach;
}

/** One transaction's worth of rows: the roots of each table concerned. */
type Portion = readonly Roots[];

/**
 * @returns what moved, or would; with `missing` or `conflicts` nothing has, unless there were several transactions: `rows`
 *   says how many had gone by then
 * @throws Problem `usage_error` for a table, user, predicate or list that cannot be read, `rollout_refused`
 */
export async function assign(client: Connection, options: AssignOptions): Promise<Assignment> {
  const standing = await readStanding(client, options.withoutPlan);
  const { ownership, catalog } = standing;
  const estate: Estate = {
    tables: ownership.owned.filter((table) => table.class === 'owned'),
    bonds: bondsOf(ownership, catalog),
    quarantineOwner: ownership.quarantineOwner,
  };
  const use: Use = { client, options, standing, estate, reach: reachOf(client, ownership, catalog) };
  if (!options.dryRun && !(await stateInstalled(client))) await installState(client);
  const { portion, claims } = await transaction(use, async () => ({ keep: true, value: await select(use) }));
  const found = {
    listed: claims?.records ?? null,
    missing: claims?.missing ?? [],
    missingTotal: claims?.missingTotal ?? 0,
  };
  if (found.missingTotal > 0 && !options.skipMissing) return { ...nothing(options), ...found };
  return { ...(await move(use, portion, claims)), ...found };
}

/** The whole selection as one portion; a list is read, and its users and rows looked up. */
async function select(use: Use): Promise<{ portion: Portion; claims: Claims | null }> {
  const { options, standing, reach } = use;
  const { selection } = options;
  const lookUp = userLookUp(standing.ownership, standing.catalog, options.userColumn);
  const user = (flag: string, text: string) => findUser(reach, standing.ownership, lookUp, flag, text);
  const from = options.from ?? (selection.by === 'key' ? 'any' : 'quarantine');
  const owner = from === 'any' ? null : from === 'quarantine' ? use.estate.quarantineOwner : await user('--from', from);
  const taken = (table: OwnedTable) =>
    owner === null ? 'true' : `t.${identifier(table.ownerColumn)} = ${uuid(owner)}`;
  if (selection.by === 'rule') return { portion: byRule(use, taken), claims: null };
  const table = requireTable(use, selection.table);
  const whole = { table, taken: taken(table), from: '', values: [], limit: null };
  if (selection.by === 'csv') {
    requireKey(table, '--csv');
    const claims = await readClaims(reach, standing.catalog, table, selection.file, lookUp, options.batch);
    return { portion: [{ ...whole, from: `, ${claimsTable} c`, condition: claims.join, target: 'c.target' }], claims };
  }
  const target = uuid(await user('--to', selection.to));
  if (selection.by === 'where') {
    // On lines of its own: the predicate may end in a comment.
    return { portion: [{ ...whole, condition: `\n${selection.predicate}\n`, target }], claims: null };
  }
  const one = { ...whole, ...byKey(use, table, selection.key), target };
  await requireOneRow(use, one);
  return { portion: [one], claims: null };
}

const uuid = (value: string) => `${literal(value)}::uuid`;

function requireTable({ standing, estate }: Use, label: string): OwnedTable {
  const table = ownedTableNamed(standing.ownership, label);
  if (!table) {
    const names = estate.tables.map((each) => each.table).join(', ');
    throw problem('usage_error', `--table: ${label} is not a table whose rows have owners; those are ${names}`);
  }
  if (table.class === 'owned') return table;
  throw problem('usage_error', `--table: ${label} holds the users' accounts: its rows are not given away`);
}

function requireKey(table: OwnedTable, flag: string): void {
  if (addressOf(table).length > 0) return;
  throw problem('usage_error', `${flag}: ${table.table} has no primary key to name rows by; use --where`);
}

function byKey({ standing }: Use, table: OwnedTable, key: readonly string[]): Pick<Roots, 'condition' | 'values'> {
  requireKey(table, '--key');
  const columns = addressOf(table);
  if (key.length !== columns.length) {
    throw problem(
      'usage_error',
      `--key: ${table.table} is keyed by ${columns.join(', ')}; ${key.length} values were given`,
    );
  }
  const types = new Map(tableOf(standing.catalog, table.table).columns.map(({ name, type }) => [name, type]));
  const same = columns.map(
    (column, at) =>
      `t.${identifier(column)} = $${at + 1}::text::${(types.get(column) ?? 'text').replace(/\([^)]*\)/, '')}`,
  );
  return { condition: same.join(' and '), values: key };
}

/** After `contract` several users may have a row with this key: whose is meant has to be said. */
async function requireOneRow({ reach, options, estate }: Use, roots: Roots): Promise<void> {
  const owner = `t.${identifier(roots.table.ownerColumn)}`;
  const rows = await readable('--key', () =>
    reach.onRows<{ owner: string }>(
      `select ${owner} as owner from ${roots.table.table} t where ${roots.condition} and (${roots.taken}) order by 1 limit 10`,
      roots.values,
    ),
  );
  const key = `(${addressOf(roots.table).join(', ')}) = (${roots.values.join(', ')})`;
  if (rows.length === 0) {
    const whose = options.from === undefined ? '' : ` of ${options.from}`;
    throw problem('rollout_refused', `${roots.table.table}: there is no row${whose} with ${key}`);
  }
  if (rows.length === 1) return;
  const owners = rows.map((row) => (row.owner === estate.quarantineOwner ? 'quarantine' : row.owner)).join(', ');
  throw problem('rollout_refused', `${roots.table.table}: several users have a row with ${key}; say --from: ${owners}`);
}

function byRule(use: Use, taken: (table: OwnedTable) => string): Portion {
  const { standing, estate, options } = use;
  if (standing.plan === null) throw problem('rollout_refused', '--by-rule: no plan is in force that has rules');
  const { selection } = options;
  const only = selection.by === 'rule' && selection.table !== undefined ? requireTable(use, selection.table) : null;
  return estate.tables
    .filter((table) => table.sources.length > 0 && (only === null || only === table))
    .map((table) => ({
      table,
      taken: taken(table),
      from: '',
      condition: 'true',
      target: ownerExpression(standing.ownership, table, 't'),
      values: [],
      limit: null,
    }));
}

async function move(
  use: Use,
  whole: Portion,
  claims: Claims | null,
): Promise<Omit<Assignment, 'listed' | 'missing' | 'missingTotal'>> {
  const { options } = use;
  const once =
    (claims?.batches ?? 1) <= 1 && options.selection.by !== 'rule' && (claims || options.batch === undefined);
  if (once && !options.dryRun) return pass(use, whole, 'move');
  const checked = await pass(use, whole, 'check');
  if (options.dryRun || checked.conflictsTotal > 0) return checked;
  return portions(use, whole, claims, checked);
}

/** One after another. What was found for the whole stands, except for what only a change can show. */
async function portions(use: Use, whole: Portion, claims: Claims | null, checked: Passed): Promise<Passed> {
  const { options } = use;
  let [named, rows, detached] = [0, 0, 0];
  for (let at = 0; claims === null || at < claims.batches; at++) {
    const part = claims === null ? limited(whole, options.batch) : batchOf(whole, at);
    const passed = await pass(use, part, 'move');
    if (passed.conflictsTotal > 0) return { ...passed, named, rows, detached, tables: [], moves: [] };
    named += passed.named;
    rows += passed.rows;
    detached += passed.detached;
    options.onProgress?.(named, checked.named);
    // A row that went is no longer taken; by the rule, one that went may have told another's owner.
    if (claims === null && passed.named === 0) break;
  }
  const more = rows === checked.rows ? {} : { tables: [], moves: [] };
  return { ...checked, ...more, dryRun: false, named, rows, detached };
}

const limited = (whole: Portion, limit: number | undefined): Portion =>
  limit === undefined ? whole : whole.map((roots) => ({ ...roots, limit }));

const batchOf = (whole: Portion, at: number): Portion =>
  whole.map((roots) => ({ ...roots, condition: `${roots.condition} and c.batch = ${at}` }));

type Passed = Omit<Assignment, 'listed' | 'missing' | 'missingTotal'>;

/** One transaction: gathers, checks, and moves unless it is to check alone. */
function pass(use: Use, portion: Portion, mode: 'check' | 'move'): Promise<Passed> {
  const { options, reach, estate, standing } = use;
  const lock = mode === 'move';
  const detach = options.detach ?? false;
  return transaction(use, async () => {
    await createMoving(reach);
    let [named, othersRows] = [0, 0];
    for (const roots of portion) {
      const flag = options.selection.by === 'where' ? '--where' : null;
      named += await readable(flag, () => addRoots(reach, estate, roots, lock));
      if (options.selection.by !== 'rule') othersRows += await countOthers(use, roots);
    }
    await addDependants(reach, estate, detach, lock);
    if (options.withReferences && (await addReferred(reach, estate, lock)))
      await addDependants(reach, estate, detach, lock);
    const detached = detach ? await giveUpReferences(reach, estate, lock) : 0;
    const conflicts = await findConflicts(reach, estate, standing.catalog, options.withReferences ?? false);
    const found = { dryRun: options.dryRun ?? false, named, othersRows, detached, ...(await summary(use)) };
    if (conflicts.total > 0) return { keep: false, value: refused(found, conflicts) };
    if (mode === 'check' || found.rows === 0) return { keep: false, value: refused(found, none) };
    const refusal = await change(use, found);
    return { keep: refusal.total === 0, value: refused(found, refusal) };
  });
}

const refused = (found: Omit<Passed, 'conflicts' | 'conflictsTotal'>, { shown, total }: Conflicts): Passed => ({
  ...found,
  ...(total > 0 ? { rows: 0, detached: 0 } : {}),
  conflicts: shown,
  conflictsTotal: total,
});

/** Postgres has the last word: what it refuses is a conflict like those that were looked for. */
async function change(use: Use, found: Omit<Passed, 'conflicts' | 'conflictsTotal'>): Promise<Conflicts> {
  const { reach, estate, standing, options, client } = use;
  try {
    await moveAll(reach, estate, { detach: options.detach ?? false, remember: standing.ruleApplies });
  } catch (error) {
    const conflict = error instanceof pg.DatabaseError ? asConflict(error) : null;
    if (conflict) return { shown: [conflict], total: 1 };
    throw error;
  }
  if (standing.ruleApplies) await recordOverrides(reach, standing.ownership, estate);
  await reach.becomeOurselves();
  await recordEvent(client, 'assign', {
    by: options.selection.by,
    table: options.selection.table ?? null,
    named: found.named,
    rows: Object.fromEntries(found.tables.map(({ table, rows }) => [table, rows])),
    detached: found.detached,
    role: standing.catalog.role.name,
  });
  return none;
}

async function countOthers({ reach }: Use, { table, from, condition, taken, target, values }: Roots): Promise<number> {
  if (taken === 'true') return 0;
  const [row] = await reach.onRows<{ rows: number }>(
    `select count(*)::int as rows from ${table.table} t${from}
    where (${condition}) and not (${taken}) and ${differs(`t.${identifier(table.ownerColumn)}`, target)}`,
    values,
  );
  return row?.rows ?? 0;
}

async function summary({ reach, estate }: Use): Promise<Pick<Passed, 'rows' | 'tables' | 'moves'>> {
  const nameOf = (number: number) => estate.tables[number]?.table ?? '';
  const tables = await reach.asOurselves<{ number: number; rows: number }>(
    `select table_no as number, count(*)::int as rows from ${movingTable} where not stays group by 1 order by 1`,
  );
  const moves = await reach.asOurselves<{ number: number; from: string; to: string; rows: number }>(
    `select table_no as number, owner as from, target as to, count(*)::int as rows from ${movingTable} where not stays
    group by 1, 2, 3 order by rows desc, 1, 2, 3 limit ${movesMax}`,
  );
  return {
    rows: tables.reduce((sum, { rows }) => sum + rows, 0),
    tables: tables.map(({ number, rows }) => ({ table: nameOf(number), rows })),
    moves: moves.map(({ number, from, to, rows }) => ({ table: nameOf(number), from, to, rows })),
  };
}

const nothing = ({ dryRun = false }: AssignOptions): Assignment => ({
  dryRun,
  listed: null,
  named: 0,
  rows: 0,
  tables: [],
  moves: [],
  othersRows: 0,
  detached: 0,
  missing: [],
  missingTotal: 0,
  conflicts: [],
  conflictsTotal: 0,
});

/** What the one at the keyboard wrote and Postgres cannot read: syntax, names, values. */
async function readable<T>(flag: string | null, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const state = sqlState(error) ?? '';
    if (flag === null || state === '42501' || !/^(22|42)/.test(state)) throw error;
    throw problem('usage_error', `${flag}: ${messageOf(error)}`, {}, { cause: error });
  }
}

/** Lock timeout, deadlock: the application was in the way for a moment. */
const passing = new Set(['55P03', '40P01', '40001']);
const attemptsMax = 6;

/**
 * Waits no longer than this for a row, since the application waits for those that are locked already; then lets go of all
 * and tries again.
 */
const lockTimeout = '2s';

async function transaction<T>(use: Use, work: () => Promise<{ keep: boolean; value: T }>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await attemptOnce(use, work);
    } catch (error) {
      if (!passing.has(sqlState(error) ?? '') || attempt === attemptsMax) throw error;
      await wait(attempt * 100 + Math.random() * 100);
    }
  }
}

async function attemptOnce<T>({ client, reach }: Use, work: () => Promise<{ keep: boolean; value: T }>): Promise<T> {
  await client.query('begin');
  reach.forget();
  try {
    await client.query(`set local lock_timeout = '${lockTimeout}'`);
    await reach.lendState();
    const { keep, value } = await work();
    if (keep) await reach.takeStateBack();
    await client.query(keep ? 'commit' : 'rollback');
    return value;
  } catch (error) {
    await client.query('rollback').catch(() => {});
    throw error;
  }
}
