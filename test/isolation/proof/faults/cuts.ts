/**
 * Two users at the same time; into the transaction of one of them something strikes, at each message of its
 * conversation with Postgres. Afterwards everything must be as if nothing had been, or as if the request had been done.
 */
import { Random } from '../fuzz/random.ts';
import type { ProofContext } from '../part.ts';
import { disturb, type Found, finalFaults, type Outcome, type Undisturbed, undisturbed } from './disturb.ts';
import { outage, type Reply } from './judge.ts';
import { callOf, type Disturbed, requests } from './requests.ts';
import { openStage, type Stage, type StageOptions } from './stage.ts';
import { arm, type Conversation, type Place, type StrikeKind, strikeKinds, strikeWith } from './strike.ts';

export interface CutsSize {
  /** Only what is marked short of the requests. */
  readonly requests: 'short' | 'all';
  /** How often is struck at most: what is left of the shuffled list then is left. */
  readonly strikes: number;
  readonly milliseconds: number;
}

interface Case {
  readonly request: Disturbed;
  readonly from: 'transaction' | 'connection';
  readonly place: Place;
  readonly kind: StrikeKind;
}

export async function strikeEverywhere(
  context: ProofContext,
  size: CutsSize,
  options: StageOptions,
  kinds: readonly StrikeKind[] = strikeKinds,
): Promise<Found> {
  const stage = await openStage(context, options);
  const tally = { places: 0, strikes: 0, struck: 0, 'answered as if nothing were': 0, 'not reached': 0 };
  const faults: string[] = [];
  try {
    const known = new Map<string, Undisturbed[]>();
    const cases: Case[] = [];
    for (const request of requests.filter(({ short }) => short || size.requests === 'all')) {
      known.set(request.name, await undisturbed(stage, request));
      const conversations = { transaction: await converse(stage, request, 'transaction') };
      tally.places += placesIn(conversations.transaction).length;
      cases.push(...casesOf(request, 'transaction', conversations.transaction, kinds));
      if (request.short) {
        cases.push(...casesOf(request, 'connection', await converse(stage, request, 'connection'), kinds));
      }
    }
    tally.strikes = cases.length;
    const started = performance.now();
    for (const one of new Random(context.seed).shuffled(cases).slice(0, size.strikes)) {
      if (context.signal.aborted || performance.now() - started > size.milliseconds || faults.length > 0) break;
      const expected = known.get(one.request.name);
      if (!expected) throw new Error(`nothing is known of ${one.request.name}`);
      const outcome = await strikeOnce(stage, one, expected);
      tally[outcome.reached ? 'struck' : 'not reached'] += 1;
      if (outcome.asExpected) tally['answered as if nothing were'] += 1;
      for (const fault of outcome.faults) faults.push(`${nameOf(one, options.poolSize)}: ${fault}`);
    }
    faults.push(...(await finalFaults(stage)));
  } finally {
    await stage.close();
  }
  const { places, strikes, struck, ...rest } = tally;
  const figures = {
    'places in the conversations': places,
    // At the full size all of them, if time allows.
    struck: `${struck} of ${strikes}`,
    ...rest,
  };
  return { figures: named(figures, options), faults };
}

function named(figures: Record<string, number | string>, { poolSize }: StageOptions): Found['figures'] {
  return Object.fromEntries(Object.entries(figures).map(([what, figure]) => [`pool of ${poolSize}: ${what}`, figure]));
}

function nameOf({ request, from, place, kind }: Case, poolSize: number): string {
  const start = from === 'connection' ? ' of a new connection' : '';
  return `${request.name}, pool of ${poolSize}, ${kind} ahead of message ${place.index + 1} of ${place.side}${start}`;
}

const placesIn = ({ messages }: Conversation): Place[] =>
  (['server', 'postgres'] as const).flatMap((side) =>
    Array.from({ length: messages[side] }, (_, index) => ({ side, index })),
  );

/** At each place the cable is cut, and one of the other things happens, by turns. */
function casesOf(
  request: Disturbed,
  from: Case['from'],
  conversation: Conversation,
  kinds: readonly StrikeKind[],
): Case[] {
  return placesIn(conversation).flatMap((place, turn) => {
    const possible = kinds.filter((kind) => isPossible(kind, from, place, conversation));
    const others = possible.filter((kind) => kind !== 'cut');
    const other = others[turn % others.length];
    const chosen = new Set([...possible.filter((kind) => kind === 'cut'), ...(other === undefined ? [] : [other])]);
    // It needs a place of its own kind, of which there are few.
    if (possible.includes('abort')) chosen.add('abort');
    return [...chosen].map((kind) => {
      const at: Place = kind === 'abort' ? { ...place, between: true } : place;
      return { request, from, place: at, kind };
    });
  });
}

function isPossible(kind: StrikeKind, from: Case['from'], { side, index }: Place, { between }: Conversation): boolean {
  // Before BEGIN there is nothing to abort; while it connects there is no backend to name.
  if (kind === 'abort') return from === 'transaction' && side === 'server' && index > 0 && between.includes(index);
  return from === 'transaction' || (kind !== 'kill' && kind !== 'cancel');
}

/** What goes to and fro when nothing happens. */
async function converse(stage: Stage, request: Disturbed, from: Case['from']): Promise<Conversation> {
  await stage.restore();
  if (from === 'connection') await stage.emptyPool();
  const armed = arm(stage, from);
  await stage.send(stage.pair[0], callOf(request, stage.pair[0]));
  await stage.rest();
  return armed.end();
}

/** @returns whether the place was reached, and what came of it */
async function strikeOnce(
  stage: Stage,
  { request, from, place, kind }: Case,
  known: readonly Undisturbed[],
): Promise<Outcome & { reached: boolean }> {
  await stage.restore();
  if (from === 'connection') await stage.emptyPool();
  const leaving = new AbortController();
  let answerOther: Promise<Reply> | undefined;
  let askOther = (): Promise<Reply> => Promise.reject(new Error('nobody has been asked yet'));
  const armed = arm(
    stage,
    from,
    place,
    strikeWith(
      kind,
      stage,
      () => leaving.abort(),
      () => askOther(),
    ),
  );
  const outcome = await disturb(stage, {
    request,
    known,
    // What was aborted behind its back is our own fault to the server; the others are the database's.
    problems: kind === 'abort' ? [...outage, 'internal_error'] : outage,
    leaving,
    committing: () => armed.committing() || !armed.struck(),
    over: () => armed.end(),
    async happen(ask) {
      askOther = () => {
        answerOther ??= ask.other();
        return answerOther;
      };
      const one = ask.one();
      await Promise.race([armed.begun, one]);
      const [replyOne, replyOther] = await Promise.all([one, askOther()]);
      return { one: replyOne, other: replyOther };
    },
  });
  return { ...outcome, reached: armed.struck() };
}
