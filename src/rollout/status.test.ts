import { afterEach, beforeEach, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../test/support/postgres.ts';
import { type Connection, connect, withConnection } from './connection.ts';
import { freezePlan, type Step } from './plan.ts';
import { applyPlan } from './run/runner.ts';
import { readStatus } from './status.ts';

let database: TestDatabase;
let client: Connection;

beforeEach(async () => {
  database = await createDatabase();
  client = await connect(database.url, 'test');
});

afterEach(async () => {
  await client.end();
  await database.drop();
});

const blank = { table: null, lock: 'none', rewrites: false, restores: null, onlineOnly: false, down: null } as const;
const sweep = {
  table: 'public.items',
  leaves: ['public.items'],
  update: 'update %TABLE% t set owner = 1 where %RANGE% and t.owner = 0',
  search: 'select t.ctid from %TABLE% t where %RANGE% and t.owner = 0',
  unclaimed: 't.owner = 0',
  recursive: false,
};
const steps: Step[] = [
  {
    ...blank,
    id: 'prepare/items',
    phase: 'prepare',
    title: 'make it',
    up: {
      kind: 'sql',
      locks: [],
      statements: [
        "create table public.items as select i, 0 as owner, repeat('x', 100) from generate_series(1, 20000) i",
      ],
    },
  },
  { ...blank, id: 'owners/items', phase: 'owners', title: 'fill it', up: { kind: 'backfill', sweep } },
];
const plan = freezePlan(
  'test',
  { users: null, owned: [], unowned: [], legacyRoles: [], quarantineOwner: '', appRole: 'app' },
  steps,
);

test('without a plan there is nothing to tell', async () => {
  expect(await readStatus(database.url)).toMatchObject({ plan: null, reached: null, holder: null, step: null });
});

test('another terminal sees the step at work, how far it is and whom it waits for; later that it was interrupted', async () => {
  await applyPlan(database.url, plan, { until: 'prepare' });
  expect(await readStatus(database.url)).toMatchObject({ reached: 'prepare', done: 1, steps: 2, interrupted: false });
  await withConnection(database.url, 'writer', async (writer) => {
    await writer.query('begin; select from public.items where i = 20000 for update');
    const applying = applyPlan(database.url, plan, { workers: 1 }).catch((error) => error);
    await expect
      .poll(() => readStatus(database.url), { interval: 50 })
      .toMatchObject({
        direction: 'up',
        interrupted: false,
        holder: { application: 'ringfence apply' },
        step: { id: 'owners/items', title: 'fill it', progress: { unit: 'blocks', note: expect.any(String) } },
        note: expect.stringContaining('ringfence writer'),
      });
    const { holder } = await readStatus(database.url);
    await client.query('select pg_terminate_backend($1)', [holder?.pid]);
    expect(await applying).toMatchObject({ code: 'database_unavailable' });
    await writer.query('rollback');
  });
  const left = await readStatus(database.url);
  expect(left).toMatchObject({ holder: null, interrupted: true, done: 1, reached: 'prepare', note: null });
  expect(left.step?.progress?.done).toBeGreaterThan(0);
  expect(left.step?.progress?.done).toBeLessThan(left.step?.progress?.total ?? 0);
  await applyPlan(database.url, plan);
  expect(await readStatus(database.url)).toMatchObject({
    done: 2,
    reached: 'contract',
    step: null,
    interrupted: false,
  });
});
