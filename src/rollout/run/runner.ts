/**
 * Runs a plan, forwards or back. The ledger says what is done, so that a run that ended anyhow (a fault, an interrupt,
 * kill -9, the server's end) is taken up where it was.
 */
import { monotonicMs } from '../../clock.ts';
import { Problem, problem } from '../../errors.ts';
import { type Connection, databaseFault, isConnectionLoss, messageOf } from '../connection.ts';
import { backTo, type Phase, type Plan, phases, type Step, upTo } from '../plan.ts';
import {
  distrust,
  forgetUnbegun,
  freeze,
  installState,
  type LedgerEntry,
  markUndone,
  readFrozenPlan,
  readLedger,
  recordEvent,
} from '../state.ts';
import { withRolloutLock } from './lock.ts';
import { openObserver } from './observer.ts';
import { type Consent, type RunContext, type RunOptions, runStep } from './run-step.ts';
import { clearRunning } from './running.ts';
import { type Direction, Stopped, stopIfAsked } from './step-run.ts';
import { type RunSummary, startTally, type Tally } from './tally.ts';

export interface ApplyOptions extends RunOptions {
  /** The last phase to run; without it `cutover`, up to which the old application goes on as before. */
  readonly until?: Phase;
  /** Seal although the old application is there still. */
  readonly force?: boolean;
}

export interface RollbackOptions extends RunOptions {
  /** The phase to be left standing; null takes everything back. */
  readonly to: Phase | null;
  /** Do not refuse when rows of two users have come to share an id: those in the way are set aside. */
  readonly acceptDataLoss?: boolean;
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
    await refuseHalfWayBack(walker.client, plan);
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
    // Its first step had failed: it would stay in force, whatever the configuration says by now.
    if (options.to === null) await forgetUnbegun(walker.client, plan.hash);
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

/**
 * While keys are swapped back, what `apply` would swap forwards with is gone and not there again yet. The last of the
 * phase's entries tells the direction: an apply that was broken off ends with one that is done.
 */
async function refuseHalfWayBack(client: Connection, plan: Plan): Promise<void> {
  const ledger = await readLedger(client, plan.hash);
  const entries = plan.steps.flatMap(({ id, phase }) => (phase === 'contract' ? (ledger.get(id) ?? []) : []));
  const ended = entries.filter(({ finishedAt }) => finishedAt !== null);
  const last = ended.toSorted((a, b) => Number(a.finishedAt) - Number(b.finishedAt)).at(-1);
  if (last?.state !== 'undone' || !entries.some(({ state }) => state === 'done')) return;
  throw problem(
    'rollout_refused',
    'A rollback was broken off within the phase contract, where it cannot be turned round. Go on with it: `ringfence rollback --level app`, or `--level database --yes`. Then `ringfence apply` may follow.',
  );
}

interface WalkOptions extends Consent {
  /** Steps whose inverse is run; of the others it only counts that they are taken back. */
  readonly inverses?: ReadonlySet<Step>;
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
  options: RunOptions,
  work: (walker: Walker) => Promise<void>,
): Promise<RunSummary> {
  return withRolloutLock(url, verb, async (client, lost) => {
    // A session without a policy's permission must see an error, never a part of a table.
    await client.query('set row_security = off');
    await installState(client);
    const observer = await openObserver(url);
    const signal = AbortSignal.any([lost, ...(options.signal ? [options.signal] : [])]);
    const tally = await startTally(verb === 'apply' ? 'up' : 'down', plan, client);
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

async function walkSteps(
  context: RunContext & { readonly tally: Tally },
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

/** What stands and how to go on, whatever happened. A Problem of the step keeps its code. */
function stepFault(error: unknown, direction: Direction, step: string, { options, signal }: RunContext): unknown {
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
