/** Cases: who takes part and what they do. Drawn, run and shrunk by fast-check, all from one seed. */
import fc from 'fast-check';
import { v7 as uuidv7 } from 'uuid';
import { hashPassword } from '../../../../src/access/password.ts';
import { type ProofContext, replayOf } from '../part.ts';
import { passwords } from './choice.ts';
import { Participant } from './participant.ts';
import type { Step } from './play.ts';
import type { ModelledRoute } from './surface.ts';
import { addUser, removeUsers, type World } from './world.ts';

export interface Case {
  readonly users: number;
  readonly steps: readonly Step[];
}

/** As many as the longest request takes. */
const numbersMax = 28;

export function cases(routes: readonly ModelledRoute[], users: readonly [number, number], stepsMax: number) {
  const bounds = cumulative(routes);
  const total = bounds.at(-1) ?? 1;
  const route = fc.integer({ min: 0, max: total - 1 }).map((at) => bounds.findIndex((bound) => at < bound));
  const number = fc.integer({ min: 0, max: 9_999 });
  const step = fc.record({
    user: fc.integer({ min: 0, max: users[1] - 1 }),
    route,
    numbers: fc.array(number, { minLength: 0, maxLength: numbersMax, size: 'max' }),
  });
  // Evenly: fast-check would otherwise draw the ends of a range, and short lists, more often than the rest.
  return fc.noBias(
    fc.record({
      users: fc.integer({ min: users[0], max: users[1] }),
      steps: fc.array(step, { minLength: 1, maxLength: stepsMax, size: 'max' }),
    }),
  );
}

function cumulative(routes: readonly ModelledRoute[]): number[] {
  let sum = 0;
  return routes.map(({ weight }) => {
    sum += Math.max(1, Math.round(weight * 10));
    return sum;
  });
}

export interface CheckOptions {
  readonly part: string;
  readonly context: Pick<ProofContext, 'seed' | 'signal' | 'path' | 'size'>;
  readonly runs: number;
  /** Running and shrinking end after this. */
  readonly milliseconds: number;
  /** Whether the least case is looked for; it is unless said. */
  readonly shrink?: boolean;
}

export interface Checked {
  /** One, with the least case that shows it and what replays it; or none. */
  readonly faults: readonly string[];
  /** Says so when time was up before all cases were run: beside other tests, on a machine that has much else to do. */
  readonly figures: Readonly<Record<string, string>>;
}

export async function checkCases<T extends Case>(
  arbitrary: fc.Arbitrary<T>,
  run: (one: T) => Promise<string | undefined>,
  { part, context, runs, milliseconds, shrink = true }: CheckOptions,
): Promise<Checked> {
  const { path } = context;
  let done = 0;
  let least: string | undefined;
  const property = fc.asyncProperty(arbitrary, async (one) => {
    context.signal.throwIfAborted();
    const fault = await run(one);
    done += 1;
    if (fault === undefined) return;
    // Each failure is of a case that shrinking has made smaller than the one before.
    least = `${fault}\n(after ${one.steps.length} steps of ${one.users} users)`;
    throw new Error(fault);
  });
  const details = await fc.check(property, {
    seed: context.seed,
    ...(path === undefined ? {} : { path }),
    numRuns: runs,
    interruptAfterTimeLimit: milliseconds,
    markInterruptAsFailure: false,
    endOnFailure: !shrink,
  });
  const short = `${done} of ${runs} cases in ${milliseconds / 1000} s`;
  const figures = details.interrupted ? { 'cut short': short } : {};
  if (!details.failed) {
    // At full size what was not tried is not shown, however well the rest went.
    return { faults: details.interrupted && context.size === 'full' ? [`cut short: ${short}`] : [], figures };
  }
  const reason = least ?? String(details.errorInstance);
  return {
    faults: [`${reason}\nreplay: ${replayOf(part, context, details.counterexamplePath ?? undefined)}`],
    figures,
  };
}

const sessionsAtStart = 3;

/** Users without anything, the same in each of their worlds; `worldsOf` says where each is at home. */
export function createCast(worlds: readonly World[]) {
  const since = new Date().toISOString();
  let passwordHash: string | undefined;
  let present: string[] = [];
  return {
    /** Removes the users of the case before, then makes new ones. */
    async gather(users: number, worldsOf: (slot: number) => readonly World[]): Promise<Participant[]> {
      passwordHash ??= await hashPassword(passwords[0]);
      const gone = present;
      if (gone.length > 0) await Promise.all(worlds.map((world) => removeUsers(world, gone)));
      const hash = passwordHash;
      const participants: Participant[] = [];
      for (let slot = 0; slot < users; slot += 1) {
        const id = uuidv7();
        const email = `user-${slot}@example.test`;
        const homes = worldsOf(slot);
        const sessions = Array.from({ length: sessionsAtStart }, () => uuidv7());
        await Promise.all(homes.map((world) => addUser(world, { id, email, passwordHash: hash, sessions, since })));
        const participant = new Participant(id, slot, email, homes);
        for (const session of sessions) {
          participant.knowledge.remember('sessions', session);
          // The secret is the same everywhere, and so is the token.
          const token = await homes[0]?.server.mint(id, email, session);
          for (const { secrets } of participant.homes) secrets.add('session', token?.token ?? '');
        }
        participants.push(participant);
      }
      present = participants.map(({ id }) => id);
      return participants;
    },
  };
}
