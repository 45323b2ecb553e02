/**
 * Twin worlds: the same user does the same in two worlds that differ in the rest alone. In one there is nobody else; in
 * the other the rest is arranged adversarially (twin-worlds.ts). What the user sees must be the same, through HTTP as in
 * the oracle, and below it (twin-sql.ts).
 */
import fc from 'fast-check';
import { cases, checkCases, createCast } from './model/cases.ts';
import { createFigures } from './model/figures.ts';
import { play } from './model/play.ts';
import { modelledRoutes } from './model/surface.ts';
import { openWorld, type World } from './model/world.ts';
import type { ProofContext, ProofPart, ProofResult } from './part.ts';
import { addSqlUser, outcomeOf, statementsFor } from './twin-sql.ts';
import { type Arrangement, arrangements } from './twin-worlds.ts';

const sizes = {
  short: { cases: 9, steps: 50, crowd: 1_000, milliseconds: 150_000 },
  full: { cases: 160, steps: 200, crowd: 1_000_000, milliseconds: 1_500_000 },
} as const;

interface Size {
  readonly cases: number;
  readonly steps: number;
  readonly crowd: number;
  readonly milliseconds: number;
  readonly shrink?: boolean;
}

export interface TwinOptions {
  /** Spoils the arranged worlds. */
  readonly spoil?: (world: World) => Promise<void>;
  /** Of twin-worlds.ts, by name; all of them unless said. */
  readonly worlds?: readonly string[];
  readonly size?: Size;
}

interface Twin {
  readonly world: World;
  readonly follow: Arrangement['follow'];
}

export async function runTwin(context: ProofContext, options: TwinOptions = {}): Promise<ProofResult> {
  const size: Size = options.size ?? sizes[context.size];
  const opened: World[] = [];
  try {
    const empty = await openWorld(context, 'nobody else');
    opened.push(empty);
    const twins: Twin[] = [];
    for (const { name, furnish, follow } of arrangements(size.crowd)) {
      if (options.worlds?.includes(name) === false) continue;
      const world = await openWorld(context, name);
      opened.push(world);
      const started = performance.now();
      await furnish(world);
      await options.spoil?.(world);
      twins.push({ world, follow });
      context.say(`twin: ${name} in ${Math.round(performance.now() - started)} ms`);
    }
    const { routes, faults } = await modelledRoutes(empty.server.url);
    const figures = createFigures(routes);
    const cast = createCast(opened);
    const below = await compareStatements([empty, ...twins.map(({ world }) => world)], context.size === 'full' ? 6 : 1);
    const single = cases(routes, [1, 1], size.steps);
    const withWorld = fc
      .tuple(single, fc.integer({ min: 0, max: twins.length - 1 }))
      .map(([one, twin]) => ({ ...one, twin }));
    const found = await checkCases(
      withWorld,
      async ({ users, steps, twin }) => {
        const { world, follow } = twins[twin] ?? {};
        if (!world) throw new Error(`there is no world ${twin}`);
        figures.begin();
        const participants = await cast.gather(users, () => [empty, world]);
        const after = follow ? { after: ({ id }: { readonly id: string }) => follow(world, id) } : {};
        const played = await play(steps, { routes, participants, ...after });
        figures.count(played);
        return played.fault;
      },
      { part: 'twin', context, runs: size.cases, ...size },
    );
    return {
      figures: {
        ...figures.report(),
        ...found.figures,
        'rows of others in the crowded world': size.crowd,
        'statements below HTTP, in each world': below.statements,
      },
      faults: [...faults, ...below.faults, ...figures.faults(), ...found.faults],
    };
  } finally {
    await Promise.all(opened.map((world) => world.close()));
  }
}

const faultsShownMax = 10;

async function compareStatements(
  worlds: readonly World[],
  guesses: number,
): Promise<{ statements: number; faults: string[] }> {
  const [first] = worlds;
  if (!first) throw new Error('there is no world');
  for (const world of worlds) await addSqlUser(world);
  const statements = await statementsFor(first, guesses);
  const faults: string[] = [];
  for (const statement of statements) {
    const [expected = '', ...outcomes] = await Promise.all(worlds.map((world) => outcomeOf(world, statement)));
    for (const [i, outcome] of outcomes.entries()) {
      if (outcome === expected) continue;
      faults.push(`${statement}\n--- ${first.name}\n${expected}\n--- ${worlds[i + 1]?.name}\n${outcome}`);
    }
  }
  return { statements: statements.length, faults: faults.slice(0, faultsShownMax) };
}

export const part: ProofPart = {
  name: 'twin',
  title: 'a user cannot tell two worlds apart that differ in the rest alone',
  run: (context) => runTwin(context),
};
