/** One step of a plan: its action, its progress, its entry in the ledger. */
import type { Connection } from '../connection.ts';
import type { Action, Plan, Step } from '../plan.ts';
import { markDone, markRunning, markUndone } from '../state.ts';
import { backfill } from './backfill.ts';
import { runCheck } from './check.ts';
import { buildIndex, dropIndex } from './concurrent-index.ts';
import type { Observer } from './observer.ts';
import { reconcile } from './reconcile.ts';
import { writeRunning } from './running.ts';
import { saveOwners } from './save-owners.ts';
import { compareShadow } from './shadow-compare.ts';
import { runUnderShortLock } from './short-lock.ts';
import {
  type Detail,
  type Direction,
  defaultSettings,
  type Progress,
  type RunEvent,
  type RunSettings,
  type StepRun,
} from './step-run.ts';
import { defaultLimits, startThrottle, type Throttle, type ThrottleLimits } from './throttle.ts';
import { validateConstraint } from './validate.ts';

export interface RunOptions extends Partial<Omit<RunSettings, 'throttle'>> {
  readonly throttle?: Partial<ThrottleLimits>;
  readonly onEvent?: (event: RunEvent) => void;
  /** Aborted when the run is to stop at the next good place. */
  readonly signal?: AbortSignal;
}

export interface RunContext {
  readonly url: string;
  readonly plan: Plan;
  readonly options: RunOptions;
  readonly client: Connection;
  readonly observer: Observer;
  readonly signal: AbortSignal;
}

export interface Consent {
  readonly acceptDataLoss?: boolean;
  readonly force?: boolean;
}

/** Runs a step's action in a direction. @returns what the ledger now says of it */
export async function runStep(
  context: RunContext,
  direction: Direction,
  step: Step,
  { acceptDataLoss = false, force = false }: Consent,
): Promise<Detail> {
  const { client, observer, options, plan } = context;
  const action = step[direction];
  const mark = direction === 'up' ? markDone : markUndone;
  let finished: Detail | null = null;
  const reporter = await startReporter(context, direction, step);
  const stepRun: StepRun = {
    url: context.url,
    client,
    observe: (look) => observer.look(look),
    planHash: plan.hash,
    step,
    direction,
    signal: context.signal,
    acceptDataLoss,
    force,
    options: {
      workers: options.workers ?? defaultSettings.workers,
      lockRetryMs: options.lockRetryMs ?? defaultSettings.lockRetryMs,
      rowLockRetryMs: options.rowLockRetryMs ?? defaultSettings.rowLockRetryMs,
      throttle: { ...defaultLimits, ...options.throttle },
    },
    async finish(connection, detail) {
      await mark(connection, plan.hash, step.id, detail);
      finished = detail;
    },
    report: reporter.report,
    say: (message) => options.onEvent?.({ kind: 'note', message }),
  };
  try {
    // Also on the way back: what is half taken back must not count as done.
    if (action !== null && leavesTraces(action, direction)) await markRunning(client, plan.hash, step.id);
    await runAction(stepRun, action);
  } finally {
    reporter.stop();
  }
  if (finished === null) throw new Error(`${step.id} ended without an entry in the ledger`);
  return finished;
}

/** One transaction is there or not; a look changes nothing, so that a refused way back leaves the step as it was. */
function leavesTraces(action: Action, direction: Direction): boolean {
  if (action.kind === 'check' || action.kind === 'shadow') return direction === 'up';
  return action.kind !== 'sql';
}

async function runAction(stepRun: StepRun, action: Action | null): Promise<void> {
  switch (action?.kind) {
    case undefined:
      return stepRun.finish(stepRun.client, {});
    case 'sql':
      return runUnderShortLock(stepRun, action);
    case 'index':
      return buildIndex(stepRun, action);
    case 'dropIndex':
      return dropIndex(stepRun, action);
    case 'validate':
      return validateConstraint(stepRun, action);
    case 'check':
      return runCheck(stepRun, action);
    case 'shadow':
      return compareShadow(stepRun, action);
    case 'saveOwners':
      return saveOwners(stepRun, action);
    case 'backfill':
      return withThrottle(stepRun, action.sweep.leaves, (throttle) => backfill(stepRun, action, throttle));
    case 'reconcile':
      return withThrottle(
        stepRun,
        action.sweeps.flatMap((sweep) => sweep.leaves),
        (throttle) => reconcile(stepRun, action, throttle),
      );
  }
}

async function withThrottle(
  stepRun: StepRun,
  leaves: readonly string[],
  work: (throttle: Throttle) => Promise<void>,
): Promise<void> {
  const throttle = await startThrottle(stepRun.url, leaves[0] ?? 'pg_catalog.pg_class', stepRun.options.throttle, {
    say: stepRun.say,
    onReason: (reason) => stepRun.report({ note: reason === null ? null : `held back: ${reason}` }),
  });
  try {
    await work(throttle);
  } finally {
    await throttle.stop();
  }
}

const noProgress: Progress = {
  done: 0,
  total: null,
  unit: 'blocks',
  rows: 0,
  rowsPerSecond: null,
  secondsLeft: null,
  note: null,
};
const writeEveryMs = 1_000;

/** Hands progress on, and writes it for `status` once a second while the step runs. */
async function startReporter(context: RunContext, direction: Direction, step: Step) {
  const { rows } = await context.client.query<{ pid: number }>('select pg_backend_pid() as pid');
  const pid = rows[0]?.pid ?? 0;
  let progress: Progress | null = null;
  let writing = false;
  const write = () => {
    if (writing) return;
    writing = true;
    context.observer
      .look((client) => writeRunning(client, { pid, direction, stepId: step.id, progress }))
      // That nobody can look on is no reason to stop.
      .catch(() => {})
      .finally(() => {
        writing = false;
      });
  };
  write();
  const timer = setInterval(write, writeEveryMs);
  return {
    report(change: Partial<Progress>) {
      progress = { ...(progress ?? noProgress), ...change };
      context.options.onEvent?.({ kind: 'progress', step, progress });
    },
    stop: () => clearInterval(timer),
  };
}
