/**
 * Runs a plan, forwards or back. The ledger says what is done, so that a run that ended anyhow (a fault, an interrupt,
 * kill -9, the server's end) is taken up where it was.
 */
import { monotonicMs } from '../../clock.ts';
import { Problem, problem } from '../../errors.ts';
import { type Connection, databaseFault, isConnectionLoss, messageOf } from '../connection.ts';
import { type Action, backTo, type Phase, type Plan, phases, type Step, upTo } from '../plan.ts';
import {
  distrust,
  freeze,
  installState,
  type LedgerEntry,
  markDone,
  markRunning,
  markUndone,
  readFrozenPlan,
  readLedger,
  recordEvent,
} from '../state.ts';
import { backfill } from './backfill.ts';
import { runCheck } from './check.ts';
import { buildIndex, dropIndex } from './concurrent-index.ts';
import { withRolloutLock } from './lock.ts';
import { type Observer, openObserver } from './observer.ts';
import { reconcile } from './reconcile.ts';
import { clearRunning, writeRunning } from './running.ts';
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
  Stopped,
  stopIfAsked,
} from './step-run.ts';
import { defaultLimits, startThrottle, type Throttle, type ThrottleLimits } from './throttle.ts';
import { validateConstraint } from './validate.ts';

interface CommonOptions extends Partial<Omit<RunSettings, 'throttle'>> {
  readonly throttle?: Partial<ThrottleLimits>;
  readonly onEvent?: (event: RunEvent) => void;
  /** Aborted when the run is to stop at the next good place. */
  readonly signal?: AbortSignal;
}

export interface ApplyOptions extends CommonOptions {
  /** The last phase to run; without it `cutover`, up to which the old application goes on as before. */
  readonly until?: Phase;
  /** Seal although the old application is there still. */
  readonly force?: boolean;
}

export interface RollbackOptions extends CommonOptions {
  /** The phase to be left standing; null takes everything back. */
  readonly to: Phase | null;
  /** Do not refuse when rows of two users have come to share an id: those in the way are set aside. */
  readonly acceptDataLoss?: boolean;
}

export interface RunSummary {
  readonly direction: Direction;
  readonly planHash: string;
  /** Steps that were run now. */
  readonly steps: number;
  readonly milliseconds: number;
  readonly rows: number;
  /** WAL of the whole server meanwhile; null where it cannot be read. */
  readonly walBytes: number | null;
  /** The longest that a step may have kept somebody waiting: from its first request for a lock to its commit. */
  readonly longestLockMs: number;
  readonly longestLockStep: string | null;
  /** Rows that stood in the way back and were set aside. */
  readonly displaced: number;
  /** Steps of the plan that are not done now. */
  readonly left: number;
}

/**
 * Runs what is missing of a plan, up to and with a phase, and freezes the plan where it is not.
 *
 * @throws Problem `rollout_in_progress`, `rollout_refused` when another plan is in force or a check says no, `rollout_failed`
 *   with the step and how to go on, `database_unavailable`
 */
export async function applyPlan(url: string, plan: Plan, options: ApplyOptions = {}): Promise<RunSummary> {
  return run(url, 'apply', plan, options, async (walker) => {
    await putInForce(walker.client, plan);
    const steps = upTo(plan, options.until ?? 'cutover');
    await walker.walk('up', steps, (_, entry) => entry?.state !== 'done', { force: options.force === true });
  });
}

/**
 * Runs a plan's inverses, newest first, of every step that is done or was begun.
 *
 * @throws Problem as `applyPlan`
 */
export async function rollbackPlan(url: string, plan: Plan, options: RollbackOptions): Promise<RunSummary> {
  return run(url, 'rollback', plan, options, async (walker) => {
    const stands = (_: Step, entry: LedgerEntry | undefined) => entry !== undefined && entry.state !== 'undone';
    await walker.walk('down', after(plan, options.to), stands, {
      inverses: new Set(backTo(plan, options.to)),
      acceptDataLoss: options.acceptDataLoss === true,
    });
  });
}

/** All steps after a phase, newest first: also those whose inverse is of no use this time. */
function after(plan: Plan, phase: Phase | null): readonly Step[] {
  const kept = phase === null ? -1 : phases.indexOf(phase);
  return plan.steps.filter((step) => phases.indexOf(step.phase) > kept).toReversed();
}

async function putInForce(client: Connection, plan: Plan): Promise<void> {
  const inForce = await readFrozenPlan(client);
  if (inForce?.hash === plan.hash) return;
  if (inForce !== null && [...(await readLedger(client, inForce.hash)).values()].some((e) => e.state !== 'undone')) {
    throw problem(
      'rollout_refused',
      `Another plan (${inForce.hash.slice(0, 12)}) is in force and partly done. ` +
        'Go on with that one, or take it back with `ringfence rollback` first.',
    );
  }
  await freeze(client, plan);
}

interface WalkOptions {
  /** Steps whose inverse is run; of the others it only counts that they are taken back. */
  readonly inverses?: ReadonlySet<Step>;
  readonly acceptDataLoss?: boolean;
  readonly force?: boolean;
}

interface Walker {
  readonly client: Connection;
  walk(
    direction: Direction,
    steps: readonly Step[],
    due: (step: Step, entry: LedgerEntry | undefined) => boolean,
    walk: WalkOptions,
  ): Promise<void>;
}

async function run(
  url: string,
  verb: 'apply' | 'rollback',
  plan: Plan,
  options: CommonOptions,
  work: (walker: Walker) => Promise<void>,
): Promise<RunSummary> {
  return withRolloutLock(url, verb, async (client, lost) => {
    // A session without a policy's permission must see an error, never a part of a table.
    await client.query('set row_security = off');
    await installState(client);
    const observer = await openObserver(url);
    const signal = AbortSignal.any([lost, ...(options.signal ? [options.signal] : [])]);
    const tally = startTally(verb === 'apply' ? 'up' : 'down', plan, await walPosition(client));
    const context = { url, plan, options, client, observer, signal, tally };
    try {
      await work({ client, walk: (...walk) => walkSteps(context, ...walk) });
      const summary = await tally.end(client);
      await recordEvent(client, verb, { ...summary });
      return summary;
    } finally {
      await observer.look(clearRunning).catch(() => {});
      await observer.close();
    }
  });
}

interface Context {
  readonly url: string;
  readonly plan: Plan;
  readonly options: CommonOptions;
  readonly client: Connection;
  readonly observer: Observer;
  readonly signal: AbortSignal;
  readonly tally: Tally;
}

async function walkSteps(
  context: Context,
  direction: Direction,
  steps: readonly Step[],
  due: (step: Step, entry: LedgerEntry | undefined) => boolean,
  walk: WalkOptions,
): Promise<void> {
  const { client, options, plan } = context;
  const ledger = await readLedger(client, plan.hash);
  const tell = options.onEvent ?? (() => {});
  const left = steps.filter((step) => due(step, ledger.get(step.id)));
  tell({ kind: 'begin', direction, steps: steps.length, left: left.length });
  for (const step of left) {
    const number = plan.steps.indexOf(step) + 1;
    const of = plan.steps.length;
    if (walk.inverses?.has(step) === false) {
      await skipInverse(client, plan, step);
      continue;
    }
    const started = monotonicMs();
    try {
      stopIfAsked(context.signal);
      tell({ kind: 'step', direction, step, number, of });
      const detail = await runStep(context, direction, step, walk);
      context.tally.add(step, detail);
      tell({ kind: 'stepDone', direction, step, number, of, milliseconds: monotonicMs() - started, detail });
    } catch (error) {
      throw stepFault(error, direction, `Step ${number} of ${of} (${step.id}: ${step.title})`, context);
    }
  }
}

/**
 * What an earlier phase made is not brought back, since that phase goes as well. Until it has, its steps must not count as
 * done: an apply that comes in between makes them anew.
 */
async function skipInverse(client: Connection, plan: Plan, step: Step): Promise<void> {
  await client.query('begin');
  try {
    const made = plan.steps.filter((other) => other.phase === step.restores);
    await distrust(
      client,
      plan.hash,
      made.map(({ id }) => id),
    );
    await markUndone(client, plan.hash, step.id, { skipped: true });
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => {});
    throw error;
  }
}

async function runStep(
  context: Context,
  direction: Direction,
  step: Step,
  { acceptDataLoss = false, force = false }: WalkOptions,
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
async function startReporter(context: Context, direction: Direction, step: Step) {
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

/** What stands and how to go on, whatever happened. A Problem of the step keeps its code. */
function stepFault(error: unknown, direction: Direction, step: string, { options, signal }: Context): unknown {
  const again = direction === 'up' ? '`ringfence apply`' : '`ringfence rollback`';
  const other = direction === 'up' ? '`ringfence rollback` to take it back' : '`ringfence apply` to put it back';
  const goOn = `run ${again} again to go on, or ${other}`;
  if (error instanceof Stopped && (options.signal?.aborted || !signal.aborted)) {
    return problem(
      'rollout_failed',
      `Stopped before the end of ${lowerFirst(step)}. All that is done stands; ${goOn}.`,
    );
  }
  if (error instanceof Stopped || isConnectionLoss(error)) {
    const why = error instanceof Stopped ? '' : `: ${messageOf(error)}`;
    return problem(
      'database_unavailable',
      `${step}: the connection was lost${why}. Everything before it stands; ${goOn}.`,
      {},
      { cause: error },
    );
  }
  const known = databaseFault(error);
  if (!(known instanceof Problem)) return error;
  const sentence = /[.:\n]$/.test(known.message) ? known.message : `${known.message}.`;
  return problem(known.code, `${step} failed: ${sentence}\nEverything before it stands; ${goOn}.`, known.extensions, {
    cause: error,
  });
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

interface Tally {
  add(step: Step, detail: Detail): void;
  end(client: Connection): Promise<RunSummary>;
}

function startTally(direction: Direction, plan: Plan, walAtStart: number | null): Tally {
  const started = monotonicMs();
  let [steps, rows, displaced, longestLockMs] = [0, 0, 0, 0];
  let longestLockStep: string | null = null;
  return {
    add(step, detail) {
      steps++;
      rows += detail.rows ?? 0;
      displaced += detail.displaced ?? 0;
      if ((detail.lockMs ?? 0) <= longestLockMs) return;
      longestLockMs = detail.lockMs ?? 0;
      longestLockStep = step.id;
    },
    async end(client) {
      const walNow = await walPosition(client);
      const ledger = await readLedger(client, plan.hash);
      return {
        direction,
        planHash: plan.hash,
        steps,
        milliseconds: Math.round(monotonicMs() - started),
        rows,
        walBytes: walAtStart === null || walNow === null ? null : walNow - walAtStart,
        longestLockMs,
        longestLockStep,
        displaced,
        left: plan.steps.filter((step) => ledger.get(step.id)?.state !== 'done').length,
      };
    },
  };
}

async function walPosition(client: Connection): Promise<number | null> {
  try {
    const { rows } = await client.query<{ bytes: number }>("select (pg_current_wal_lsn() - '0/0')::float8 as bytes");
    return rows[0]?.bytes ?? null;
  } catch {
    return null;
  }
}
