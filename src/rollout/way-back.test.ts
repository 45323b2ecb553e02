/** What an application has beside its rows is the same after the last phase was taken back, by either way there. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { schemaText } from '../../test/rollout/schema-text.ts';
import { createDatabase, type TestDatabase } from '../../test/support/postgres.ts';
import { type Connection, connect } from './connection.ts';
import { makePlan } from './make-plan.ts';
import type { RolloutConfig } from './rollout-config.ts';
import { applyPlan, rollbackPlan } from './run/runner.ts';
import { renderScript } from './script.ts';

const config: RolloutConfig = { tables: {}, shared: [], ignored: [], csv: {} };
const schema = `
  create table public.users (id int primary key, email text unique);
  create table public.projects (id int primary key, owner_id int not null references public.users, name text not null);
  insert into public.users select n, n || '@example.test' from generate_series(1, 5) n;
  insert into public.projects select n, 1 + n % 5, 'p' || n from generate_series(1, 20) n;
`;

let database: TestDatabase;
let client: Connection;

beforeEach(async () => {
  database = await createDatabase();
  client = await connect(database.url, 'test');
  await client.query(schema);
});
afterEach(async () => {
  await client.end();
  await database.drop();
});

/** Of all but the schemas that stay: the verifier is what others may still be using. */
const text = async () =>
  (await schemaText(client, ['public'])).split('\n').filter((line) => !line.startsWith('other schema '));

/** @param isolated what holds while the owner is in the keys */
async function thereAndBack(isolated: () => Promise<void> = async () => {}): Promise<void> {
  const before = await text();
  const { plan } = await makePlan(client, config);
  await applyPlan(database.url, plan, { until: 'contract' });
  await isolated();
  await rollbackPlan(database.url, plan, { to: null });
  expect(await text()).toEqual(before);
  await client.query('drop schema ringfence_rollout cascade');

  const { plan: once } = await makePlan(client, config, { oneTransaction: true });
  await client.query(renderScript(once, { oneTransaction: true }));
  await isolated();
  await client.query(renderScript(once, { oneTransaction: true, direction: 'down' }));
  expect(await text()).toEqual(before);
}

async function refusal(): Promise<string> {
  const error = await makePlan(client, config).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: 'rollout_refused' });
  return String(error);
}

test("an index of the application's that has the name of one of ours stays, and ours is there as well", async () => {
  await client.query(`create index idx_projects_user_id on public.projects (name);
    create table public.ringfence_idx_projects_user_id (user_id uuid not null)`);
  await thereAndBack(async () => {
    const { rows } = await client.query<{ definition: string }>(
      `select pg_get_indexdef(indexrelid) as definition from pg_index
       where indrelid = 'public.projects'::regclass and not indisunique order by 1`,
    );
    expect(rows.map(({ definition }) => definition.replace(/ USING.*/, ''))).toEqual([
      'CREATE INDEX idx_projects_user_id ON public.projects',
      'CREATE INDEX ringfence_2_idx_projects_user_id ON public.projects',
    ]);
  });
});

test.each([
  ['an index', 'create index ringfence_projects_pkey on public.projects (name)', 'ringfence_projects_pkey'],
  [
    'the old index',
    'create index ringfence_old_projects_pkey on public.projects (name)',
    'ringfence_old_projects_pkey',
  ],
  ['the owner', 'alter table public.projects add user_id text, add ringfence_user_id text', 'ringfence_user_id'],
])('%s that has the name of what a swap needs is refused', async (_, statement, name) => {
  await client.query(statement);
  expect(await refusal()).toContain(`${name} is there already`);
});
