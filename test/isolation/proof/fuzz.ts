/**
 * Everything that can be sent to the server from outside, malformed and hostile: each route of its own OpenAPI document
 * against each family of requests, and bytes that are no HTTP. Whatever comes, an answer comes back in time, it is never a
 * 5xx, errors are problem documents that tell nothing of the inside, nothing of anybody else's is shown or changed,
 * no secret is in a log, and the server holds no more memory afterwards.
 */
import { Attacker, type Battlefield } from './fuzz/attack.ts';
import type { Given } from './fuzz/case.ts';
import { culprit, Frame } from './fuzz/frame.ts';
import { faultsOfLogs } from './fuzz/logs.ts';
import { readApi } from './fuzz/operations.ts';
import { idsOf, type Person, plantPerson } from './fuzz/people.ts';
import { Random } from './fuzz/random.ts';
import { type Memory, startTarget, type Target } from './fuzz/server.ts';
import { openSlowly } from './fuzz/slow.ts';
import { type Fault, Tally } from './fuzz/tally.ts';
import { deadlineMs } from './fuzz/wire.ts';
import { type ProofContext, type ProofPart, type ProofResult, replayOf } from './part.ts';

export interface FuzzOptions {
  /** Routes to attack; all by default. */
  readonly only?: RegExp;
  readonly planted?: boolean;
  readonly cases?: number;
  readonly deadlineMs?: number;
  /** The number of the first case. */
  readonly from?: number;
  /** This case alone. */
  readonly path?: number | undefined;
}

const sizes = { short: { cases: 2_100, slices: 3 }, full: { cases: 100_000, slices: 20 } } as const;
const attackersAtOnce = 16;
const mib = 1024 * 1024;
/**
 * What the server may hold more at the end than after the first slice. The caches are full by then; what is left is the
 * optimised code and the statements of connections, which grow with how many shapes of requests were seen.
 */
const heapGrowthMax = 24 * mib;
const rssGrowthMax = 128 * mib;

export async function runFuzz(context: ProofContext, options: FuzzOptions = {}): Promise<ProofResult> {
  const target = await startTarget(context, options.planted === true);
  try {
    return await attackTarget(context, target, options);
  } finally {
    await target.close();
  }
}

async function attackTarget(context: ProofContext, target: Target, options: FuzzOptions): Promise<ProofResult> {
  const { say, size } = context;
  const field = await battlefield(context, target, options);
  const { tally, victims } = field;
  const attackers = Array.from({ length: attackersAtOnce }, (_, number) => new Attacker(field, number));
  const slow = openSlowly(target.url);
  const frame = new Frame(target.ownerUrl, victims);
  await frame.remember();
  const started = performance.now();
  const memory: Memory[] = [];
  const { slices } = sizes[size];
  const cases = options.path === undefined ? (options.cases ?? sizes[size].cases) : 1;
  const first = options.path ?? options.from ?? 0;
  let told = 0;
  for (let slice = 0; slice < slices && !context.signal.aborted; slice++) {
    const bounds = [slice, slice + 1].map((edge) => first + Math.floor((cases * edge) / slices));
    const indexes = range(bounds[0] ?? 0, bounds[1] ?? 0);
    await attack(attackers, indexes);
    const changed = await frame.changes();
    // Once is enough: each search sends a slice some more times.
    if (changed.length > 0 && !tally.faults().some(({ family }) => family === 'frame')) {
      tally.fault(await blame(changed, indexes, attackers, frame));
    }
    memory.push(await target.memory());
    say(`fuzz: ${tally.requests} requests, ${tally.faults().length} faults`);
    // A run may be broken off: what it has found by then is worth having.
    for (const fault of tally.faults().slice(told)) say(sentence(fault, context));
    told = tally.faults().length;
    if (!target.isAlive()) break;
  }
  const seconds = (performance.now() - started) / 1000;
  for (const attacker of attackers) attacker.close();
  const partial = options.only !== undefined || options.path !== undefined;
  const slowFigures = await slow.end(size === 'full' && !partial && !context.signal.aborted);
  for (const what of slowFigures.faults) tally.fault({ family: 'slow', operation: 'the server', what });
  await finalFaults(field, memory, partial);
  return result(context, field, {
    memory,
    seconds,
    frame,
    slow: slowFigures.figure,
    shownMax: options.planted ? 1_000 : faultsShownMax,
  });
}

async function battlefield(context: ProofContext, target: Target, options: FuzzOptions): Promise<Battlefield> {
  const random = new Random(context.seed, 2_000_000_000);
  const api = await readApi(target.url);
  const operations = api.operations.filter(({ name }) => options.only?.test(name) ?? true);
  const victims = [];
  for (let n = 0; n < 3; n++) victims.push(await plantPerson(target.ownerUrl, random, { kind: 'victim' }));
  const admin = await plantPerson(target.ownerUrl, random, { kind: 'admin', roles: ['user', 'admin'] });
  const given = await collect(target.url, victims);
  return {
    context,
    target,
    api,
    operations,
    victims,
    admin,
    given,
    tally: new Tally(),
    forbidden: { marks: victims.map(({ mark }) => mark), ids: new Set(victims.flatMap(idsOf)) },
    secrets: new Set([...victims, admin].flatMap(({ secrets }) => secrets)),
    refusals: new Set(),
    deadlineMs: options.deadlineMs ?? deadlineMs,
    turn: { last: Promise.resolve() },
  };
}

/** Victims use the server once: cursors and idempotency keys of theirs exist. */
async function collect(url: string, victims: readonly Person[]): Promise<Given> {
  const cursors: string[] = [];
  const keys: string[] = [];
  for (const { accessToken, mark } of victims) {
    const authorization = `Bearer ${accessToken}`;
    const answer = await fetch(`${url}/api/tasks?limit=1`, { headers: { authorization } });
    cursors.push(/"next_cursor":"([^"]+)"/.exec(await answer.text())?.[1] ?? '');
    const key = `key-of-somebody-${mark.slice(-6)}`;
    const body = JSON.stringify({ name: `${mark} idempotent` });
    await fetch(`${url}/api/labels`, { method: 'POST', body, headers: { authorization, 'idempotency-key': key } });
    keys.push(key);
  }
  if (cursors.includes('')) throw new Error('a victim has one task alone: there is no cursor to steal');
  return { cursors: [], victimCursors: cursors, victimKeys: keys };
}

const range = (from: number, to: number) => Array.from({ length: Math.max(0, to - from) }, (_, n) => from + n);

async function attack(attackers: readonly Attacker[], indexes: readonly number[]): Promise<void> {
  let next = 0;
  await Promise.all(
    attackers.map(async (attacker) => {
      for (let index = indexes[next++]; index !== undefined; index = indexes[next++]) await attacker.run(index);
    }),
  );
}

/** Somebody changed a victim's rows: which case does it again? */
async function blame(
  tables: readonly string[],
  indexes: readonly number[],
  attackers: readonly Attacker[],
  frame: Frame,
): Promise<Fault> {
  const path = await culprit(indexes, async (some) => {
    await attack(attackers, some);
    return (await frame.changes()).length > 0;
  });
  const what = `a victim's rows changed: ${tables.join(', ')}`;
  return { family: 'frame', operation: attackers[0]?.nameOf(path) ?? 'unknown', what, path };
}

async function finalFaults(field: Battlefield, memory: readonly Memory[], partial: boolean): Promise<void> {
  const { tally, target, operations } = field;
  const atEnd = (what: string, operation = 'the server') => tally.fault({ family: 'at the end', operation, what });
  const health = await fetch(`${target.url}/health`).catch((error: unknown) => String(error));
  if (typeof health === 'string' || health.status !== 200)
    atEnd(`/health is not well: ${typeof health === 'string' ? health : health.status}`);
  if (!partial) {
    for (const { name } of operations) if (!tally.operations().has(name)) atEnd('the route was never called', name);
  }
  const [first, last] = [memory[0], memory.at(-1)];
  if (first && last && growthOf(first, last) > heapGrowthMax) atEnd(`memory grew: ${shownGrowth(first, last)}`);
  if (first && last && last.rss - first.rss > rssGrowthMax)
    atEnd(`memory grew (resident): ${shownGrowth(first, last)}`);
  for (const what of faultsOfLogs(target.logs(), field)) atEnd(what);
}

const held = ({ heapUsed, external }: Memory) => heapUsed + external;
const growthOf = (first: Memory, last: Memory) => held(last) - held(first);
const inMib = (bytes: number) => (bytes / mib).toFixed(1);

function shownGrowth(first: Memory, last: Memory): string {
  return `heap and buffers ${inMib(held(first))} → ${inMib(held(last))} MiB, resident ${inMib(first.rss)} → ${inMib(last.rss)} MiB`;
}

const faultsShownMax = 25;

function result(
  context: ProofContext,
  { tally, operations, target }: Battlefield,
  run: { memory: readonly Memory[]; seconds: number; frame: Frame; slow: string; shownMax: number },
): ProofResult {
  const called = [...tally.operations().values()];
  const [first, middle, last] = [run.memory[0], run.memory[run.memory.length >> 1], run.memory.at(-1)];
  const counts = (of: Record<string, number>) =>
    Object.entries(of)
      .map(([name, n]) => `${name}: ${n}`)
      .join(', ');
  const security = target.logs().security;
  return {
    figures: {
      requests: tally.requests,
      'requests a second': Math.round(tally.requests / run.seconds),
      'routes in openapi.json / called': `${operations.length} / ${called.length}`,
      'fewest requests of a route': Math.min(...called.map(({ requests }) => requests)),
      'routes that also succeeded': called.filter(({ reached }) => reached > 0).length,
      families: counts(tally.families()),
      statuses: counts(tally.statuses()),
      'checks of the victims’ rows': run.frame.checks,
      'memory of the server (start, middle, end)': [first, middle, last]
        .map((memory) => (memory ? `${inMib(held(memory))}/${inMib(memory.rss)}` : '?'))
        .join(', ')
        .concat(' MiB held/resident'),
      'lines in security.log': security.length,
      'slow connections': run.slow,
      'routes that never succeeded': [...tally.operations()]
        .filter(([, { reached }]) => reached === 0)
        .map(([name]) => name)
        .join(', '),
      seed: context.seed,
    },
    faults: tally
      .faults()
      .slice(0, run.shownMax)
      .map((fault) => sentence(fault, context)),
  };
}

function sentence(
  { operation, family, what, path, request, count }: Fault & { count: number },
  context: ProofContext,
): string {
  const replay = path === undefined ? '' : `\n    replay: ${replayOf('fuzz', context, String(path))}`;
  const sent = request === undefined ? '' : `\n    request: ${request}`;
  return `${operation} (${family}, ${count} times): ${what}${sent}${replay}`;
}

export const part: ProofPart = {
  name: 'fuzz',
  title: 'whatever is sent from outside: no 5xx, no hang, no leak, nothing of others shown or changed',
  run: (context) => runFuzz(context, context.path === undefined ? {} : { path: Number(context.path) }),
};
