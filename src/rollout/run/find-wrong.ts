/**
 * Where the rows are that have another owner than the rule says: read in one snapshot, so that none is missed that moves to
 * another page meanwhile, and without a lock on a row. The planner may hash what is looked up, once for a
 * gigabyte; the update of a short range has to look up each row, which takes four times as long (3.7 and 0.9 µs a row).
 */
import { type Connection, sqlState } from '../connection.ts';
import type { Sweep } from '../plan.ts';
import { blocksOf, type Range, rangeStatement, type Stretch } from './block-ranges.ts';
import { type StepRun, stopIfAsked } from './step-run.ts';

/** A gigabyte: a run that is to stop waits for no more than that. */
const blocksAtOnce = 131_072;
/** Neighbours are updated by one worker, up to so many. */
const blocksTogether = 1_024;

/** @returns stretches with all of these rows, and others that lie among them */
export async function findWrong(run: StepRun, sweep: Sweep): Promise<Stretch[]> {
  const { client } = run;
  await client.query('begin isolation level repeatable read, read only');
  try {
    await client.query(`set local max_parallel_workers_per_gather = ${run.options.workers - 1}`);
    // The first query takes the snapshot: what it shows lies within these sizes.
    const ranges = await rangesOf(client, sweep);
    const total = ranges.reduce((sum, { from, to }) => sum + to - from, 0);
    const found: Stretch[] = [];
    let done = 0;
    for (const range of ranges) {
      stopIfAsked(run.signal);
      found.push(...(await wrongIn(client, sweep, range)));
      done += range.to - range.from;
      run.report({ done, total, unit: 'blocks' });
    }
    await client.query('commit');
    return found;
  } catch (error) {
    await client.query('rollback').catch(() => {});
    throw error;
  }
}

async function rangesOf(client: Connection, sweep: Sweep): Promise<Range[]> {
  const ranges: Range[] = [];
  for (const leaf of sweep.leaves) {
    const blocks = await blocksOf(client, leaf);
    for (let from = 0; from < blocks; from += blocksAtOnce) {
      ranges.push({ leaf, from, to: Math.min(blocks, from + blocksAtOnce) });
    }
  }
  return ranges;
}

async function wrongIn(client: Connection, sweep: Sweep, range: Range): Promise<Stretch[]> {
  const found: Stretch[] = [];
  for (const block of await wrongBlocks(client, sweep, range)) {
    const last = found.at(-1);
    const end = block + 1;
    if (last?.end === block && end - last.first <= blocksTogether) found[found.length - 1] = { ...last, end };
    else found.push({ leaf: range.leaf, first: block, next: block, end });
  }
  return found;
}

/** @returns in order */
async function wrongBlocks(client: Connection, sweep: Sweep, range: Range): Promise<number[]> {
  await client.query('savepoint range');
  try {
    const { rows } = await client.query<{ block: number }>(
      `select distinct (wrong.ctid::text::point)[0] as block from (${rangeStatement(sweep.search, range)}) wrong order by 1`,
    );
    return rows.map(({ block }) => block);
  } catch (error) {
    await client.query('rollback to savepoint range');
    // A partition may be dropped while the rollout runs.
    if (sqlState(error) === '42P01' && (await blocksOf(client, range.leaf)) === 0) return [];
    throw error;
  }
}
