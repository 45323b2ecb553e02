/**
 * The frame condition: whatever a user does, and whether it succeeds or not, every other user's rows are afterwards as
 * they were: a hash for each (other user, table) over all owned and account tables, the access log included.
 *
 * The others' ids are known to who acts, which is more than a user has, and half of the ids in requests are theirs.
 */
import { v7 as uuidv7 } from 'uuid';
import { cases, checkCases, createCast } from './model/cases.ts';
import { guessedIds } from './model/choice.ts';
import { createFigures } from './model/figures.ts';
import { Knowledge, kinds } from './model/knowledge.ts';
import { play } from './model/play.ts';
import type { App } from './model/server.ts';
import { modelledRoutes } from './model/surface.ts';
import { addUser, changedBetween, frameOf, openWorld, plantGuessed, type World } from './model/world.ts';
import { addBystander, bystander } from './oracle.ts';
import type { ProofContext, ProofPart, ProofResult } from './part.ts';

const sizes = {
  short: { cases: 10, steps: 60, users: 3, milliseconds: 150_000 },
  full: { cases: 550, steps: 200, users: 3, milliseconds: 1_500_000 },
} as const;

interface Size {
  readonly cases: number;
  readonly steps: number;
  readonly users: number;
  readonly milliseconds: number;
  readonly shrink?: boolean;
}

export interface FrameOptions {
  readonly spoil?: (world: World) => Promise<void>;
  readonly prepare?: (app: App, databaseUrl: string) => void;
  readonly size?: Size;
}

/**
 * Failed attempts to sign in count against the account that they name, whoever makes them: without that, passwords
 * could be guessed. They are the only thing that can be done to another user, and are counted by two columns of `users`
 * and a line in the log. The model tries to sign in as the bystander; the others stay as they are to the last bit.
 */
const guessedAccount = new Set([`${bystander} users`, `${bystander} user_access_log`]);

export async function runFrame(context: ProofContext, options: FrameOptions = {}): Promise<ProofResult> {
  const size: Size = options.size ?? sizes[context.size];
  const world = await openWorld(context, 'shared', options.prepare);
  try {
    await addBystander(world);
    const victims = [uuidv7(), uuidv7()];
    for (const [i, id] of victims.entries()) {
      const email = `victim-${i}@example.test`;
      await addUser(world, { id, email, passwordHash: '', sessions: [uuidv7()], since: new Date().toISOString() });
      await plantGuessed(world, id);
    }
    await options.spoil?.(world);
    const { routes, faults } = await modelledRoutes(world.server.url);
    // Drawn, it would succeed too seldom: it takes the right password. Without numbers it is the first one, old and new.
    const changes = routes.findIndex(({ name }) => name === 'POST /api/auth/change-password');
    const passwordChange = { user: 0, route: changes, numbers: [] };
    const cast = createCast([world]);
    const figures = createFigures(routes);
    const known = knowledgeOf(victims[0] ?? '');
    let frame = new Map<string, string>();
    let hashes = 0;
    const found = await checkCases(
      cases(routes, [1, size.users], size.steps),
      async ({ users, steps }) => {
        figures.begin();
        const participants = await cast.gather(users, () => [world]);
        const acting = participants.map(({ id }) => id);
        // What a case before has changed must not count against this one.
        frame = new Map(await frameOf(world, acting));
        const played = await play([passwordChange, ...steps], { routes, participants, known: [known, known] });
        await world.quiet();
        figures.count(played);
        const after = await frameOf(world, acting);
        hashes += after.size;
        const changed = changedBetween(frame, after).filter(
          (key) => !guessedAccount.has(key) && !registered(key, frame),
        );
        const touched = changed.length === 0 ? [] : [`rows of others have changed: ${changed.join(', ')}`];
        const seen = played.fault === undefined ? [] : [played.fault];
        return [...touched, ...seen].join('\n') || undefined;
      },
      { part: 'frame', context, runs: size.cases, ...size },
    );
    return {
      figures: { ...figures.report(), ...found.figures, 'hashes compared': hashes },
      faults: [...faults, ...figures.faults(), ...found.faults],
    };
  } finally {
    await world.close();
  }
}

/** Accounts that somebody registered during the case are new, and nobody's rows before. */
function registered(key: string, before: ReadonlyMap<string, string>): boolean {
  const [user = ''] = key.split(' ');
  return !before.has(`${user} users`);
}

/** Everything that a victim has goes by the ids that everybody guesses. */
function knowledgeOf(victim: string): Knowledge {
  const knowledge = new Knowledge('victim-0@example.test');
  for (const kind of kinds) for (const id of guessedIds) knowledge.remember(kind, id);
  knowledge.remember('accounts', victim);
  return knowledge;
}

export const part: ProofPart = {
  name: 'frame',
  title: 'whatever a user does leaves every other user’s rows as they were',
  run: (context) => runFrame(context),
};
