/** Makes each defect in turn and looks whether its tests notice; two at a time, each on a copy of its own. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setEnvironment } from '../../../support/environment.ts';
import { statement } from '../../../support/postgres.ts';
import { cleanUp, type Lane, openLane, withDefect } from './lane.ts';
import type { Mutant } from './mutant.ts';
import { type FailedTest, runTests } from './test-run.ts';
import { applyEdits } from './tree.ts';

const root = fileURLToPath(new URL('../../../../', import.meta.url));

export interface Outcome {
  readonly mutant: Mutant;
  /** The first test that failed; null when every one of its tests passed: a survivor. */
  readonly killedBy: FailedTest | null;
  /** Why nothing can be said about it: it no longer applies, or its tests could not be run. */
  readonly fault: string | null;
  readonly seconds: number;
}

export interface HuntOptions {
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface Hunt {
  /** Tests that fail without any defect: what fails with one then says nothing. */
  readonly failing: readonly string[];
  readonly outcomes: readonly Outcome[];
}

const lanesMax = 2;

export async function hunt(mutants: readonly Mutant[], options: HuntOptions): Promise<Hunt> {
  const { say, signal } = options;
  setEnvironment();
  const scratch = mkdtempSync(join(tmpdir(), 'ringfence-mutants-'));
  // As root, Postgres runs as another user, who has to pass through.
  chmodSync(scratch, 0o711);
  const lanes: Lane[] = [];
  try {
    for (let i = 0; i < lanesMax; i += 1) lanes.push(await openLane(root, join(scratch, String(i))));
    const suites = [...new Set(mutants.flatMap((mutant) => mutant.suites))];
    const before = await withoutDefect(lanes, suites, options);
    if (before.length > 0) return { failing: before, outcomes: [] };
    const outcomes = new Map<Mutant, Outcome>();
    await inLanes(lanes, mutants, async (lane, mutant) => {
      const outcome = await tryOut(lane, mutant, signal);
      outcomes.set(mutant, outcome);
      say(`${outcomes.size}/${mutants.length} ${lineOf(outcome)}`);
    });
    // A defect that outlived its run would have killed those that came after it.
    const failing = await withoutDefect(lanes, suites.filter(sharesServer(mutants)), options);
    return { failing, outcomes: mutants.flatMap((mutant) => outcomes.get(mutant) ?? []) };
  } finally {
    await Promise.all(lanes.map((lane) => lane.stop()));
    rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Test files that look for defects of the database. */
function sharesServer(mutants: readonly Mutant[]): (suite: string) => boolean {
  const asked = new Set(mutants.flatMap(({ made, suites }) => ('sql' in made ? suites : [])));
  return (suite) => asked.has(suite);
}

/** Each takes the next that is left. */
async function inLanes<T>(
  lanes: readonly Lane[],
  work: readonly T[],
  each: (lane: Lane, one: T) => Promise<void>,
): Promise<void> {
  const left = [...work];
  await Promise.all(
    lanes.map(async (lane) => {
      for (let one = left.shift(); one !== undefined; one = left.shift()) await each(lane, one);
    }),
  );
}

/** @returns what failed, or could not be run */
async function withoutDefect(
  lanes: readonly Lane[],
  suites: readonly string[],
  { say, signal }: HuntOptions,
): Promise<string[]> {
  const failing: string[] = [];
  await inLanes(lanes, suites, async (lane, suite) => {
    const started = performance.now();
    await cleanUp(lane);
    const verdict = await runTests(lane, { suites: [suite], templates: lane.templates, hasty: false, signal });
    if (verdict.kind === 'failed') failing.push(`${suite}: ${verdict.first.test}`);
    if (verdict.kind === 'broken') failing.push(`${suite}: ${verdict.why}`);
    say(`without a defect: ${suite} ${verdict.kind} (${secondsSince(started).toFixed(1)} s)`);
  });
  return failing;
}

async function tryOut(lane: Lane, mutant: Mutant, signal: AbortSignal): Promise<Outcome> {
  const started = performance.now();
  const outcome = (killedBy: FailedTest | null, fault: string | null = null): Outcome => ({
    mutant,
    killedBy,
    fault,
    seconds: secondsSince(started),
  });
  let restore: () => unknown = () => {};
  try {
    await cleanUp(lane);
    const { made } = mutant;
    const templates = 'sql' in made ? await withDefect(lane, made.sql) : lane.templates;
    restore =
      'edits' in made ? applyEdits(lane.tree, made.edits) : () => made.undo && statement(lane.postgresUrl, made.undo);
    for (const suite of mutant.suites) {
      const verdict = await runTests(lane, { suites: [suite], templates, hasty: true, signal });
      if (verdict.kind === 'failed') return outcome(verdict.first);
      if (verdict.kind === 'broken') return outcome(null, verdict.why);
    }
    return outcome(null);
  } catch (error) {
    if (signal.aborted) throw error;
    return outcome(null, error instanceof Error ? error.message : String(error));
  } finally {
    await restore();
  }
}

const secondsSince = (started: number) => (performance.now() - started) / 1000;

function lineOf({ mutant, killedBy, fault, seconds }: Outcome): string {
  const what = fault !== null ? 'UNDECIDED' : killedBy === null ? 'SURVIVES' : 'killed';
  const by = fault ?? (killedBy === null ? '' : `${killedBy.suite}: ${killedBy.test}`);
  return `${what} ${mutant.breaks} ${mutant.name} (${seconds.toFixed(1)} s) ${by}`;
}
