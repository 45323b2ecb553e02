/**
 * The per-user oracle: users act at the same time on one server, and each of them, all by itself, on a server whose
 * database holds nothing else. What a user is answered must be the same in both: status, headers, body, order, cursors,
 * ETags and counts, byte for byte up to the names of what is made anew (model/renaming.ts).
 */
import { hashPassword } from '../../../src/access/password.ts';
import { cases, checkCases, createCast } from './model/cases.ts';
import { createFigures } from './model/figures.ts';
import { play } from './model/play.ts';
import type { App } from './model/server.ts';
import { modelledRoutes } from './model/surface.ts';
import { addUser, openWorld, plantGuessed, type World } from './model/world.ts';
import type { ProofContext, ProofPart, ProofResult } from './part.ts';

const usersMax = 5;
/** Has rows and does nothing: what the ids and names that everybody guesses belong to. Nobody knows the password. */
export const bystander = '0190bbbb-0000-7000-8000-000000000001';

const sizes = {
  short: { cases: 14, steps: 100, users: 3, milliseconds: 150_000 },
  full: { cases: 350, steps: 200, users: usersMax, milliseconds: 1_500_000 },
} as const;

interface Size {
  readonly cases: number;
  readonly steps: number;
  readonly users: number;
  readonly milliseconds: number;
  readonly shrink?: boolean;
}

export interface OracleOptions {
  /** Spoils the shared world, to see that it is noticed. */
  readonly spoil?: (shared: World) => Promise<void>;
  readonly prepare?: (app: App, databaseUrl: string) => void;
  readonly size?: Size;
}

export async function runOracle(context: ProofContext, options: OracleOptions = {}): Promise<ProofResult> {
  const size: Size = options.size ?? sizes[context.size];
  const shared = await openWorld(context, 'shared', options.prepare);
  const alone: World[] = [];
  try {
    for (let slot = 0; slot < size.users; slot += 1) alone.push(await openWorld(context, `alone ${slot}`));
    await addBystander(shared);
    await options.spoil?.(shared);
    const { routes, faults } = await modelledRoutes(shared.server.url);
    const cast = createCast([shared, ...alone]);
    const figures = createFigures(routes);
    const found = await checkCases(
      cases(routes, [2, size.users], size.steps),
      async ({ users, steps }) => {
        figures.begin();
        const participants = await cast.gather(users, (slot) =>
          [shared, alone[slot]].filter((world) => world !== undefined),
        );
        const played = await play(steps, { routes, participants });
        figures.count(played);
        return played.fault;
      },
      { part: 'oracle', context, runs: size.cases, ...size },
    );
    return {
      figures: { ...figures.report(), ...found.figures },
      faults: [...faults, ...figures.faults(), ...found.faults],
    };
  } finally {
    await Promise.all([shared, ...alone].map((world) => world.close()));
  }
}

export async function addBystander(world: World): Promise<void> {
  await addUser(world, {
    id: bystander,
    email: 'bystander@example.test',
    passwordHash: await hashPassword('known to the bystander alone'),
    sessions: [],
    since: '2026-01-01T00:00:00Z',
  });
  await plantGuessed(world, bystander);
}

export const part: ProofPart = {
  name: 'oracle',
  title: 'each user is answered as if nobody else were there',
  run: (context) => runOracle(context),
};
