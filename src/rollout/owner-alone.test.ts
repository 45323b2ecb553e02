import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, statement, type TestDatabase, withDatabase } from '../../test/support/postgres.ts';
import { withConnection } from './connection.ts';
import { makePlan } from './make-plan.ts';
import { applyPlan } from './run/runner.ts';
import { verifyDatabase } from './verify/verify.ts';

const old = `old_application_${randomBytes(4).toString('hex')}`;
let database: TestDatabase;

/** Who once wanted the application to reach all that is ever made here. */
beforeAll(async () => {
  database = await createDatabase();
  await statement(
    database.url,
    `create role ${old} login;
    alter default privileges grant all on schemas to ${old};
    alter default privileges grant all on tables to ${old}, public;
    alter default privileges grant all on sequences to ${old};
    alter default privileges grant all on functions to ${old};
    create table public.users (id integer primary key, email text unique);
    create table public.notes (id integer primary key, owner_id integer not null references public.users, body text);
    revoke all on public.users, public.notes from public;
    insert into public.users values (1, 'ann@example.test');
    insert into public.notes values (1, 1, 'first');`,
  );
});
afterAll(async () => {
  await database.drop();
  await statement(withDatabase(database.url, 'postgres'), `drop role ${old}`);
});

test('default privileges open neither the keys nor the plans, and verify tells of what somebody opens later', async () => {
  const plan = await withConnection(database.url, 'test', async (client) => {
    const config = { tables: {}, shared: [], ignored: [], csv: {} };
    return (await makePlan(client, config)).plan;
  });
  await applyPlan(database.url, plan, { until: 'cutover' });
  const asOld = (sql: string) => statement(database.url, `set role ${old}; ${sql}`);
  await asOld('select from public.notes');
  for (const sql of [
    'select * from ringfence.identity_keys',
    'select ringfence.verified_user_id(true)',
    'select * from ringfence_rollout.plans',
    "update ringfence_rollout.plans set document = '{}'",
    'create table ringfence_rollout.mine (id int)',
  ])
    await expect(asOld(sql), sql).rejects.toMatchObject({ code: '42501' });

  const faults = async () => {
    const { findings } = await withConnection(database.url, 'test', (client) =>
      verifyDatabase(client, { ownership: plan.ownership, extras: plan.extras, reached: 'cutover' }),
    );
    return findings.filter(({ check, severity }) => check === 'own-schemas' && severity === 'fail');
  };
  expect(await faults()).toEqual([]);
  await statement(
    database.url,
    `grant usage on schema ringfence_rollout to ${old};
    grant select (document) on ringfence_rollout.plans to ${old};
    grant execute on function ringfence.current_user_id() to public;`,
  );
  expect((await faults()).map(({ object, message }) => [object, message])).toEqual([
    ['ringfence.current_user_id()', 'everybody has execute, which the rollout gave nobody'],
    ['ringfence_rollout', `the role ${old} has usage, which the rollout gave nobody`],
    ['ringfence_rollout.plans', `the role ${old} has select, which the rollout gave nobody`],
  ]);
  await statement(
    database.url,
    `revoke usage on schema ringfence_rollout from ${old}; revoke execute on function ringfence.current_user_id() from public;
    revoke all on ringfence_rollout.plans from ${old};`,
  );
  expect(await faults()).toEqual([]);
}, 60_000);
