import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../../test/support/postgres.ts';
import { type Connection, connect } from '../connection.ts';
import { freezePlan } from '../plan.ts';
import { condition } from '../steps/shadow.ts';
import { applyPlan } from './runner.ts';

let database: TestDatabase;
let client: Connection;

const tables = [
  { table: 'public.items', ownerColumn: 'owner' },
  { table: '"My App"."Empty"', ownerColumn: 'user id' },
];
const plan = freezePlan(
  'test',
  { users: null, owned: [], unowned: [], legacyRoles: [], quarantineOwner: '', appRole: 'ringfence_app' },
  [
    {
      id: 'shadow/compare',
      phase: 'shadow',
      table: null,
      title: 'compare',
      lock: 'ACCESS SHARE',
      rewrites: false,
      up: { kind: 'shadow', tables },
      down: null,
      onlineOnly: false,
      restores: null,
    },
  ],
);

beforeAll(async () => {
  database = await createDatabase('isolated');
  client = await connect(database.url, 'test');
  await client.query(`
    do $$ begin create role ringfence_shadow nologin; exception when duplicate_object then null; end $$;
    grant usage on schema ringfence to ringfence_shadow;
    grant execute on function ringfence.verified_user_id(boolean) to ringfence_shadow;
    create table public.items (id int, owner uuid not null);
    insert into public.items
      select i, ('00000000-0000-4000-8000-00000000000' || i % 10)::uuid from generate_series(1, 1000) i;
    create schema "My App";
    create table "My App"."Empty" ("user id" uuid);
    grant usage on schema public, "My App" to ringfence_shadow;
    grant select on public.items, "My App"."Empty" to ringfence_shadow;
    alter table public.items enable row level security;
    alter table "My App"."Empty" enable row level security;
    create policy user_isolation on "My App"."Empty" to ringfence_shadow
      using (${condition('user id')})`);
});

beforeEach(() =>
  client.query('drop policy if exists user_isolation on public.items; drop policy if exists leak on public.items'),
);

afterAll(async () => {
  await client.query('drop owned by ringfence_shadow');
  await client.end();
  await database.drop();
});

const isolate = `create policy user_isolation on public.items to ringfence_shadow
  using (${condition('owner')})`;

async function again() {
  await client.query('drop schema if exists ringfence_rollout cascade');
  return applyPlan(database.url, plan);
}

test('policies that show what the owner column says pass, and nothing is left behind', async () => {
  await client.query(isolate);
  const keys = 'select count(*) from ringfence.identity_keys';
  const before = await client.query(keys);
  await again();
  expect((await client.query(keys)).rows).toEqual(before.rows);
  const { rows } = await client.query("select detail from ringfence_rollout.steps where state = 'done'");
  // Ten owners, the quarantine's among them, a stranger and nobody; the empty table's quarantine, stranger and nobody.
  expect(rows).toEqual([{ detail: { comparisons: 15 } }]);
});

test('a further policy that shows more is found, with table and user', async () => {
  await client.query(`${isolate}; create policy leak on public.items to ringfence_shadow using (id = 7)`);
  await expect(again()).rejects.toMatchObject({
    code: 'rollout_refused',
    message: expect.stringMatching(
      /public\.items, user 00000000-0000-4000-8000-000000000001: 100 rows, the policy shows 101/,
    ),
  });
});

test('a policy that does not ask who it is is found', async () => {
  await client.query('create policy leak on public.items to ringfence_shadow using (true)');
  await expect(again()).rejects.toMatchObject({
    message: expect.stringContaining('public.items, nobody: the policy shows 1000 rows and raises no error'),
  });
});

test('missing policies are found', async () => {
  await expect(again()).rejects.toMatchObject({ message: expect.stringContaining('100 rows, the policy shows 0') });
});
