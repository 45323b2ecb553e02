/**
 * An update that goes through a table block by block. A range of blocks is read in one piece whatever the key is, even
 * where there is none; a range of a random key would touch as many pages as it has rows.
 *
 * Each range is a transaction that has rows locked for about `heldTargetMs`, so that no writer waits longer for one of them.
 */
import { monotonicMs } from '../../clock.ts';
import { problem } from '../../errors.ts';
import { type Connection, sqlState, withConnection } from '../connection.ts';
import { phases } from '../plan.ts';
import { holdersOf } from './blockers.ts';
import { pause, retryDelay, type StepRun, stopIfAsked } from './step-run.ts';
import type { Throttle } from './throttle.ts';

/** Over 2 M rows beside four writers it is as fast as 40 ms, and the p99 of their writes 11 ms instead of 16. */
const heldTargetMs = 20;
/** Of a range that finds little to change: so that it can be stopped, and its progress seen. */
const rangeTargetMs = 1_000;
/**
 * A full page has no room for a row's new version. It goes to another page, and a new entry into every index, which is most
 * of an update's work. Once an eighth of a page's rows went, and nobody sees their old versions any more, Postgres clears
 * those away when it reads the page the next time; what comes after fits on the page, and no index is touched (HOT). Over
 * 150 000 rows with three indexes that was 72 % of the rows, 19 µs a row instead of 53, and half of the WAL; four passes
 * took 24 µs and sixteen 21.
 */
const passes = 8;
const blocksMin = 1;
const blocksMax = 4_096;
const blocksFirst = 16;
const stretchMin = 64;
const stretchMax = 8_192;
/** Of a row that somebody else has locked: with a range's own time it is what a writer of another row may wait. */
const rowLockTimeoutMs = 50;

/** Blocks [next, end) of a leaf that one worker goes through. */
export interface Stretch {
  readonly leaf: string;
  readonly first: number;
  next: number;
  readonly end: number;
}

/** A leaf's blocks [from, to). */
export interface Range {
  readonly leaf: string;
  readonly from: number;
  readonly to: number;
}

export interface RangeWork {
  /** Taken from the front, by one worker each. */
  readonly stretches: Stretch[];
  /** The update of a range. @param part a condition on `t`: the rows whose turn it is */
  statement(range: Range, part: string): string;
  /**
   * In the range's transaction, after its update.
   *
   * @param next up to where the stretch is done, by all passes
   * @returns false when somebody else did the range
   */
  record?(worker: Connection, stretch: Stretch, next: number, rows: number): Promise<boolean>;
  onRange(blocks: number, rows: number): void;
  readonly throttle: Throttle;
}

/** Puts a range into a sweep's statement. @param conditions what else has to hold for `t` */
export function rangeStatement(statement: string, { leaf, from, to }: Range, ...conditions: string[]): string {
  const range = [`t.ctid >= '(${from},0)'::tid`, `t.ctid < '(${to},0)'::tid`, ...conditions].join(' and ');
  return statement.replaceAll('%TABLE%', () => leaf).replaceAll('%RANGE%', () => `(${range})`);
}

/**
 * Cuts a leaf into stretches: several for each worker, so that none is left with the last one alone; and no longer ones
 * than stay in memory from one pass to the next.
 */
export function stretchesOf(leaf: string, blocks: number, workers: number): Stretch[] {
  const size = Math.min(stretchMax, Math.max(stretchMin, Math.ceil(blocks / (workers * 8))));
  const count = Math.ceil(blocks / size);
  return Array.from({ length: count }, (_, at) => ({
    leaf,
    first: at * size,
    next: at * size,
    end: Math.min(blocks, (at + 1) * size),
  }));
}

/** The leaf's size now, in blocks of the server; 0 when it is gone. */
export async function blocksOf(client: Connection, leaf: string): Promise<number> {
  const { rows } = await client.query<{ blocks: number }>(
    `select coalesce(pg_relation_size(to_regclass($1)) / current_setting('block_size')::int, 0)::float8 as blocks`,
    [leaf],
  );
  return rows[0]?.blocks ?? 0;
}

/** Runs all stretches; when one worker fails the others end after their range. */
export async function runRanges(run: StepRun, work: RangeWork): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([run.signal, failed.signal]);
  const workers = Array.from({ length: Math.min(run.options.workers, work.stretches.length) }, async () => {
    try {
      await withConnection(run.url, 'backfill', (client) => runWorker({ ...run, signal }, client, work));
    } catch (error) {
      failed.abort();
      throw error;
    }
  });
  const outcomes = await Promise.allSettled(workers);
  // The first one's fault: those that ended because of it say only that they stopped.
  const faults = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
  const fault = faults.find((error) => error.name !== 'Stopped') ?? faults[0];
  if (fault !== undefined) throw fault;
}

async function runWorker(run: StepRun, client: Connection, work: RangeWork): Promise<void> {
  await prepareWorker(run, client);
  let blocks = blocksFirst;
  for (let stretch = work.stretches.shift(); stretch !== undefined; stretch = work.stretches.shift()) {
    work.throttle.watch(stretch.leaf);
    blocks = await runStretch(run, client, work, stretch, blocks);
  }
}

/** @returns the size that took about the target's time */
async function runStretch(
  run: StepRun,
  client: Connection,
  work: RangeWork,
  stretch: Stretch,
  blocksAtFirst: number,
): Promise<number> {
  let blocks = blocksAtFirst;
  for (const part of partsOf(stretch)) blocks = await runPass(run, client, work, stretch, part, blocks);
  return blocks;
}

interface Part {
  /** Which rows' turn it is. */
  readonly condition: string;
  /** Of the work on the stretch. */
  readonly share: number;
  readonly last: boolean;
}

/** By the hash of a row's place, since its number on the page cannot be had cheaply. */
function partsOf(stretch: Stretch): Part[] {
  if (stretch.end - stretch.first < stretchMin) return [{ condition: 'true', share: 1, last: true }];
  return Array.from({ length: passes }, (_, at) => ({
    condition: `hashtid(t.ctid) & ${passes - 1} = ${at}`,
    share: 1 / passes,
    last: at === passes - 1,
  }));
}

/** Only the last pass moves the stretch on: one that ends before is gone through again from its beginning. */
async function runPass(
  run: StepRun,
  client: Connection,
  work: RangeWork,
  stretch: Stretch,
  part: Part,
  blocksAtFirst: number,
): Promise<number> {
  let blocks = blocksAtFirst;
  let attempt = 0;
  let waitingSince: number | null = null;
  let from = stretch.next;
  while (from < stretch.end) {
    stopIfAsked(run.signal);
    const to = Math.min(stretch.end, from + blocks);
    const next = part.last ? to : stretch.next;
    const started = monotonicMs();
    const update = work.statement({ leaf: stretch.leaf, from, to }, part.condition);
    const outcome = await runRange(client, work, update, stretch, next);
    const tookMs = monotonicMs() - started;
    if (outcome === 'locked') {
      waitingSince ??= started;
      await waitForRows(run, stretch, started - waitingSince, attempt++);
      blocks = Math.max(blocksMin, Math.floor(blocks / 4));
      continue;
    }
    if (outcome === 'gone') return blocks;
    work.onRange((to - from) * part.share, outcome.rows);
    attempt = 0;
    waitingSince = null;
    // The last range of a stretch may be short: its time tells nothing of the size.
    if (to - from === blocks) blocks = nextSize(blocks, outcome.heldMs, tookMs);
    from = to;
    stretch.next = next;
    await work.throttle.pace(tookMs, run.signal);
  }
  return blocks;
}

/**
 * Only the time with rows locked shrinks a range below what is slow for another reason, such as users that are looked up
 * without an index and are hashed for each range: small ranges would do that more often, and nobody waits for it.
 */
export function nextSize(blocks: number, heldMs: number, tookMs: number): number {
  const wanted = Math.min(heldTargetMs / Math.max(heldMs, 1), Math.max(rangeTargetMs / Math.max(tookMs, 1), 1));
  const factor = Math.min(2, Math.max(0.5, wanted));
  return Math.min(blocksMax, Math.max(blocksMin, Math.round(blocks * factor)));
}

interface Changed {
  readonly rows: number;
  /** From the first row that was changed, and locked by that, to the end of the statement. */
  readonly heldMs: number;
}

/** @returns what was changed; `locked` to be tried again, `gone` when the leaf is not there any more */
async function runRange(
  client: Connection,
  work: RangeWork,
  update: string,
  stretch: Stretch,
  next: number,
): Promise<Changed | 'locked' | 'gone'> {
  try {
    if (work.record) await client.query('begin');
    const { rows } = await client.query<Changed>(
      `with changed as (${update} returning clock_timestamp() as at)
      select count(*)::float8 as rows,
        coalesce(extract(epoch from clock_timestamp() - min(at)) * 1000, 0)::float8 as "heldMs"
      from changed`,
    );
    const [changed] = rows;
    if (!changed) throw new Error('an aggregate returned no row');
    if (!work.record) return changed;
    const mine = await work.record(client, stretch, next, changed.rows);
    if (!mine) throw problem('rollout_in_progress', `somebody else works through ${stretch.leaf} at the same time`);
    await client.query('commit');
    return changed;
  } catch (error) {
    if (work.record) await client.query('rollback').catch(() => {});
    const state = sqlState(error) ?? '';
    if (['55P03', '40P01', '40001'].includes(state)) return 'locked';
    // A partition may be dropped while the rollout runs.
    if (state === '42P01' && (await blocksOf(client, stretch.leaf)) === 0) return 'gone';
    throw error;
  }
}

async function waitForRows(run: StepRun, stretch: Stretch, waitedMs: number, attempt: number): Promise<void> {
  const holders = attempt < 3 ? null : await run.observe((observer) => holdersOf(observer, [stretch.leaf]));
  if (waitedMs > run.options.rowLockRetryMs) {
    throw problem(
      'rollout_failed',
      `rows of ${stretch.leaf} have been locked for ${Math.round(waitedMs / 1000)} s` +
        `${holders === null ? '' : `: ${stretch.leaf} is in use by ${holders}`}`,
    );
  }
  if (holders !== null) run.report({ note: `waits for rows of ${stretch.leaf}, in use by ${holders}` });
  await pause(retryDelay(attempt), run.signal);
}

/**
 * The planner sees one range, not the thousands that follow. For 800 rows and 30 000 parents it reads all parents into a
 * hash, or the whole table to join it by place, and does it again for each range: with the default costs, made for disks,
 * that takes longer than the update. What all ranges look up is in memory after the first few. A table without an index
 * to look up in is hashed still.
 */
const lookUpRatherThanScan = `
  set seq_page_cost = 0.1; set random_page_cost = 0.1; set enable_mergejoin = off; set jit = off`;

async function prepareWorker(run: StepRun, client: Connection): Promise<void> {
  // Nothing is lost that is relied on: the entry in the ledger goes with the rows, and the step's end is synchronous.
  await client.query(`set synchronous_commit = off; set lock_timeout = ${rowLockTimeoutMs}; set row_security = off`);
  await client.query(lookUpRatherThanScan);
  // Triggers of the application must not take this for an edit of the row. References with the owner are checked in the
  // phase that makes them, after the last sweep; while it works, a parent has its new owner before its children do.
  if (phases.indexOf(run.step.phase) <= phases.indexOf('keys')) {
    // Not everybody may: then the triggers fire, and references have to be such that a sweep keeps them.
    await client.query('set session_replication_role = replica').catch(() => {});
  }
}
