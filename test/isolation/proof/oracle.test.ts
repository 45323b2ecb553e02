import pg from 'pg';
import { afterEach, expect, test } from 'vitest';
import { contextInVitest, defects } from './model/in-vitest.ts';
import { putFilterBack, takeFilterAway } from './model/owner-filter.ts';
import { routeModels } from './model/routes.ts';
import { modelledRoutes } from './model/surface.ts';
import { openWorld } from './model/world.ts';
import { part, runOracle } from './oracle.ts';

const minutes = 60_000;
/** Enough to come upon a defect. */
const size = { cases: 60, steps: 120, users: 2, milliseconds: 60_000, shrink: false };

afterEach(putFilterBack);

test(
  'each user is answered as if nobody else were there',
  async () => {
    const { figures, faults } = await part.run(contextInVitest());
    expect(faults).toEqual([]);
    expect(figures['model operations']).toBeGreaterThan(300);
  },
  3 * minutes,
);

test('every route has a generator, and no generator is without its route', async () => {
  const world = await openWorld(contextInVitest(), 'routes');
  try {
    expect((await modelledRoutes(world.server.url)).faults).toEqual([]);
    const models = { ...routeModels };
    delete models['GET /api/tasks'];
    models['GET /api/nothing'] = { weight: 1, make: () => ({}) };
    expect((await modelledRoutes(world.server.url, models)).faults).toEqual([
      expect.stringContaining('GET /api/tasks has no generator'),
      expect.stringContaining('GET /api/nothing, which is no route'),
    ]);
  } finally {
    await world.close();
  }
});

test.each([
  ['a unique constraint without the owner', defects.uniqueWithoutOwner],
  ['a foreign key without the owner', defects.referenceWithoutOwner],
])(
  'it can fail: %s',
  async (_, spoil) => {
    const { faults } = await runOracle(contextInVitest(), { spoil, size });
    expect(faults).toEqual([expect.stringMatching(/differs:.*--- shared.*--- alone.*replay: .*--seed/s)]);
  },
  3 * minutes,
);

test(
  'it can fail: a table without its policy and without the owner filter',
  async () => {
    takeFilterAway();
    const { faults } = await runOracle(contextInVitest(), { spoil: defects.openPolicy('tasks'), size });
    expect(faults).toEqual([expect.stringMatching(/differs:|was given first/)]);
  },
  3 * minutes,
);

test(
  'it can fail: a list that counts everybody’s rows',
  async () => {
    const { faults } = await runOracle(contextInVitest(), {
      prepare: (app, databaseUrl) => {
        const pool = new pg.Pool({ connectionString: databaseUrl, max: 1 });
        app.addHook('onClose', () => pool.end());
        app.addHook('onSend', async (request, reply) => {
          if (request.routeOptions.url !== '/api/projects' || request.method !== 'GET') return;
          const { rows } = await pool.query('select count(*) from projects');
          reply.header('x-total-count', rows[0]?.count);
        });
      },
      size,
    });
    expect(faults).toEqual([expect.stringContaining('GET /api/projects')]);
    expect(faults[0]).toContain('differs');
  },
  3 * minutes,
);
