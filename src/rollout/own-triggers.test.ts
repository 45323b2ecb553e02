import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, statement, type TestDatabase } from '../../test/support/postgres.ts';
import { readCatalog } from './catalog.ts';
import { withConnection } from './connection.ts';
import { makePlan } from './make-plan.ts';
import { preflight } from './preflight/preflight.ts';
import { applyPlan } from './run/runner.ts';

const config = { tables: {}, shared: [], ignored: ['public.audit_log'], csv: {} };
const audit = 'begin insert into audit_log (what) values (tg_op); return new; end';

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
  await statement(
    database.url,
    `create table public.users (id integer primary key);
    create table public.projects (id integer primary key, owner_id integer not null references public.users);
    create table public.tasks (
      id integer primary key, project_id integer not null references public.projects, touched timestamptz, version int
    );
    create table public.audit_log (what text);
    insert into public.users values (1), (2);
    insert into public.projects values (1, 1);
    insert into public.tasks values (1, 1)`,
  );
});
afterAll(() => database.drop());

const plan = () => withConnection(database.url, 'test', async (client) => (await makePlan(client, config)).plan);

async function withTrigger(body: string, { event = 'after update', rights = '', when = '' } = {}): Promise<void> {
  await statement(
    database.url,
    `create or replace function public.acts() returns trigger language plpgsql ${rights} as $acts$ ${body} $acts$;
    create or replace trigger acts ${event} on public.tasks for each row ${when} execute function public.acts()`,
  );
}

test('a trigger that would not find what it names is refused, by preflight and by plan', async () => {
  await withTrigger(audit);
  await expect(plan()).rejects.toMatchObject({
    code: 'rollout_refused',
    message: expect.stringMatching(/public\.tasks: trigger acts .*alter function public\.acts\(\) set search_path/s),
  });
  const found = await withConnection(database.url, 'test', async (client) =>
    preflight(client, await readCatalog(client)),
  );
  expect(found.filter(({ check }) => check === 'update-trigger')).toMatchObject([
    { severity: 'fail', object: 'public.tasks trigger acts' },
  ]);
});

test.each([
  [
    'every name in it is Postgres’ own',
    'begin new.touched = now(); new.version := coalesce(old.version, 0) + 1; return new; end;',
    {},
  ],
  ['it comes with a comment', 'begin\n  -- when\n  new.touched := current_timestamp;\n  return new;\nend', {}],
  ['it is not fired by triggers', audit, { when: 'when (pg_trigger_depth() = 0)' }],
  [
    'it is not fired by triggers, for more than updates',
    audit,
    { event: 'before insert or update', when: 'when (pg_trigger_depth() = 0 and new.version is not null)' },
  ],
  ['it is for other columns', audit, { event: 'after update of version' }],
])('one passes when %s', async (_, body, options) => {
  await withTrigger(body, options);
  expect((await plan()).steps.length).toBeGreaterThan(0);
});

test.each([
  ['begin new.version := counted(old.version); return new; end'],
  ['declare r audit_log; begin return new; end'],
  ["begin new.touched := now(); perform note('x'); return new; end"],
])('%s may name what is elsewhere', async (body) => {
  await withTrigger(body);
  await expect(plan()).rejects.toMatchObject({ code: 'rollout_refused' });
});

test.each(['not (pg_trigger_depth() = 0)', 'pg_trigger_depth() = 0 or new.version is null'])(
  'when (%s) does not keep one from being fired by triggers',
  async (condition) => {
    await withTrigger(audit, { when: `when (${condition})` });
    await expect(plan()).rejects.toMatchObject({ code: 'rollout_refused' });
  },
);

test('who may put triggers on a table is told of: they can act as the owner', async () => {
  const role = `attaches_${randomBytes(4).toString('hex')}`;
  await statement(database.url, `drop trigger if exists acts on public.tasks; create role ${role}`);
  try {
    await statement(database.url, `grant all on public.tasks to ${role}`);
    const { warnings } = await withConnection(database.url, 'test', (client) => makePlan(client, config));
    expect(warnings.filter(({ check }) => check === 'trigger-privilege')).toMatchObject([
      { severity: 'warn', object: 'public.tasks', remedy: `revoke trigger on table public.tasks from ${role}` },
    ]);
  } finally {
    await statement(database.url, `drop owned by ${role}; drop role ${role}`);
  }
});

test('with a search_path of its own it goes on writing when a row follows its parent', async () => {
  await withTrigger(audit, { rights: 'set search_path = public' });
  await applyPlan(database.url, await plan());
  await statement(database.url, 'update public.projects set owner_id = 2 where id = 1');
  expect((await statement(database.url, 'select * from public.audit_log')).rows).toEqual([{ what: 'UPDATE' }]);
}, 60_000);
