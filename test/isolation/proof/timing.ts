/**
 * Timing: how long it takes to be told of another user's row that there is none, beside how long for a row that there
 * really is none of. A report, not a test of chance: a difference is a fault only when it is large, steady over time, far
 * above what two columns of absent rows differ by, and there when it is measured again, at more length.
 *
 * What it cannot see: less than some microseconds below HTTP and some tens of them above. That an index without the owner
 * in front is never used, which would make 1.3 to 3.2 µs, is shown by plans instead (test/isolation/plans.test.ts).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { v7 as uuidv7 } from 'uuid';
import { createLogs } from '../../../src/log.ts';
import { plantWorld } from '../../support/world.ts';
import { Random } from './fuzz/random.ts';
import { putFilterBack, takeFilterAway } from './model/owner-filter.ts';
import { addUser, openWorld, type World } from './model/world.ts';
import type { ProofContext, ProofPart, ProofResult } from './part.ts';
import {
  type Compared,
  compare,
  type Effort,
  type Measured,
  measure,
  type Probe,
  type Subject,
  type Subjects,
} from './timing/measure.ts';
import { databaseProbes, httpProbes } from './timing/probes.ts';
import { signedRankZ } from './timing/statistics.ts';

interface Size {
  readonly database: Effort;
  readonly http: Effort;
  /** Of what looks as if there could be a difference. */
  readonly again: Effort;
  readonly subjects: number;
  /** Every how manieth route is timed. */
  readonly everyRoute: number;
  readonly controls: readonly Control[];
}

/** A defect that is planted to show how little would be seen. */
interface Control {
  /** The probe that is to see it. */
  readonly probe: string;
  /** How it is measured first, and then again, as everything is. */
  readonly efforts: readonly [first: Effort, again: Effort];
  /** How long a row that is met takes more, in microseconds; one after the other. */
  readonly waits: readonly number[];
  /** From this wait on, not to see it is a fault. */
  readonly mustSee: number;
}

/**
 * When a difference is a fault: beyond chance (|z| of the signed ranks, a probability of 6 in 10 million for one probe), of one sign
 * by both quantiles in most blocks and of the other in none, larger than this, and this many times what the noise floor shows. What is beyond
 * `suspectZ` in a first round is measured again for that: a route by itself is timed too briefly to tell so little.
 */
const threshold = {
  z: 5,
  suspectZ: 2.5,
  blocks: 0.75,
  microseconds: { database: 10, HTTP: 60 },
  timesTheFloor: 3,
} as const;

const efforts = {
  database: { blocks: 8, triples: 350, warmUp: 40 },
  http: { blocks: 8, triples: 25, warmUp: 10 },
  again: { blocks: 8, triples: 200, warmUp: 20 },
} as const;
const longWait = { blocks: 5, triples: 12, warmUp: 1 };

const sizes = {
  short: {
    database: { blocks: 5, triples: 5, warmUp: 2 },
    http: { blocks: 5, triples: 1, warmUp: 1 },
    subjects: 3,
    everyRoute: 8,
    again: { blocks: 5, triples: 5, warmUp: 2 },
    // So much that it shows among other tests.
    controls: [{ probe: 'GET /api/tasks/{id}', efforts: [longWait, longWait], waits: [120_000], mustSee: 120_000 }],
  },
  full: {
    ...efforts,
    subjects: 25,
    everyRoute: 1,
    // By the same efforts and the same verdict as what is looked for; half the threshold, the threshold, and more.
    controls: [
      {
        probe: 'get by id',
        efforts: [efforts.database, efforts.again],
        waits: [0.5, 1, 2, 4].map((times) => times * threshold.microseconds.database),
        mustSee: 2 * threshold.microseconds.database,
      },
      {
        probe: 'GET /api/tasks/{id}',
        efforts: [efforts.http, efforts.again],
        waits: [0.5, 1, 2, 4].map((times) => times * threshold.microseconds.HTTP),
        mustSee: 2 * threshold.microseconds.HTTP,
      },
    ],
  },
} as const satisfies Record<string, Size>;

type Verdict = 'none seen' | 'small' | 'tells';

function verdictOf({ probe, blocks }: Measured, { effect, floor }: Compared): Verdict {
  const most = threshold.blocks * blocks.length;
  const steady = (effect.slower >= most && effect.faster === 0) || (effect.faster >= most && effect.slower === 0);
  if (Math.abs(effect.z) < threshold.z || !steady) return 'none seen';
  const least = Math.max(threshold.microseconds[probe.level], threshold.timesTheFloor * Math.abs(floor.p50));
  return Math.abs(effect.p50) < least || Math.abs(effect.p25) < least / 2 ? 'small' : 'tells';
}

const tells = (one: Measured) => verdictOf(one, compare(one)) === 'tells';
const isSuspect = (one: Measured) => Math.abs(compare(one).effect.z) >= threshold.suspectZ;

export async function runTiming(context: ProofContext): Promise<ProofResult> {
  const size: Size = sizes[context.size];
  const random = new Random(context.seed);
  const over = () => context.signal.aborted;
  const planted = await inWorld(context, size, 'control', (world, probes, subjects) =>
    measurePlanted(world, probes, subjects, size.controls, random, over),
  );
  context.say('timing: the controls have been measured');
  const { measured, again } = await inWorld(context, size, 'timed', async (_, probes, subjects) => {
    const all: Measured[] = [];
    for (const [level, effort] of [
      ['database', size.database],
      ['HTTP', size.http],
    ] as const) {
      const every = level === 'HTTP' ? size.everyRoute : 1;
      const chosen = probes.filter((probe) => probe.level === level).filter((_, i) => i % every === 0);
      all.push(...(await measure(chosen, subjects, random, effort, over)));
      context.say(`timing: ${level} has been measured`);
    }
    const suspects = all.filter(isSuspect).map(({ probe }) => probe);
    context.say(`timing: ${suspects.length} are measured again`);
    return { measured: all, again: await measure(suspects, subjects, random, size.again, over) };
  });
  const unseen = planted.filter(({ wait, isSeen, control }) => wait >= control.mustSee && !isSeen);
  return {
    figures: { ...figuresOf(measured, planted), 'measured again': again.length },
    faults: [
      ...unseen.map(
        ({ one, wait }) => `a planted wait of ${wait} µs does not show in ${one.probe.name}: ${shown(one)}`,
      ),
      ...again
        .filter(tells)
        .map((one) => `${one.probe.name}: a hidden row and an absent one can be told apart by time: ${shown(one)}`),
      ...(over() ? ['interrupted'] : []),
    ],
  };
}

async function inWorld<T>(
  context: ProofContext,
  size: Size,
  name: string,
  work: (world: World, probes: readonly Probe[], subjects: Subjects) => Promise<T>,
): Promise<T> {
  // Lines of the security log are written to a file, as they are where somebody serves: that takes time, too.
  const logDir = mkdtempSync(join(tmpdir(), 'ringfence-timing-'));
  const logs = createLogs({ level: 'silent', logDir });
  const wiring = { poolSize: 5, through: (url: string) => url, logs, onIdleError: () => {} };
  const world = await openWorld(context, name, undefined, wiring);
  try {
    const asker = await addPerson(world, 'own');
    const subjects = await makeSubjects(world, size.subjects);
    await world.database.query('analyze');
    return await work(world, [...databaseProbes(world, asker.id), ...httpProbes(world, asker.token)], subjects);
  } finally {
    await world.close();
    rmSync(logDir, { recursive: true, force: true });
  }
}

interface Planted {
  readonly control: Control;
  readonly wait: number;
  readonly one: Measured;
  readonly isSeen: boolean;
}

async function measurePlanted(
  world: World,
  probes: readonly Probe[],
  subjects: Subjects,
  controls: readonly Control[],
  random: Random,
  over: () => boolean,
): Promise<Planted[]> {
  const planted: Planted[] = [];
  takeFilterAway();
  try {
    await plantIndex(world);
    for (const control of controls) {
      const chosen = probes.filter(({ name }) => name === control.probe);
      for (const wait of control.waits) {
        await plantWait(world, wait);
        const [first, again] = control.efforts;
        const suspected = (await measure(chosen, subjects, random, first, over)).some(isSuspect);
        for (const one of await measure(chosen, subjects, random, again, over)) {
          planted.push({ control, wait, one, isSeen: suspected && tells(one) });
        }
      }
    }
  } finally {
    putFilterBack();
  }
  return planted;
}

/** An index on the id alone finds the hidden row: in so small a table it would not be used otherwise. */
async function plantIndex({ database }: World): Promise<void> {
  await database.query('create unique index on tasks (id)');
  await database.query(
    `do $do$ begin execute format('alter database %I set enable_seqscan = off', current_database()); end $do$`,
  );
}

/**
 * The policy then takes its time over each row that is found, and nothing else: looking at the identity there, or a function
 * in PL/pgSQL, takes tens of microseconds by itself. The probes of the controls ask for no row that is to be shown.
 */
async function plantWait(world: World, microseconds: number): Promise<void> {
  // A sleep is some 60 µs too long (timer slack), so short times are spent working.
  const spent =
    microseconds > 10_000
      ? `pg_catalog.pg_sleep(${microseconds / 1e6}) is not null`
      : spentOn('id', Math.round(microseconds / (await microsecondsEach(world))));
  const condition = `case when ${spent} then false end`;
  await world.database.query(`alter policy user_isolation on tasks using (${condition}) with check (${condition})`);
}

/** Work on the row itself, so that it cannot be done beforehand. */
const spentOn = (column: string, times: number) => `pg_catalog.md5(pg_catalog.repeat(${column}::text, ${times})) <> ''`;

/** What one repetition takes, on this machine, at its quietest. */
async function microsecondsEach({ database }: World): Promise<number> {
  const [rows, times] = [2000, 100];
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 9; i += 1) {
    const since = performance.now();
    await database.query(
      `select count(*) from (select gen_random_uuid() as id from generate_series(1, ${rows})) r where ${spentOn('id', times)}`,
    );
    least = Math.min(least, (performance.now() - since) * 1000);
  }
  return least / rows / times;
}

async function addPerson(world: World, mark: string) {
  const [id, session] = [uuidv7(), uuidv7()];
  const email = `${id}@example.test`;
  const since = new Date().toISOString();
  await addUser(world, { id, email, passwordHash: '', sessions: [session], since });
  const rows = await plantWorld(world.server.databaseUrl, id, mark);
  return { id, rows, token: (await world.server.mint(id, email, session)).token };
}

async function makeSubjects(world: World, count: number): Promise<Subjects> {
  const hidden: Subject[] = [];
  const absent: Subject[] = [];
  for (let n = 0; n < count; n += 1) {
    const mark = `name ${uuidv7()}`;
    const { rows } = await addPerson(world, mark);
    hidden.push({ ...rows, mark });
    // Made at the same time, so that they would lie beside the others in an index.
    const ids = Object.fromEntries(Object.keys(rows).map((key) => [key, uuidv7()]));
    absent.push({ ...rows, ...ids, mark: `name ${uuidv7()}` });
  }
  return { hidden, absent };
}

const inMicroseconds = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(1)}`;

function shown(one: Measured): string {
  const compared = compare(one);
  const { effect, floor } = compared;
  const verdict = verdictOf(one, compared);
  const between = (of: typeof effect) => `p25 ${inMicroseconds(of.p25)}, p50 ${inMicroseconds(of.p50)} µs`;
  return `${between(effect)} (absent beside absent: ${between(floor)}), z ${effect.z.toFixed(1)}, slower in ${effect.slower} and faster in ${effect.faster} of ${one.blocks.length} blocks: ${verdict}`;
}

/** Single routes are many: those whose ranks part most are shown, and how many there are. */
const routesShown = 5;

function figuresOf(measured: readonly Measured[], planted: readonly Planted[]): Record<string, number | string> {
  const asked = (level: Probe['level']) => measured.filter(({ probe }) => probe.level === level);
  const triples = (of: readonly Measured[]) =>
    of.reduce((sum, { blocks }) => sum + blocks.reduce((n, { hidden }) => n + hidden.length, 0), 0);
  const routes = asked('HTTP').toSorted((a, b) => Math.abs(compare(b).effect.z) - Math.abs(compare(a).effect.z));
  const single = [...asked('database'), ...routes.slice(0, routesShown)];
  return {
    'pairs below HTTP': triples(asked('database')),
    'pairs over HTTP': triples(asked('HTTP')),
    'routes timed': asked('HTTP').length,
    ...Object.fromEntries(single.map((one) => [one.probe.name, shown(one)])),
    'all routes together': pooled(routes),
    ...Object.fromEntries(planted.map(({ one, wait }) => [`planted, ${wait} µs: ${one.probe.name}`, shown(one)])),
    ...Object.fromEntries(
      planted.map(({ control }) => [`smallest wait seen: ${control.probe}`, leastSeen(planted, control)]),
    ),
  };
}

/** The smallest wait that was seen and so was every longer one. */
function leastSeen(planted: readonly Planted[], control: Control): string {
  const longestFirst = planted.filter((one) => one.control === control).toSorted((a, b) => b.wait - a.wait);
  const unseen = longestFirst.findIndex(({ isSeen }) => !isSeen);
  const least = (unseen < 0 ? longestFirst : longestFirst.slice(0, unseen)).at(-1);
  return least === undefined ? 'none' : `${least.wait} µs`;
}

/** Routes take different times, so what is averaged is how far each one's columns lie apart. */
function pooled(routes: readonly Measured[]): string {
  const each = routes.map(compare);
  const mean = (of: (one: Compared) => number) => each.reduce((sum, one) => sum + of(one), 0) / each.length;
  const pairs = routes.flatMap(({ blocks }) =>
    blocks.flatMap(({ hidden, absent }) => hidden.map((one, i) => one - (absent[i] ?? one))),
  );
  const floor = `p25 ${inMicroseconds(mean((one) => one.floor.p25))}, p50 ${inMicroseconds(mean((one) => one.floor.p50))} µs`;
  return `p25 ${inMicroseconds(mean((one) => one.effect.p25))}, p50 ${inMicroseconds(mean((one) => one.effect.p50))} µs (absent beside absent: ${floor}), z ${signedRankZ(pairs).toFixed(1)}`;
}

export const part: ProofPart = {
  name: 'timing',
  alone: true,
  title: 'a hidden row and one that is not there take the same time, as far as can be measured',
  run: (context) => runTiming(context),
};
