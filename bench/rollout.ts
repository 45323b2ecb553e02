/**
 * `npm run bench:rollout`: what giving every row an owner costs while the application works, by four ways, in one run, on
 * one machine, over copies of the same database. Prints a table, writes bench/results/, and leaves nothing behind.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { systemClock } from '../src/clock.ts';
import { version } from '../src/version.ts';
import { describeMachine, loadBefore } from './machine.ts';
import { roundedJson } from './report.ts';
import { type Postgres, startPostgres } from './rollout-copies.ts';
import { type Size, seedOldSchema } from './rollout-data.ts';
import { type Measured, measureWay } from './rollout-measure.ts';
import { type RangeFigures, updateByRanges } from './rollout-ranges.ts';
import { type RolloutReport, rolloutText } from './rollout-report.ts';
import { rolloutTargets } from './rollout-targets.ts';
import { stopWays, type Way, ways } from './rollout-ways.ts';

interface Plan {
  /** Of the file under bench/results/. */
  readonly name: string;
  readonly size: Size;
  readonly small: Size;
  readonly rounds: number;
  readonly ways: readonly Way[];
  readonly deadlineMs: number;
}

const full: Plan = {
  name: 'rollout',
  size: { tasks: 2_000_000, projects: 200_000, users: 20_000 },
  small: { tasks: 100_000, projects: 10_000, users: 1_000 },
  rounds: 2,
  ways,
  deadlineMs: 90 * 60_000,
};
const quick: Plan = {
  name: 'rollout-quick',
  size: { tasks: 100_000, projects: 10_000, users: 1_000 },
  small: { tasks: 5_000, projects: 500, users: 50 },
  rounds: 1,
  ways,
  deadlineMs: 10 * 60_000,
};

const usage = `npm run bench:rollout -- [--quick] [--rounds N] [--ways NAME,NAME]

  --quick      100 000 rows instead of 2 000 000, and one round instead of two
  --rounds     how often each way is gone; the results go to a .local.json then
  --ways       these alone, of ${ways.map(({ id }) => id).join(', ')}, and nothing else is measured;
               the results go to a .local.json then

The results go to bench/results/rollout.json or rollout-quick.json.`;

const say = (line: string) => process.stderr.write(`${line}\n`);

function planOf(args: readonly string[]): Plan {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      ways: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    process.exit(0);
  }
  const plan = values.quick ? quick : full;
  if (values.rounds === undefined && values.ways === undefined) return plan;
  return {
    ...plan,
    name: `${plan.name}.local`,
    rounds: values.rounds === undefined ? plan.rounds : roundsOf(values.rounds),
    ways: values.ways === undefined ? plan.ways : waysOf(values.ways),
  };
}

function roundsOf(text: string): number {
  const rounds = Number(text);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 100) {
    throw new RangeError(`--rounds: must be a whole number from 1 to 100, got ${text}`);
  }
  return rounds;
}

function waysOf(text: string): Way[] {
  return text.split(',').map((name) => {
    const way = ways.find(({ id }) => id === name.trim());
    if (!way) throw new RangeError(`--ways: there is no way ${JSON.stringify(name)}`);
    return way;
  });
}

async function run(plan: Plan, postgres: Postgres, loadAverage: number[]): Promise<RolloutReport> {
  const { size, rounds } = plan;
  for (const data of new Set(plan.ways.map((way) => way.data))) {
    say(`Filling a database: ${size.tasks} tasks, ${data}`);
    await seedOldSchema(await postgres.make(data), size, data);
  }
  const measured: Measured[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const way of shuffled(plan.ways)) {
      say(`Round ${round} of ${rounds}: ${way.name}`);
      const one = await measureWay(postgres, way, size.tasks, postgres.directory);
      say(
        `  owners ${seconds(one.ownersMs)}, whole ${seconds(one.wholeMs)}, longest write ` +
          `${one.writers.writes.longest.toFixed(0)} ms (alone ${one.alone.writes.longest.toFixed(0)} ms)`,
      );
      measured.push(one);
    }
  }
  const all = plan.ways === ways;
  const ranges = all ? await measureRanges(postgres) : [];
  const few = all ? await measureFew(plan, postgres) : null;
  return {
    version,
    measuredAt: new Date(systemClock.now()).toISOString(),
    machine: await describeMachine(postgres.ownerUrl, loadAverage),
    size,
    rounds,
    measured,
    ranges,
    small: few,
    targets: rolloutTargets(measured, few),
  };
}

async function measureRanges(postgres: Postgres): Promise<RangeFigures[]> {
  say('Ranges of blocks, and of keys');
  const ranges = [];
  for (const by of ['blocks', 'keys'] as const) {
    ranges.push(await postgres.withCopy('many owners', (url) => updateByRanges(url, by)));
  }
  return ranges;
}

async function measureFew({ small }: Plan, postgres: Postgres): Promise<{ tasks: number; memoryMiB: number }> {
  say(`Memory with ${small.tasks} tasks`);
  await seedOldSchema(await postgres.make('small'), small, 'many owners');
  const memoryMiB = await postgres.withCopy('small', async (url) => {
    const way = ways.find(({ id }) => id === 'ours');
    return (await way?.go(url, postgres.directory))?.memoryMiB ?? Number.NaN;
  });
  return { tasks: small.tasks, memoryMiB };
}

const seconds = (ms: number | null) => (ms === null ? '–' : `${(ms / 1000).toFixed(1)} s`);

/** Fisher and Yates. */
function shuffled<T>(list: readonly T[]): T[] {
  const left = [...list];
  return list.flatMap(() => left.splice(Math.floor(Math.random() * left.length), 1));
}

function write(name: string, report: RolloutReport): void {
  const directory = fileURLToPath(new URL('results/', import.meta.url));
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, `${name}.json`), roundedJson(report));
  say(`Written to bench/results/${name}.json`);
}

/** Resolves with a code to end with when somebody or the clock says so. */
function stopped(deadlineMs: number): Promise<number> {
  return new Promise((resolve) => {
    process.once('SIGINT', () => resolve(130));
    process.once('SIGTERM', () => resolve(143));
    setTimeout(() => {
      say(`Giving up after ${deadlineMs / 60_000} minutes`);
      resolve(3);
    }, deadlineMs).unref();
  });
}

async function main(plan: Plan): Promise<number> {
  const loadAverage = loadBefore();
  let postgres: Postgres | null = null;
  try {
    postgres = await startPostgres(say);
    const result = await Promise.race([run(plan, postgres, loadAverage), stopped(plan.deadlineMs)]);
    if (typeof result === 'number') return result;
    write(plan.name, result);
    console.log(`\n${rolloutText(result)}`);
    return 0;
  } catch (error) {
    say(`bench: ${error instanceof Error ? (error.stack ?? error.message) : error}`);
    return 3;
  } finally {
    say('Stopping');
    stopWays();
    await postgres?.stop();
  }
}

let plan: Plan;
try {
  plan = planOf(process.argv.slice(2));
} catch (error) {
  say(`bench: ${error instanceof Error ? error.message : error}\n\n${usage}`);
  process.exit(2);
}
// What a run that was given up still waits for must not keep the process.
process.exit(await main(plan));
