/**
 * The updates of all tables once more, until none changes a row. A writer's transaction may have taken a row's owner from
 * a parent that got another one meanwhile; parents go first, so that a change goes down as far as it reaches.
 */
import { problem } from '../../errors.ts';
import type { Action, Sweep } from '../plan.ts';
import { blocksOf, rangeStatement, runRanges, stretchesOf } from './block-ranges.ts';
import { createMeter } from './meter.ts';
import { type StepRun, stopIfAsked } from './step-run.ts';
import type { Throttle } from './throttle.ts';

const passesMax = 50;

/** @throws Problem `rollout_refused` when there is no end to it */
export async function reconcile(
  run: StepRun,
  { sweeps }: Extract<Action, { kind: 'reconcile' }>,
  throttle: Throttle,
): Promise<void> {
  let rows = 0;
  for (let pass = 1; pass <= passesMax; pass++) {
    let changed = 0;
    for (const sweep of sweeps) changed += await sweepWhole(run, sweep, throttle);
    rows += changed;
    if (changed === 0) {
      await run.finish(run.client, { rows, passes: pass });
      return;
    }
  }
  throw problem(
    'rollout_refused',
    `owners still change after ${passesMax} passes over all tables. Either the rules of two tables contradict each ` +
      'other (see `ringfence plan`), or something sets owners back all the time.',
  );
}

/** A self reference hands owners down one generation a time. */
async function sweepWhole(run: StepRun, sweep: Sweep, throttle: Throttle): Promise<number> {
  let rows = 0;
  for (;;) {
    const changed = await sweepOnce(run, sweep, throttle);
    rows += changed;
    if (changed === 0 || !sweep.recursive) return rows;
  }
}

async function sweepOnce(run: StepRun, sweep: Sweep, throttle: Throttle): Promise<number> {
  stopIfAsked(run.signal);
  const stretches = [];
  for (const leaf of sweep.leaves) {
    stretches.push(...stretchesOf(leaf, await blocksOf(run.client, leaf), run.options.workers));
  }
  const total = stretches.reduce((sum, stretch) => sum + stretch.end - stretch.first, 0);
  const meter = createMeter(run, throttle, { done: 0, total, rows: 0 });
  await runRanges(run, {
    stretches,
    statement: (leaf, from, to) => rangeStatement(sweep.update, leaf, from, to),
    record: async () => true,
    onRange: meter.add,
    throttle,
  });
  return meter.rows;
}
