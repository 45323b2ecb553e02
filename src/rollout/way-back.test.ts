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
  [
    'a check',
    `create table public.tasks (id int primary key, project_id int,
     constraint belongs foreign key (project_id) references public.projects, constraint ringfence_belongs check (id > 0))`,
    'ringfence_belongs',
  ],
  ['the owner', 'alter table public.projects add user_id text, add ringfence_user_id text', 'ringfence_user_id'],
])('%s that has the name of what a swap needs is refused', async (_, statement, name) => {
  await client.query(statement);
  expect(await refusal()).toContain(`${name} is there already`);
});

const definitions = async (table: string) => {
  const { rows } = await client.query<{ definition: string }>(
    `select pg_get_indexdef(indexrelid) as definition from pg_index where indrelid = $1::regclass and indisunique`,
    [table],
  );
  return rows.map(({ definition }) => definition.replace(/^.* USING btree /, '')).sort();
};

/** What was said of indexes and constraints, by their names. */
async function said(): Promise<unknown> {
  const { rows } = await client.query(`
    select c.relname as of, i.indisclustered as clustered, i.indisreplident as identity, obj_description(c.oid, 'pg_class') as comment,
      (select jsonb_object_agg(pg_get_indexdef(c.oid, a.attnum, true), a.attstattarget) from pg_attribute a
       where a.attrelid = c.oid and a.attstattarget >= 0) as statistics
    from pg_index i join pg_class c on c.oid = i.indexrelid
    where c.relnamespace = 'public'::regnamespace and c.relname !~ 'user_id'
    union all select conname, null, null, obj_description(oid, 'pg_constraint'), null
    from pg_constraint where connamespace = 'public'::regnamespace and contype in ('p', 'u', 'f') and conparentid = 0
    order by 1, 2`);
  return rows;
}

test('a key keeps what it says besides its columns, and what refers to its index', async () => {
  await client.query(`
    create table public.tasks (
      id int, project_id int not null references public.projects on delete cascade, code text, place int not null,
      primary key (id) include (place) with (fillfactor = 70),
      constraint tasks_code unique nulls not distinct (code) include (place)
    );
    create unique index tasks_place on public.tasks (place, (code || 'x')) with (fillfactor = 60);
    alter index public.tasks_place alter column 2 set statistics 77;
    insert into public.tasks select n, 1 + n % 20, nullif('c' || n, 'c1'), n from generate_series(1, 100) n;
    alter table public.projects add constraint projects_name unique (name);
    alter table public.projects replica identity using index projects_name;
    alter table public.tasks cluster on tasks_place;
    comment on constraint projects_name on public.projects is 'one name';
    comment on index public.projects_pkey is 'the key';
    comment on index public.tasks_place is 'a place';
    comment on constraint tasks_project_id_fkey on public.tasks is 'whose it is'`);
  const before = await said();
  await thereAndBack(async () => {
    expect(await definitions('public.tasks')).toEqual([
      '(user_id, code) INCLUDE (place) NULLS NOT DISTINCT',
      "(user_id, id) INCLUDE (place) WITH (fillfactor='70')",
      "(user_id, place, ((code || 'x'::text))) WITH (fillfactor='60')",
    ]);
    expect(await said()).toEqual(before);
  });
});

test('so does that of a partitioned table and of its parts', async () => {
  await client.query(`
    create table public.events (
      id int, at date, project_id int not null references public.projects, code text,
      primary key (id, at) include (code),
      constraint events_code unique nulls not distinct (code, at)
    ) partition by range (at);
    create table public.events_2025 partition of public.events for values from ('2025-01-01') to ('2026-01-01');
    create table public.events_rest partition of public.events default;
    insert into public.events select n, date '2025-06-01' + n, 1 + n % 20, nullif('c' || n, 'c1') from generate_series(1, 400) n;
    create table public.remarks (
      id int primary key, event_id int, event_at date, constraint remarks_event foreign key (event_id, event_at) references public.events
    );
    insert into public.remarks select id, id, at from public.events;
    alter table public.events_2025 cluster on events_2025_pkey;
    comment on constraint events_code on public.events is 'one code a day';
    comment on constraint events_project_id_fkey on public.events is 'whose it is';
    comment on constraint remarks_event on public.remarks is 'of what'`);
  const before = await said();
  await thereAndBack(async () => {
    const expected = ['(user_id, code, at) NULLS NOT DISTINCT', '(user_id, id, at) INCLUDE (code)'];
    expect(await definitions('public.events')).toEqual(expected);
    expect(await definitions('public.events_2025')).toEqual(expected);
    expect(await said()).toEqual(before);
  });
});

test('however the database is set up', async () => {
  const settings = ['quote_all_identifiers = on', 'standard_conforming_strings = off', 'transform_null_equals = on'];
  for (const setting of settings)
    await client.query(`do $$ begin execute format('alter database %I set ${setting}', current_database()); end $$`);
  await client.query('create unique index projects_name on public.projects (name) where owner_id > 0');
  await client.end();
  client = await connect(database.url, 'test');
  await thereAndBack(async () => {
    expect(await definitions('public.projects')).toEqual(['(user_id, id)', '(user_id, name) WHERE (owner_id > 0)']);
  });
});

test('a partitioned table may have two unique indexes over the same columns', async () => {
  await client.query(`
    create table public.tasks (id int, project_id int not null references public.projects, code text, done boolean not null,
      primary key (id, done)) partition by list (done);
    create table public.open_tasks partition of public.tasks for values in (false);
    create unique index tasks_named on public.tasks (done, code) where code > 'm';
    create unique index tasks_coded on public.tasks (done, code) where code < 'm';
    insert into public.tasks select n, 1 + n % 20, case when n % 2 = 0 then 'n' else 'c' end || n, false from generate_series(1, 100) n`);
  await thereAndBack(async () => {
    expect(await definitions('public.open_tasks')).toEqual([
      "(user_id, done, code) WHERE (code < 'm'::text)",
      "(user_id, done, code) WHERE (code > 'm'::text)",
      '(user_id, id, done)',
    ]);
  });
});

test('rows of two users without a value, where NULLS are NOT DISTINCT, are in the way, and set aside on demand', async () => {
  await client.query(`
    create table public.tasks (id int primary key, owner_id int not null references public.users, code text unique nulls not distinct);
    insert into public.tasks values (1, 1, 'c1'), (2, 2, null)`);
  const { plan } = await makePlan(client, config);
  await applyPlan(database.url, plan, { until: 'contract' });
  // Nobody is bound by policies for a moment: this is who gives rows.
  await client.query(`alter table public.tasks disable row level security;
    insert into public.tasks (id, owner_id, user_id) select 3, owner_id, user_id from public.tasks where id = 1;
    alter table public.tasks enable row level security`);
  const back = (acceptDataLoss: boolean) => rollbackPlan(database.url, plan, { to: null, acceptDataLoss });
  await expect(back(false)).rejects.toThrow('public.tasks: 2 users have a row with (code) = (null)');
  expect(await back(true)).toMatchObject({ displaced: 1 });
  const { rows } = await client.query('select id from public.tasks order by id');
  expect(rows).toHaveLength(2);
  expect(rows[0]).toEqual({ id: 1 });
});
