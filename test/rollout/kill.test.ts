import { test } from 'vitest';
import { type Kills, killEverywhere } from './kill.ts';
import { openServer } from './server.ts';
import type { Shape } from './shape.ts';
import { shapes } from './shapes/all.ts';
import { compositeKeys } from './shapes/composite-keys.ts';
import { ownSchema } from './shapes/own-schema.ts';
import { textOwner } from './shapes/text-owner.ts';
import { Stage } from './stage.ts';

/** `npm run test:rollout`: every shape, at every step; twice, so that at each the command is killed and Postgres is. */
const whole = process.env.RINGFENCE_TEST_ROLLOUT === 'full';
const every = { points: Infinity, moments: 10, stretches: ['cutover', 'contract'] } as const;
const some: readonly [Shape, Kills][] = [
  [compositeKeys, { points: 3, victims: ['command'], moments: 1, stretches: ['cutover'] }],
  [textOwner, { points: 2, victims: ['postgres'], moments: 0, stretches: ['cutover'] }],
  [textOwner, { points: 3, victims: ['command'], moments: 0, stretches: ['contract'] }],
];
// Two at a time, and the one that takes longest from the start.
const longestFirst = [ownSchema, ...shapes.filter((shape) => shape !== ownSchema)];
const all = (
  [
    ['command', 'postgres'],
    ['postgres', 'command'],
  ] as const
).flatMap((victims) => longestFirst.map((shape): [Shape, Kills] => [shape, { ...every, victims }]));
const chosen = whole ? all : some;
if (!whole) {
  const left = shapes.filter((shape) => !chosen.some(([one]) => one === shape)).map(({ name }) => name);
  console.log(
    `short form: killed at 3 places of each way, not at every one; skipped: ${left.join(', ')}. The whole: npm run test:rollout`,
  );
}

test.concurrent.each(chosen.map(([shape, kills]) => [shape.name, kills.victims.join(' and '), shape, kills] as const))(
  '%s: %s killed with SIGKILL along the way, there and back',
  { timeout: whole ? 5_400_000 : 240_000 },
  async (_, __, shape, kills) => {
    const crashes = kills.victims.includes('postgres');
    // Roles are the server's: two shapes do not meet on one.
    const server = await openServer(crashes);
    try {
      const stage = await Stage.open(shape, await server.fresh(shape), {
        writers: whole ? 1 : 2,
        expectCrash: crashes,
      });
      try {
        await killEverywhere(stage, server, kills);
      } catch (error) {
        // The reporter tells it when all shapes are through.
        console.error(`${shape.name}, ${kills.victims.join(' and ')}:`, error);
        throw error;
      } finally {
        await stage.close();
      }
    } finally {
      await server.stop();
    }
  },
);
