/**
 * `npm run bench`: what isolation costs, in one run, on one machine, over the same data. It starts the server as a user
 * does, fills it, measures every variant in turn, prints a table, writes bench/results/, and leaves nothing behind.
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createTokenMinter } from '../src/access/local-token.ts';
import { loadOrCreateSecret } from '../src/access/secret.ts';
import { systemClock } from '../src/clock.ts';
import { loadConfig } from '../src/config.ts';
import { connectToRunning } from '../src/database/embedded.ts';
import { version } from '../src/version.ts';
import { busyUsers, type SeededUser, type Size, seed } from './data.ts';
import { describeMachine, loadBefore } from './machine.ts';
import { type BenchCallers, benchCallers } from './measurement.ts';
import { type Report, reportText, roundedJson } from './report.ts';
import { compareAll, type RoundOptions } from './rounds.ts';
import { type ServerProcess, startServerProcess } from './server-process.ts';
import { statementCosts } from './statement-cost.ts';
import { targetsOf } from './targets.ts';
import type { WorkerSetup } from './worker.ts';
import { startWorker, type WorkerProcess } from './worker-process.ts';

interface Plan {
  /** Of the file under bench/results/. */
  readonly name: string;
  readonly size: Size;
  readonly options: RoundOptions;
  /** The run gives up after this many milliseconds. */
  readonly deadlineMs: number;
}

const manyConnections = 10;
const connections = [1, manyConnections];
const full: Plan = {
  name: 'full',
  size: { users: 100_000, tasks: 1_000_000, callers: 500 },
  options: { rounds: 7, connections, windowMs: 3000 },
  deadlineMs: 40 * 60_000,
};
const quick: Plan = {
  name: 'quick',
  size: { users: 2_000, tasks: 20_000, callers: 50 },
  options: { rounds: 5, connections, windowMs: 200 },
  deadlineMs: 5 * 60_000,
};

const usage = `npm run bench -- [--quick] [--rounds N] [--window MILLISECONDS]

  --quick      2 000 users and 20 000 tasks instead of 100 000 and 1 000 000, with short windows
  --rounds     how often each variant is measured (default ${full.options.rounds}, quick ${quick.options.rounds})
  --window     how long each measurement takes (default ${full.options.windowMs}, quick ${quick.options.windowMs})

The results go to bench/results/full.json or quick.json; with --rounds or --window to a .local.json beside it.`;

const say = (line: string) => process.stderr.write(`${line}\n`);

/** What has been started, to be stopped backwards. */
const started: (() => Promise<void>)[] = [];

async function stopAll(): Promise<void> {
  for (let stop = started.pop(); stop; stop = started.pop()) {
    await stop().catch((error: unknown) => say(`while stopping: ${error instanceof Error ? error.message : error}`));
  }
}

function planOf(args: readonly string[]): Plan {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      window: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    process.exit(0);
  }
  const plan = values.quick ? quick : full;
  if (values.rounds === undefined && values.window === undefined) return plan;
  const rounds = numberOf('--rounds', values.rounds, 1, 1000) ?? plan.options.rounds;
  const windowMs = numberOf('--window', values.window, 50, 60_000) ?? plan.options.windowMs;
  return { ...plan, name: `${plan.name}.local`, options: { ...plan.options, rounds, windowMs } };
}

function numberOf(flag: string, text: string | undefined, min: number, max: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new RangeError(`${flag}: must be a whole number from ${min} to ${max}, got ${text}`);
}

/** As root, Postgres runs as another user, who has to pass through. */
function temporaryDirectory(): string {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'ringfence-bench-')));
  chmodSync(directory, 0o711);
  started.push(async () => {
    const elsewhere = join(directory, 'postgres-location');
    if (existsSync(elsewhere))
      rmSync(dirname(readFileSync(elsewhere, 'utf8').trim()), { recursive: true, force: true });
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  });
  return directory;
}

async function server(variables: Readonly<Record<string, string>>): Promise<ServerProcess> {
  return startServerProcess(variables, (stop) => started.push(stop));
}

async function worker(setup: WorkerSetup): Promise<WorkerProcess> {
  const process = await startWorker(setup);
  started.push(() => process.stop());
  return process;
}

async function ownerUrlOf(dataDir: string): Promise<string> {
  const postgres = await connectToRunning(dataDir);
  if (!postgres) throw new Error('the server runs, and its Postgres does not');
  return postgres.url;
}

async function run({ size, options }: Plan): Promise<Report> {
  const loadAverage = loadBefore();
  const dataDir = temporaryDirectory();
  say('Starting the server on an empty directory');
  const empty = await server({ DATA_DIR: dataDir });
  say(`Filling it: ${size.users} users, ${size.tasks} tasks`);
  await seed(await ownerUrlOf(dataDir), size, say);
  await empty.stop();
  say('Starting it again, and one with isolation off beside it');
  const on = await server({ DATA_DIR: dataDir });
  const ownerUrl = await ownerUrlOf(dataDir);
  const secret = await loadOrCreateSecret(dataDir);
  const off = await server({ DATABASE_URL: ownerUrl, JWT_SECRET_KEY: secret, USER_ISOLATION_ENABLED: 'false' });
  const callers = await callersOf(ownerUrl, secret, size);
  const database = { ownerUrl, secret, callers };
  const comparisons = await compareAll(
    {
      on: await worker({ kind: 'http', url: on.url, callers }),
      off: await worker({ kind: 'http', url: off.url, callers }),
      limit: await worker({ kind: 'limit', ...database, connections: manyConnections }),
      core: await worker({ kind: 'core', ...database }),
    },
    options,
    say,
  );
  const memory = { on: on.memory(), off: off.memory() };
  const starts = { emptyMs: empty.firstAnswerMs, seededMs: on.firstAnswerMs };
  const [caller] = callers.readers;
  if (!caller) throw new Error('there are no callers');
  return {
    version,
    measuredAt: new Date(systemClock.now()).toISOString(),
    machine: await describeMachine(ownerUrl, loadAverage),
    data: { users: size.users, tasks: size.tasks },
    options,
    comparisons,
    memory,
    starts,
    statementMicroseconds: statementCosts(caller),
    targets: targetsOf(comparisons, memory.on, starts),
  };
}

/** Every second one reads, the others create. */
async function callersOf(ownerUrl: string, secret: string, size: Size): Promise<BenchCallers> {
  const { jwt } = loadConfig({});
  const mint = createTokenMinter({ ...jwt, secretKey: secret }, jwt.accessTokenSeconds, systemClock);
  const withToken = async ({ userId, email, sessionId, taskIds }: SeededUser) => {
    const { token } = await mint({ userId, email, roles: ['user'], sessionId });
    return { userId, sessionId, token, taskIds };
  };
  const all = await Promise.all((await busyUsers(ownerUrl, 2 * size.callers)).map(withToken));
  return benchCallers.parse({
    readers: all.filter((_, index) => index % 2 === 0),
    writers: all.filter((_, index) => index % 2 === 1),
  });
}

function write(name: string, report: Report): void {
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
  try {
    const result = await Promise.race([run(plan), stopped(plan.deadlineMs)]);
    if (typeof result === 'number') return result;
    write(plan.name, result);
    console.log(`\n${reportText(result)}`);
    return 0;
  } catch (error) {
    say(`bench: ${error instanceof Error ? (error.stack ?? error.message) : error}`);
    return 3;
  } finally {
    say('Stopping');
    await stopAll();
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
