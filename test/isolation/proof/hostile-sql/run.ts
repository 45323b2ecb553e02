/** Runs attempts through lanes, holds the two worlds against each other, and says what it found. */
import { readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { withOwner } from '../../../../src/database/owner.ts';
import { type ProofContext, type ProofResult, replayOf } from '../part.ts';
import { reasonOf } from './explain.ts';
import { type Attempt, makeAttempt } from './families.ts';
import { isChancy, Lane, type Observation } from './lane.ts';
import { checkNeighbours } from './neighbours.ts';
import { firstDifference, same } from './trace.ts';
import { readWords } from './vocabulary.ts';
import { hashOfOthers, makeWorlds, type Shape, type Worlds } from './worlds.ts';

interface LanePlan {
  readonly shape: Shape;
  /** Numbers of the attempts, from and below. */
  readonly from: number;
  readonly below: number;
}

interface RunOptions {
  readonly lanes: readonly LanePlan[];
  /** Statements of the next user on a connection that a hostile one was on. */
  readonly neighbours: number;
  /** A defect to plant, as SQL that the owner runs in both worlds. */
  readonly spoil?: string;
  /** Ends at the first fault: for showing that there is one. */
  readonly hasty?: boolean;
}

const framesEvery = 2000;
const faultsMax = 20;

export async function runHostileSql(context: ProofContext, options: RunOptions): Promise<ProofResult> {
  const log = await openServerLog(context.postgresUrl);
  const tally = new Tally();
  const stop = new AbortController();
  const over = () => context.signal.aborted || stop.signal.aborted;
  const report = (fault: string) => {
    if (tally.faults.length < faultsMax) tally.faults.push(fault);
    if (options.hasty) stop.abort();
  };
  await Promise.all(
    options.lanes.map(async (plan, i) => {
      const worlds = await makeWorlds({
        serverUrl: context.postgresUrl,
        template: context.templates.isolated ?? '',
        name: `hostile_${process.pid}_${context.seed % 1e6}_${i}`,
        shape: plan.shape,
        seed: context.seed,
        spoil: options.spoil,
      });
      try {
        await runLane(context, plan, worlds, tally, report, over);
        if (i === 0 && options.neighbours > 0 && !over()) {
          tally.neighbours = await checkNeighbours(worlds, context.seed, options.neighbours, report);
        }
      } finally {
        await worlds.drop();
      }
    }),
  );
  if (log !== null) {
    const leaked = log.search();
    if (leaked !== null) report(`the server's log holds another user's data: ${leaked}`);
  }
  if (context.signal.aborted) report('interrupted');
  return { figures: tally.figures(log), faults: tally.faults };
}

async function runLane(
  context: ProofContext,
  plan: LanePlan,
  worlds: Worlds,
  tally: Tally,
  report: (fault: string) => void,
  over: () => boolean,
): Promise<void> {
  const words = await readWords(worlds.both[0].url);
  const lane = await Lane.open(worlds);
  try {
    for (let number = plan.from; number < plan.below && !over(); number += 1) {
      const attempt = makeAttempt(context.seed, number, words);
      const seen = await lane.attempt(attempt);
      const isLost = lane.lost;
      tally.count(attempt, seen, plan.shape, isLost ? 'lost' : isChancy(seen) ? 'timed out' : 'compared');
      const fault = await faultOf(attempt, seen, lane, tally);
      if (fault !== null) {
        const least = await shrink(attempt, lane);
        report(
          `${fault}\n    ${describe(least)}\n    replay: ${replayOf('hostile-sql', context, `${plan.shape}:${number}`)}`,
        );
      }
      if ((number + 1 - plan.from) % framesEvery === 0) {
        await checkFrame(worlds, number, report);
        context.say(`hostile-sql: ${plan.shape} ${number + 1 - plan.from} of ${plan.below - plan.from}`);
      }
    }
    await checkFrame(worlds, plan.below, report);
  } finally {
    await lane.close();
  }
}

async function faultOf(attempt: Attempt, seen: Observation, lane: Lane, tally?: Tally): Promise<string | null> {
  if (seen.canary !== undefined) return `another user's data in an answer: …${seen.canary}…`;
  if (seen.equal) return null;
  if (isChancy(seen)) return null;
  const [one, other] = [seen.one.trace(), seen.other.trace()];
  if (same(one, other)) return null;
  const reason = await reasonOf(attempt, seen, lane);
  if (reason === null) return `an answer depends on other users' data: ${firstDifference(one, other)}`;
  tally?.declassify(reason, lane.worlds.shape);
  return null;
}

/** Leaves out one statement after the other, as long as there is a fault still. */
async function shrink(attempt: Attempt, lane: Lane): Promise<Attempt> {
  let least = attempt;
  for (let i = attempt.statements.length - 1; i >= 0 && least.statements.length > 1; i -= 1) {
    const less = { ...least, statements: least.statements.filter((_, at) => at !== i) };
    if ((await faultOf(less, await lane.attempt(less), lane)) !== null) least = less;
  }
  return least;
}

const describe = ({ family, statements, ending }: Attempt) =>
  `${family}: ${[...statements.map(({ sql }) => sql), ending].join(';  ')}`.slice(0, 1500);

async function checkFrame(worlds: Worlds, number: number, report: (fault: string) => void): Promise<void> {
  const now = await Promise.all(worlds.both.map(({ url }) => hashOfOthers(url)));
  now.forEach((hash, i) => {
    if (hash !== worlds.planted[i]) {
      const changed = hash.split(' ').filter((part) => !worlds.planted[i]?.includes(part));
      report(
        `other users' rows were changed before attempt ${number} (${worlds.shape}): ${changed.join(', ').slice(0, 300)}`,
      );
    }
  });
}

class Tally {
  readonly faults: string[] = [];
  neighbours = 0;
  readonly #uncompared = { lost: 0, 'timed out': 0 };
  readonly #families = new Map<string, number>();
  readonly #declassified = new Map<string, number>();
  readonly #shapes = new Map<string, number>();
  #statements = 0;
  #refused = 0;

  count(attempt: Attempt, seen: Observation, shape: Shape, outcome: 'compared' | 'lost' | 'timed out'): void {
    if (outcome !== 'compared') {
      this.#uncompared[outcome] += 1;
      return;
    }
    this.#statements += attempt.statements.length;
    add(this.#families, attempt.family);
    add(this.#shapes, shape);
    if (seen.one.bytes.includes('SERROR\0') || seen.one.bytes.includes('VERROR\0')) this.#refused += 1;
  }

  declassify(reason: string, shape: Shape): void {
    add(this.#declassified, `${reason} (${shape})`);
  }

  figures(log: ServerLog | null): Record<string, number | string> {
    const attempts = [...this.#shapes.values()].reduce((sum, n) => sum + n, 0);
    return {
      'attempts, compared in two worlds': attempts,
      ...prefixed('  in worlds of shape ', this.#shapes),
      'statements sent by them': this.#statements,
      'attempts that Postgres refused': this.#refused,
      ...prefixed('  ', this.#families),
      'differences that are declassified': [...this.#declassified.values()].reduce((sum, n) => sum + n, 0),
      ...prefixed('  ', this.#declassified),
      'not compared, not counted above: a timeout': this.#uncompared['timed out'],
      'not compared, not counted above: a connection lost': this.#uncompared.lost,
      'requests after a hostile one on its connection': this.neighbours,
      'log of the server searched': log === null ? 'no: it is not on this machine' : `${log.bytes()} bytes`,
    };
  }
}

const add = (counts: Map<string, number>, name: string) => counts.set(name, (counts.get(name) ?? 0) + 1);

const prefixed = (prefix: string, counts: ReadonlyMap<string, number>) =>
  Object.fromEntries([...counts].sort(([a], [b]) => a.localeCompare(b)).map(([name, n]) => [`${prefix}${name}`, n]));

interface ServerLog {
  search(): string | null;
  bytes(): number;
}

/** Every mark of every run begins with it. */
const anyMark = /knr[0-9a-f]{12}.{0,40}/;

/** The embedded Postgres logs beside its data directory. */
async function openServerLog(url: string): Promise<ServerLog | null> {
  const directory = await withOwner(url, async (owner) => {
    const { rows } = await owner.query<{ path: string }>("select current_setting('data_directory') as path");
    return rows[0]?.path ?? '';
  });
  const path = join(dirname(directory), 'postgres.log');
  try {
    const from = statSync(path).size;
    const added = () => readFileSync(path).subarray(from);
    return { search: () => anyMark.exec(added().toString('latin1'))?.[0] ?? null, bytes: () => added().length };
  } catch {
    return null;
  }
}

/** One attempt again, by what a fault says: `level:1234`. Where it needs what went before, the two thousand before it too. */
export async function replayHostileSql(context: ProofContext, path: string): Promise<ProofResult> {
  const [, shape, number] = /^(level|skewed):(\d+)$/.exec(path) ?? [];
  if ((shape !== 'level' && shape !== 'skewed') || number === undefined) {
    throw new TypeError(`--path: is level:NUMBER or skewed:NUMBER, got ${path}`);
  }
  const at = Number(number);
  const plan = (from: number): RunOptions => ({ lanes: [{ shape, from, below: at + 1 }], neighbours: 0 });
  const alone = await runHostileSql(context, plan(at));
  return alone.faults.length > 0 ? alone : runHostileSql(context, plan(Math.max(0, at - framesEvery)));
}
