/**
 * Timing: how long it takes to be told of another user's row that there is none, beside how long for a row that there
 * really is none of. A report, not a test of chance: a difference is a fault only when it is large, steady in every stretch
 * of time, far above what two columns of absent rows differ by, and there again when it is measured again.
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
  readonly control: Effort;
  readonly subjects: number;
  /** Every how manieth route is timed. */
  readonly everyRoute: number;
  /** Which probes are to find the planted defect. */
  readonly controlled: readonly string[];
  /** How long the planted defect sleeps for each row. */
  readonly plantedSeconds: number;
}

const sizes = {
  short: {
    database: { blocks: 5, triples: 5, warmUp: 2 },
    http: { blocks: 5, triples: 1, warmUp: 1 },
    control: { blocks: 5, triples: 10, warmUp: 1 },
    subjects: 3,
    everyRoute: 8,
    controlled: ['GET /api/tasks/{id}'],
    plantedSeconds: 0.12,
  },
  full: {
    database: { blocks: 8, triples: 350, warmUp: 40 },
    http: { blocks: 8, triples: 25, warmUp: 10 },
    control: { blocks: 8, triples: 100, warmUp: 40 },
    subjects: 25,
    everyRoute: 1,
    controlled: ['get by id', 'GET /api/tasks/{id}'],
    plantedSeconds: 0.0005,
  },
} as const satisfies Record<string, Size>;

/**
 * When a difference is a fault: beyond chance (|z| of the signed ranks, a probability of 6 in 10 million for one probe), of one sign
 * by both quantiles in every block, larger than this, and this many times what the noise floor shows; twice over.
 * Of the planted defect, which is known to be there, less is asked.
 */
const threshold = { z: 5, zOfPlanted: 3, microseconds: { database: 10, HTTP: 60 }, timesTheFloor: 3 } as const;

type Verdict = 'none seen' | 'small' | 'tells';

function verdictOf({ probe, blocks }: Measured, { effect, floor }: Compared, z: number = threshold.z): Verdict {
  const steady = effect.slower === blocks.length || effect.faster === blocks.length;
  if (Math.abs(effect.z) < z || !steady) return 'none seen';
  const least = Math.max(threshold.microseconds[probe.level], threshold.timesTheFloor * Math.abs(floor.p50));
  return Math.abs(effect.p50) < least || Math.abs(effect.p25) < least / 2 ? 'small' : 'tells';
}

export async function runTiming(context: ProofContext): Promise<ProofResult> {
  const size: Size = sizes[context.size];
  const random = new Random(context.seed);
  const over = () => context.signal.aborted;
  const control = await inWorld(context, size, 'control', true, async (probes, subjects) => {
    const chosen = probes.filter(({ name }) => size.controlled.includes(name));
    return measure(chosen, subjects, random, size.control, over);
  });
  context.say('timing: the control has been measured');
  const { measured, again } = await inWorld(context, size, 'timed', false, async (probes, subjects) => {
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
    const suspects = all.filter((one) => verdictOf(one, compare(one)) === 'tells').map(({ probe }) => probe);
    return { measured: all, again: await measure(suspects, subjects, random, size.database, over) };
  });
  const unseen = control.filter((one) => verdictOf(one, compare(one), threshold.zOfPlanted) !== 'tells');
  return {
    figures: figuresOf(measured, control),
    faults: [
      ...unseen.map((one) => `the planted defect does not show in ${one.probe.name}: ${shown(one)}`),
      ...again
        .filter((one) => verdictOf(one, compare(one)) === 'tells')
        .map((one) => `${one.probe.name}: a hidden row and an absent one can be told apart by time: ${shown(one)}`),
      ...(over() ? ['interrupted'] : []),
    ],
  };
}

async function inWorld<T>(
  context: ProofContext,
  size: Size,
  name: string,
  isPlanted: boolean,
  work: (probes: readonly Probe[], subjects: Subjects) => Promise<T>,
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
    if (isPlanted) await plant(world, size);
    return await work([...databaseProbes(world, asker.id), ...httpProbes(world, asker.token)], subjects);
  } finally {
    if (isPlanted) putFilterBack();
    await world.close();
    rmSync(logDir, { recursive: true, force: true });
  }
}

/**
 * An index on the id alone finds the hidden row, and the policy's function runs for each row that is found. It sleeps: half a
 * millisecond shows on a machine that does nothing else, and the tests' machine does much else at the time.
 */
async function plant({ database }: World, { plantedSeconds }: Size): Promise<void> {
  takeFilterAway();
  await database.query('create unique index on tasks (id)');
  // In so small a table it would not be used otherwise.
  await database.query(
    `do $do$ begin execute format('alter database %I set enable_seqscan = off', current_database()); end $do$`,
  );
  await database.query(`create function public.planted() returns boolean language plpgsql volatile as
    'begin perform pg_catalog.pg_sleep(${plantedSeconds}); return true; end'`);
  await database.query('grant execute on function public.planted() to public');
  const condition = 'case when public.planted() then user_id is not distinct from ringfence.current_user_id() end';
  await database.query(`alter policy user_isolation on tasks using (${condition}) with check (${condition})`);
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

function figuresOf(measured: readonly Measured[], control: readonly Measured[]): Record<string, number | string> {
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
    ...Object.fromEntries(control.map((one) => [`planted: ${one.probe.name}`, shown(one)])),
  };
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
