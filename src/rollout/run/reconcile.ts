/**
 * The updates of all tables once more, where rows are found that need it, until none is found. A writer's transaction may
 * have taken a row's owner from a parent that got another one meanwhile; parents go first, so that a change goes down as far
 * as it reaches.
 */
import { problem } from '../../errors.ts';
import type { Action, Sweep } from '../plan.ts';
import { rangeStatement, runRanges } from './block-ranges.ts';
import { findWrong } from './find-wrong.ts';
import { createMeter } from './meter.ts';
import type { StepRun } from './step-run.ts';
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
    let found = false;
    for (const sweep of sweeps) {
      const outcome = await sweepWhole(run, sweep, throttle);
      rows += outcome.rows;
      found ||= outcome.found;
    }
    if (!found) {
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

interface Outcome {
  /** That the update then changed nothing is no proof: the row may have moved away from where it was found. */
  readonly found: boolean;
  readonly rows: number;
}

/** A self reference hands owners down one generation a time. */
async function sweepWhole(run: StepRun, sweep: Sweep, throttle: Throttle): Promise<Outcome> {
  let found = false;
  let rows = 0;
  for (;;) {
    const outcome = await sweepOnce(run, sweep, throttle);
    rows += outcome.rows;
    found ||= outcome.found;
    if (outcome.rows === 0 || !sweep.recursive) return { found, rows };
  }
}

async function sweepOnce(run: StepRun, sweep: Sweep, throttle: Throttle): Promise<Outcome> {
  const stretches = await findWrong(run, sweep);
  if (stretches.length === 0) return { found: false, rows: 0 };
  const total = stretches.reduce((sum, stretch) => sum + stretch.end - stretch.first, 0);
  const meter = createMeter(run, throttle, { done: 0, total, rows: 0 });
  await runRanges(run, {
    stretches,
    statement: (range, part) => rangeStatement(sweep.update, range, part),
    onRange: meter.add,
    throttle,
  });
  return { found: true, rows: meter.rows };
}
