import { afterAll, beforeAll, test } from 'vitest';
import { crashAlong } from './crash.ts';
import { type Kills, killEverywhere } from './kill.ts';
import { openServer, type Server } from './server.ts';
import type { Shape } from './shape.ts';
import { shapes } from './shapes/all.ts';
import { compositeKeys } from './shapes/composite-keys.ts';
import { textOwner } from './shapes/text-owner.ts';
import { Stage } from './stage.ts';

/** `npm run test:rollout`: every shape, between every two steps. Takes an hour or two. */
const whole = process.env.RINGFENCE_TEST_ROLLOUT === 'full';
const every: Kills = { points: Number.POSITIVE_INFINITY, moments: 10, stretches: ['cutover', 'contract'] };
const some: readonly [Shape, Kills][] = [
  [compositeKeys, { points: 3, moments: 1, stretches: ['cutover'] }],
  [textOwner, { points: 3, moments: 0, stretches: ['contract'] }],
];
const chosen = whole ? shapes.map((shape): [Shape, Kills] => [shape, every]) : some;

let server: Server;
beforeAll(async () => {
  server = await openServer();
  if (!whole) {
    const left = shapes.filter((shape) => !chosen.some(([one]) => one === shape)).map(({ name }) => name);
    console.log(
      `short form: killed at 3 places of each way, not at every one; skipped: ${left.join(', ')}. The whole: npm run test:rollout`,
    );
  }
});
afterAll(() => server?.stop());

test.each(chosen.map(([shape, kills]) => [shape.name, shape, kills] as const))(
  '%s: killed with SIGKILL along the way, there and back',
  { timeout: whole ? 3_600_000 : 240_000 },
  async (_, shape, kills) => {
    const stage = await Stage.open(shape, await server.fresh(shape), { writers: 2 });
    try {
      console.log(await killEverywhere(stage, kills));
    } finally {
      await stage.close();
    }
  },
);

test.each((whole ? shapes : [textOwner]).map((shape) => [shape.name, shape] as const))(
  '%s: Postgres killed with SIGKILL along the way',
  { timeout: whole ? 1_200_000 : 240_000 },
  async (_, shape) => {
    const durable = await openServer(true);
    try {
      const stage = await Stage.open(shape, await durable.fresh(shape), { writers: 1, expectCrash: true });
      try {
        await crashAlong(stage, durable, whole ? 5 : 2);
      } finally {
        await stage.close();
      }
    } finally {
      await durable.stop();
    }
  },
);
