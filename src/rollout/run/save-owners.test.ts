import { afterEach, beforeEach, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../../test/support/postgres.ts';
import { type Connection, connect } from '../connection.ts';
import { makePlan } from '../make-plan.ts';
import { applyPlan, rollbackPlan } from './runner.ts';

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

test('an owner that was given by hand outlives a rollback that ends while owners are saved', async () => {
  await client.query(`create table public.users (id int primary key);
    create table public.notes (id int primary key, owner_id int not null references public.users);
    insert into public.users values (1), (2);
    insert into public.notes values (1, 1)`);
  const { plan } = await makePlan(client, { tables: {}, shared: [], ignored: [], csv: {} });
  await applyPlan(database.url, plan);
  const ofUser = (id: number) => `ringfence_rollout.derived_user_id('public.users', '${id}')`;
  await client.query(`insert into ringfence_rollout.user_id_backup (table_name, id, user_id, rule_user_id)
    values ('public.notes', '1', ${ofUser(2)}, ${ofUser(1)})`);
  await client.query(`update public.notes set user_id = ${ofUser(2)}`);

  await client.query(`create function public.ends() returns trigger language plpgsql as $$ begin raise exception 'killed'; end $$;
    create trigger ends before insert on ringfence_rollout.user_id_backup for each row when (new.table_name = 'public.notes') execute function public.ends()`);
  await expect(rollbackPlan(database.url, plan, { to: null })).rejects.toThrow('killed');
  await client.query('drop function public.ends cascade');
  await applyPlan(database.url, plan);
  const { rows } = await client.query(`select user_id = ${ofUser(2)} as given from public.notes`);
  expect(rows).toEqual([{ given: true }]);
}, 60_000);
