/** Two users at the same time, one of them disturbed: what must hold afterwards, whatever has happened. */
import { asReply, codeOf, judge, outage, type Reply } from './judge.ts';
import { normalAnswer } from './normal.ts';
import { callOf, type Disturbed, probes } from './requests.ts';
import type { Actor, Stage } from './stage.ts';

/** What an undisturbed world answers and leaves. */
export interface Undisturbed {
  readonly answer: string;
  readonly probes: readonly string[];
  readonly before: string;
  readonly after: string;
}

export interface Found {
  readonly figures: Readonly<Record<string, number | string>>;
  readonly faults: readonly string[];
}

/** @returns one for each of the two who act */
export async function undisturbed(stage: Stage, request: Disturbed): Promise<Undisturbed[]> {
  await stage.restore();
  const all: Undisturbed[] = [];
  for (const actor of stage.pair) {
    const before = await stage.stateOf(actor);
    const answer = normalAnswer(await stage.send(actor, callOf(request, actor)), actor);
    await stage.rest();
    all.push({ answer, before, after: await stage.stateOf(actor), probes: await probe(stage, actor) });
  }
  return all;
}

export const probe = async (stage: Stage, actor: Actor) =>
  Promise.all(probes.map(async (one) => normalAnswer(await stage.send(actor, callOf(one, actor)), actor)));

export interface Disturbance {
  readonly request: Disturbed;
  /** For each of the two. */
  readonly known: readonly Undisturbed[];
  /** Sends both requests; what disturbs the first one happens in here. */
  readonly happen: (ask: Record<'one' | 'other', () => Promise<Reply>>) => Promise<{ one: Reply; other: Reply }>;
  /** What may be answered besides to who is disturbed. */
  readonly problems?: readonly string[];
  /** The client goes away: there need not be an answer. */
  readonly leaving?: AbortController;
  /** Whether a COMMIT was on its way to Postgres, when it is known. */
  readonly committing?: () => boolean;
  /** Ends what watches the connection, once the server has come to rest. */
  readonly over?: () => void;
}

export interface Outcome {
  readonly asExpected: boolean;
  readonly faults: string[];
}

/** The stage has been restored. */
export async function disturb(stage: Stage, disturbance: Disturbance): Promise<Outcome> {
  const { request, leaving, problems = outage } = disturbance;
  const [one, other] = stage.pair;
  const [ones, others] = disturbance.known;
  if (!ones || !others) throw new Error('two users act');
  const reply = await disturbance.happen({
    one: () => asReply(stage.send(one, callOf(request, one), leaving?.signal)),
    other: () => asReply(stage.send(other, callOf(request, other))),
  });
  const restless = await stage.rest();
  disturbance.over?.();
  const faults: string[] = [];
  const fault = (who: string, found: readonly string[]) => faults.push(...found.map((what) => `${who} ${what}`));
  const left = leaving?.signal.aborted === true && 'gone' in reply.one;
  if (!left) fault('who was disturbed', judge(reply.one, ones.answer, { stage, actor: one, problems }));
  fault('the other', judge(reply.other, others.answer, { stage, actor: other, problems: [] }));
  if (restless !== undefined) fault('the database:', [restless]);

  const state = await stage.stateOf(one);
  const told = succeeded(reply.one);
  if (state !== ones.before && state !== ones.after) {
    fault('who was disturbed', [`has half of it:\n${difference(state, ones)}`]);
  }
  if (told && state !== ones.after) fault('who was disturbed', ['was told that it is done, and it is not']);
  if (disturbance.committing?.() === false && state !== ones.before) fault('it', ['was committed without a COMMIT']);
  const done = state === ones.after && (ones.after !== ones.before || told);
  fault('sent again, it', await again(stage, request, ones, done));
  for (const [actor, expected] of [
    [one, ones],
    [other, others],
  ] as const) {
    const now = await probe(stage, actor);
    if (now.join() !== expected.probes.join()) fault('the next requests', [`are answered\n${now.join('\n')}`]);
  }
  if ((await stage.stateOf(other)) !== others.after)
    fault('the other', ['has other rows than in an undisturbed world']);
  return { asExpected: told, faults };
}

const succeeded = (reply: Reply) => 'status' in reply && reply.status < 300;

/** The client does what a client does that had no answer, and the request is done once. */
async function again(stage: Stage, request: Disturbed, known: Undisturbed, done: boolean): Promise<string[]> {
  const [one] = stage.pair;
  if (done && request.again === undefined) return [];
  const reply = await stage.send(one, callOf(request, one));
  await stage.rest();
  const faults: string[] = [];
  if (done && typeof request.again === 'number') {
    if (reply.status !== request.again || codeOf(reply) === undefined) faults.push(`is answered ${reply.status}`);
  } else faults.push(...judge(reply, known.answer, { stage, actor: one, problems: [] }));
  // A refusal is written down, too.
  const state = withoutLog(await stage.stateOf(one));
  if (state !== withoutLog(known.after)) faults.push(`leaves other rows:\n${difference(state, known)}`);
  return faults;
}

const withoutLog = (state: string) => state.replace(/"user_access_log": \[.*?\](?=[,}])/, '');

const contextChars = 150;

function difference(state: string, { after }: Undisturbed): string {
  let at = 0;
  while (at < state.length && state[at] === after[at]) at += 1;
  const around = (text: string) => text.slice(Math.max(0, at - contextChars), at + contextChars);
  return `… ${around(state)} …\n--- and done\n… ${around(after)} …`;
}

/** What shows when all is over. */
export async function finalFaults(stage: Stage): Promise<string[]> {
  const faults: string[] = [];
  const touched = await stage.touched();
  if (touched.length > 0) faults.push(`rows of somebody who did nothing have changed: ${touched.join(', ')}`);
  const [one, other] = stage.pair;
  const replies = await Promise.all(
    Array.from({ length: 3 * stage.poolSize }, (_, i) => probe(stage, i % 2 === 0 ? one : other)),
  );
  if (replies.length === 0) faults.push('nobody is served any more');
  const { rows } = await stage.world.database.query<{ connections: number; open: number }>(
    `select count(*) as connections, count(*) filter (where state like 'idle in transaction%') as open
     from pg_stat_activity where datname = current_database() and usename = 'ringfence_app'`,
  );
  const { connections = 0, open = 0 } = rows[0] ?? {};
  if (connections > stage.poolSize) faults.push(`${connections} connections of a pool of ${stage.poolSize}`);
  if (open > 0) faults.push(`${open} connections are left in a transaction`);
  const marks = stage.pair.map(({ mark }) => mark);
  const line = stage.logLines.find((text) => marks.some((mark) => text.includes(mark)));
  if (line !== undefined) faults.push(`a line of the log shows a row: ${line}`);
  return faults;
}
