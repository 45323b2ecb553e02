import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, statement, type TestDatabase, withDatabase } from '../../../test/support/postgres.ts';
import { withConnection } from '../connection.ts';
import { makePlan } from '../make-plan.ts';
import { verifyDatabase } from '../verify/verify.ts';
import { applyPlan, rollbackPlan } from './runner.ts';

const owner = `lesser_owner_${randomBytes(4).toString('hex')}`;
let database: TestDatabase;
let url: string;

/** Who owns the database and its tables, may make roles, and is bound by every policy that is in force. */
beforeAll(async () => {
  database = await createDatabase();
  const { rows } = await statement(database.url, "select current_setting('server_version_num')::int as v");
  // Before 16 a membership inherits, and CREATEROLE makes do without it.
  const admin = (role: string) =>
    Number(rows[0]?.v) >= 160_000 ? `grant ${role} to ${owner} with admin true, inherit false, set false;` : '';
  await statement(
    database.url,
    `create role ${owner} login createrole password 'secret';
    ${admin('ringfence_app, ringfence_system')}
    do $$ begin
      if exists (select from pg_roles where rolname = 'ringfence_shadow') then
        ${admin('ringfence_shadow') || 'null;'}
      end if;
    end $$;
    alter database ${database.name} owner to ${owner}`,
  );
  const login = new URL(database.url);
  login.username = owner;
  login.password = 'secret';
  url = login.href;
  await statement(
    url,
    `create table public.users (id integer primary key, email text not null unique);
    create table public.projects (id integer primary key, owner_id integer references public.users, name text);
    create table public.tasks (
      id integer primary key, project_id integer not null references public.projects on delete cascade
    ) partition by hash (id);
    create table public.tasks_0 partition of public.tasks for values with (modulus 2, remainder 0);
    create table public.tasks_1 partition of public.tasks for values with (modulus 2, remainder 1);
    create table public.comments (id integer primary key, task_id integer not null references public.tasks, body text);
    insert into public.users select n, 'user' || n || '@example.test' from generate_series(1, 5) n;
    insert into public.projects select n, 1 + n % 5, 'Project ' || n from generate_series(1, 50) n;
    insert into public.tasks select n, 1 + n % 50 from generate_series(1, 300) n;
    insert into public.comments select n, 1 + n % 300, 'Comment ' || n from generate_series(1, 600) n;
    analyze;`,
  );
});

afterAll(async () => {
  await database.drop();
  await statement(withDatabase(database.url, 'postgres'), `drop role ${owner}`);
});

test('an owner who is no superuser goes to the last phase, back to the cut-over, on again, and all the way back', async () => {
  const before = await constraints();
  const plan = await withConnection(url, 'test', async (client) => {
    const config = { tables: {}, shared: [], ignored: [], csv: {} };
    return (await makePlan(client, config)).plan;
  });
  const applied = await applyPlan(url, plan, { until: 'contract' });
  expect(applied.left).toBe(0);
  const contracted = await constraints();
  await rollbackPlan(url, plan, { to: 'cutover' });
  expect((await applyPlan(url, plan, { until: 'contract' })).left).toBe(0);
  expect(await constraints()).toEqual(contracted);
  const notWell = async (as: string) => {
    const { findings } = await withConnection(as, 'test', (client) =>
      verifyDatabase(client, { ownership: plan.ownership, extras: plan.extras, reached: 'contract' }),
    );
    return findings.filter(({ severity }) => severity !== 'pass').map(({ check, message }) => `${check}: ${message}`);
  };
  expect(await notWell(url)).toEqual([expect.stringMatching(/^statistics: The planner keeps values of \d+ columns/)]);
  await statement(url, withoutStatistics);
  // What ANALYZE kept until now he cannot see, since the policies bind him.
  expect(await notWell(url)).toEqual([expect.stringMatching(/^statistics: .* cannot be seen by this role/)]);
  expect(await notWell(database.url)).toEqual([
    expect.stringMatching(/^statistics: The planner keeps values of \d+ col/),
  ]);
  await rollbackPlan(url, plan, { to: null });
  expect(await constraints()).toEqual(before);
  expect(await membership()).toEqual([{ member: false }]);
}, 120_000);

/** Of what comes. */
const withoutStatistics = `do $$
declare
  one record;
begin
  for one in
    select a.attrelid::regclass as "table", a.attname
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'p')
    where c.relnamespace = 'public'::regnamespace and a.attnum > 0 and not a.attisdropped
  loop
    execute format('alter table %s alter %I set statistics 0', one.table, one.attname);
  end loop;
end $$`;

async function constraints(): Promise<readonly unknown[]> {
  const { rows } = await statement(
    url,
    `select conrelid::regclass::text as "on", conname, pg_get_constraintdef(oid) as is, convalidated
    from pg_constraint where connamespace = 'public'::regnamespace and contype in ('p', 'u', 'f')
      -- What Postgres 15 makes of a reference for each partition, VALIDATE leaves as it is there.
      and conparentid = 0
    order by 1, 2, 3`,
  );
  return rows;
}

/** To have all rows before him he was a member of the system role: each time for one transaction. */
async function membership(): Promise<readonly unknown[]> {
  const { rows } = await statement(url, "select pg_has_role(current_user, 'ringfence_system', 'USAGE') as member");
  return rows;
}
