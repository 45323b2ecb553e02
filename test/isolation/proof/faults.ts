/**
 * Faults between any two steps of a request: what is answered is right or a clean problem, what is written is written
 * once or not at all, and neither then nor afterwards does one user meet anything of another's (issue 4, point 6).
 */
import { type CutsSize, strikeEverywhere } from './faults/cuts.ts';
import type { Found } from './faults/disturb.ts';
import { happenDuring } from './faults/during.ts';
import { crossContexts, leaveThings, useDeadHandles } from './faults/handles.ts';
import { killPostgres, killServer } from './faults/kills.ts';
import { goThroughPgbouncer } from './faults/pgbouncer.ts';
import { openStage, type Stage } from './faults/stage.ts';
import { jumpInTime, rotateKeys } from './faults/time-and-keys.ts';
import type { ProofContext, ProofPart, ProofResult } from './part.ts';

const sizes = {
  short: {
    strikes: { requests: 'short', strikes: 40, milliseconds: 4_000 },
    behindPgbouncer: { requests: 'short', strikes: 15, milliseconds: 2_000 },
    during: 6_000,
    rounds: 20,
    kills: 1,
  },
  full: {
    strikes: { requests: 'all', strikes: Number.POSITIVE_INFINITY, milliseconds: 40_000 },
    behindPgbouncer: { requests: 'all', strikes: Number.POSITIVE_INFINITY, milliseconds: 15_000 },
    during: 40_000,
    rounds: 200,
    kills: 5,
  },
} as const satisfies Record<ProofContext['size'], Size>;

interface Size {
  readonly strikes: CutsSize;
  readonly behindPgbouncer: CutsSize;
  /** For statements that are disturbed while they run, in milliseconds. */
  readonly during: number;
  readonly rounds: number;
  readonly kills: number;
}

const faultsShownMax = 8;

type Check = (stage: Stage) => Promise<Found>;

async function onStage(context: ProofContext, poolSize: number, checks: readonly Check[]): Promise<Found[]> {
  const stage = await openStage(context, { poolSize });
  try {
    const found: Found[] = [];
    for (const check of checks) found.push(await check(stage));
    return found;
  } finally {
    await stage.close();
  }
}

async function runFaults(context: ProofContext): Promise<ProofResult> {
  const { strikes, behindPgbouncer, during, rounds, kills } = sizes[context.size];
  const steps: Record<string, () => Promise<Found | Found[]>> = {
    'pool of one': () => strikeEverywhere(context, strikes, { poolSize: 1 }),
    'pool of four': () => strikeEverywhere(context, strikes, { poolSize: 4 }),
    'running statements': () => happenDuring(context, { poolSize: 1 }, during),
    scopes: () => onStage(context, 1, [useDeadHandles, leaveThings, jumpInTime]),
    'contexts and keys': () =>
      onStage(context, 4, [(stage) => crossContexts(stage, rounds), (stage) => rotateKeys(stage, rounds)]),
    pgbouncer: () => goThroughPgbouncer(context, { strikes: behindPgbouncer, requestsEach: rounds }),
    'server killed': () => killServer(context, kills),
    'Postgres killed': () => killPostgres(context, kills),
  };
  const figures: Record<string, number | string> = {};
  const faults: string[] = [];
  for (const [step, run] of Object.entries(steps)) {
    if (context.signal.aborted) break;
    const started = performance.now();
    for (const found of [await run()].flat()) {
      for (const [what, figure] of Object.entries(found.figures)) {
        figures[what in figures ? `${step}: ${what}` : what] = figure;
      }
      const more = found.faults.length - faultsShownMax;
      faults.push(...found.faults.slice(0, faultsShownMax), ...(more > 0 ? [`and ${more} more, ${step}`] : []));
    }
    context.say(`faults: ${step} in ${Math.round(performance.now() - started)} ms, ${faults.length} faults`);
  }
  return { figures: { ...figures, seed: context.seed }, faults };
}

export const part: ProofPart = {
  name: 'faults',
  title: 'whatever breaks, and wherever: answers are right or clean, writes are whole, nobody meets another’s',
  run: runFaults,
};
