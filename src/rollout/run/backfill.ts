/** The owner of every row that is there, in ranges that are remembered: what is done is not done again. */
import type { Action, Sweep } from '../plan.ts';
import { blocksOf, rangeStatement, runRanges, type Stretch, stretchesOf } from './block-ranges.ts';
import { createMeter } from './meter.ts';
import type { StepRun } from './step-run.ts';
import type { Throttle } from './throttle.ts';

/**
 * Blocks that are added later hold rows whose owner the triggers know, or old rows that a writer has touched, for which
 * the same holds.
 */
export async function backfill(
  run: StepRun,
  { sweep }: Extract<Action, { kind: 'backfill' }>,
  throttle: Throttle,
): Promise<void> {
  await layOut(run, sweep);
  const state = await readStretches(run);
  const meter = createMeter(run, throttle, state);
  await runRanges(run, {
    stretches: state.stretches,
    statement: (range, part) => rangeStatement(sweep.update, range, sweep.unclaimed, part),
    async record(worker, stretch, next, rows) {
      const { rowCount } = await worker.query(
        `update ringfence_rollout.ranges set next_block = $6, rows = rows + $7
        where plan_hash = $1 and step_id = $2 and leaf = $3 and first_block = $4 and next_block = $5`,
        [run.planHash, run.step.id, stretch.leaf, stretch.first, stretch.next, next, rows],
      );
      return rowCount === 1;
    },
    onRange: meter.add,
    throttle,
  });
  await run.finish(run.client, { rows: meter.rows, blocks: meter.done });
}

/** Cuts the leaves into stretches, unless an earlier run has. */
async function layOut(run: StepRun, sweep: Sweep): Promise<void> {
  const { client } = run;
  await client.query('begin');
  try {
    const key = [run.planHash, run.step.id];
    const { rowCount } = await client.query(
      'select from ringfence_rollout.ranges where plan_hash = $1 and step_id = $2 limit 1',
      key,
    );
    for (const leaf of rowCount === 0 ? sweep.leaves : []) {
      const stretches = stretchesOf(leaf, await blocksOf(client, leaf), run.options.workers);
      await client.query(
        `insert into ringfence_rollout.ranges (plan_hash, step_id, leaf, first_block, next_block, end_block)
        select $1, $2, $3, first, first, "end"
        from jsonb_to_recordset($4) as stretch (first bigint, "end" bigint)`,
        [...key, leaf, JSON.stringify(stretches)],
      );
    }
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => {});
    throw error;
  }
}

async function readStretches(
  run: StepRun,
): Promise<{ stretches: Stretch[]; done: number; total: number; rows: number }> {
  const { rows } = await run.client.query<Stretch & { rows: number }>(
    `select leaf, first_block::float8 as first, next_block::float8 as next, end_block::float8 as end, rows::float8
    from ringfence_rollout.ranges
    where plan_hash = $1 and step_id = $2
    order by leaf, first_block`,
    [run.planHash, run.step.id],
  );
  const sum = (figure: (row: (typeof rows)[number]) => number) => rows.reduce((total, row) => total + figure(row), 0);
  return {
    stretches: rows.filter((row) => row.next < row.end),
    done: sum((row) => row.next - row.first),
    total: sum((row) => row.end - row.first),
    rows: sum((row) => row.rows),
  };
}
