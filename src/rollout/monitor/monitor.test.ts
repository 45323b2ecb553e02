import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createDatabase, statement, type TestDatabase } from '../../../test/support/postgres.ts';
import { type Connection, connect } from '../connection.ts';
import { installState, recordEvent } from '../state.ts';
import { exposition } from './exposition.ts';
import { metricsOf } from './metrics.ts';
import { observe } from './monitor.ts';
import { type Subject, subjectOfPolicies, watchedTable } from './subject.ts';

const suffix = randomBytes(4).toString('hex');
const app = `app_${suffix}`;
const legacy = `legacy_${suffix}`;
const owner = 'a5f0b0c0-0000-4000-8000-000000000001';

let database: TestDatabase;
let admin: Connection;

const subject: Subject = {
  tables: [watchedTable('public', 'tasks', 'user_id', 'owned'), watchedTable('My App', 'Order"s', 'Owner', 'owned')],
  unowned: ['public.colours'],
  appRole: app,
  systemRole: 'ringfence_system',
  legacyRoles: [legacy],
  filtersItself: false,
};

beforeAll(async () => {
  database = await createDatabase();
  await statement(
    database.url,
    `create role ${app}; create role ${legacy};
    create schema "My App"; create extension pg_stat_statements schema "My App";
    create table tasks (user_id uuid not null, id int, title text, primary key (user_id, id));
    create table "My App"."Order""s" ("Owner" uuid not null, id int);
    create index on "My App"."Order""s" ("Owner");
    create table colours (name text);
    alter table tasks enable row level security, force row level security;
    alter table "My App"."Order""s" enable row level security, force row level security;
    create policy user_isolation on tasks using (user_id = current_setting('x.y')::uuid);
    create policy user_isolation on "My App"."Order""s" using ("Owner" = current_setting('x.y')::uuid);
    grant select, insert on tasks to ${app}, ${legacy};
    alter table tasks set (autovacuum_enabled = false);
    insert into tasks select '${owner}', i from generate_series(1, 5000) i; analyze;`,
  );
  admin = await connect(database.url, 'test');
});

afterAll(async () => {
  await admin.end();
  await database.drop();
  await statement(database.url.replace(/\/[^/]*$/, '/postgres'), `drop role ${app}; drop role ${legacy}`);
});

beforeEach(() =>
  admin.query(
    'select "My App".pg_stat_statements_reset(0, oid, 0) from pg_database where datname = current_database()',
  ),
);

/** As another role, on a connection of its own. */
async function as(role: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    await client.query(`set role ${role}`);
    await client.query(`set x.y = '${owner}'`);
    await client.query(sql);
  } finally {
    await client.end();
  }
}

const look = (watched = subject) => observe(admin, watched, { fingerprint: null, shadowed: false });
const of = (observation: Awaited<ReturnType<typeof look>>, check: string) =>
  observation.findings.filter((finding) => finding.check === check);

describe('statements', () => {
  test('with a condition on the owner are listed by total time and are no finding', async () => {
    await as(app, `select title from tasks where user_id = '${owner}'`);
    await as(app, `select pg_sleep(0.05), id from tasks where user_id = '${owner}' limit 1`);
    const observation = await look();
    expect(observation.statements.statements.map(({ kind, calls, role }) => [kind, calls, role])).toEqual([
      ['scoped', 1, app],
      ['scoped', 1, app],
    ]);
    const [first, second] = observation.statements.statements;
    expect(first?.query).toContain('pg_sleep');
    expect(first?.totalTime).toBeGreaterThan(second?.totalTime ?? Infinity);
    expect(of(observation, 'unscoped-statements')).toMatchObject([{ severity: 'pass' }]);
  });

  test('without one are suspects: worse where no policy binds the role, or the application says it filters', async () => {
    await as(app, 'select count(*), user_id from tasks group by user_id');
    expect(of(await look(), 'unscoped-statements')).toMatchObject([{ severity: 'warn', object: 'public.tasks' }]);
    expect(of(await look({ ...subject, filtersItself: true }), 'unscoped-statements')).toMatchObject([
      { severity: 'fail' },
    ]);
    await statement(database.url, 'select 1 from "My App"."Order""s"');
    expect(of(await look(), 'unscoped-statements')).toContainEqual(
      expect.objectContaining({
        severity: 'fail',
        object: '"My App"."Order""s"',
        message: expect.stringContaining('no policy binds'),
      }),
    );
  });

  test('that are marked, of the old application, of a rollout, or define things stand apart', async () => {
    await statement(database.url, 'select /* SYSTEM: count */ count(*) from tasks');
    await statement(database.url, 'create view seen as select * from tasks; drop view seen');
    await statement(database.url, 'select /* ringfence verify */ count(*) from tasks');
    await statement(database.url, 'explain select * from tasks');
    await as(legacy, 'select title from tasks');
    const observation = await look();
    expect(of(observation, 'unscoped-statements')).toEqual([]);
    expect(of(observation, 'legacy-statements')).toMatchObject([
      { severity: 'warn', object: `role ${legacy}`, message: expect.stringContaining('1, which ran once') },
    ]);
    expect(observation.statements.statements.map(({ kind }) => kind).sort()).toEqual(['legacy', 'system']);
  });

  test('TABLESAMPLE SYSTEM is no mark, and the application may not mark its own', async () => {
    await as(app, 'SELECT title FROM tasks TABLESAMPLE SYSTEM (50)');
    await as(app, 'select /* SYSTEM: me */ title from tasks');
    const observation = await look();
    expect(of(observation, 'unscoped-statements')).toHaveLength(1);
    expect(of(observation, 'system-mark')).toMatchObject([{ severity: 'warn', message: expect.stringContaining(app) }]);
  });

  test('references between tables are checked by Postgres, not by the application', async () => {
    await statement(
      database.url,
      `set pg_stat_statements.track = 'all';
      create table notes (user_id uuid, task int, foreign key (user_id, task) references tasks on delete cascade);
      insert into notes values ('${owner}', 1); delete from tasks where user_id = '${owner}' and id = 1; drop table notes`,
    );
    expect(of(await look(), 'unscoped-statements')).toMatchObject([{ severity: 'pass' }]);
  });

  test('that cannot be read say so and how to change it', async () => {
    const bare = await createDatabase();
    const client = await connect(bare.url, 'test');
    try {
      const nothing: Subject = { ...subject, tables: [] };
      const observation = await observe(client, nothing, { fingerprint: null, shadowed: false });
      expect(observation.statements.collected).toBe(false);
      expect(of(observation, 'statements-collected')).toMatchObject([
        { severity: 'fail', remedy: expect.stringContaining('create extension pg_stat_statements') },
      ]);
      expect(exposition(metricsOf(observation, []))).toContain('ringfence_statements_collected 0\n');
    } finally {
      await client.end();
      await bare.drop();
    }
  });
});

describe('indexes', () => {
  test('that are missing, invalid or unused are found', async () => {
    expect(of(await look(), 'owner-index').filter(({ severity }) => severity === 'fail')).toEqual([]);
    await statement(database.url, 'drop index "My App"."Order""s_Owner_idx"');
    expect(of(await look(), 'owner-index')).toContainEqual(
      expect.objectContaining({
        severity: 'fail',
        object: '"My App"."Order""s"',
        remedy: `create index concurrently "idx_Order""s_Owner" on "My App"."Order""s" ("Owner")`,
      }),
    );
    await statement(database.url, 'create index broken on "My App"."Order""s" ("Owner")');
    await statement(
      database.url,
      'update pg_index set indisvalid = false where indexrelid = \'"My App".broken\'::regclass',
    );
    expect(of(await look(), 'owner-index')).toContainEqual(
      expect.objectContaining({ severity: 'fail', message: expect.stringContaining('"My App".broken is invalid') }),
    );
    await statement(
      database.url,
      'drop index "My App".broken; create index "Order""s_Owner_idx" on "My App"."Order""s" ("Owner")',
    );
  });

  test('statistics come from pg_stats, which knows no names of indexes (N5)', async () => {
    const { indexes } = await look();
    expect(indexes.tables.find(({ table }) => table === 'public.tasks')).toMatchObject({ rows: 5000, distinct: 1 });
    expect(indexes.indexes.find(({ table }) => table === 'public.tasks')).toMatchObject({
      index: 'public.tasks_pkey',
      valid: true,
    });
  });
});

describe('drift', () => {
  test('a policy that is gone, and a table that nobody classified', async () => {
    await statement(database.url, 'alter table tasks no force row level security; create table surprise (id int)');
    try {
      const observation = await look();
      expect(of(observation, 'policies-in-force')).toMatchObject([{ severity: 'fail', object: 'public.tasks' }]);
      expect(of(observation, 'unclassified-table')).toMatchObject([{ severity: 'warn', object: 'public.surprise' }]);
      await statement(database.url, `grant select on surprise to ${app}`);
      expect(of(await look(), 'unclassified-table')).toMatchObject([{ severity: 'fail' }]);
    } finally {
      await statement(database.url, 'alter table tasks force row level security; drop table surprise');
    }
  });

  test('is measured against the last verify', async () => {
    const compare = (fingerprint: Record<string, string>) => observe(admin, subject, { fingerprint, shadowed: false });
    expect(of(await compare({}), 'drift')).toMatchObject([{ severity: 'warn', remedy: 'run: ringfence verify' }]);
    await installState(admin);
    await recordEvent(admin, 'verify', { fingerprint: { 'policies public.tasks': 'a', 'keys public.tasks': 'b' } });
    const same = { 'policies public.tasks': 'a', 'keys public.tasks': 'b' };
    expect(of(await compare(same), 'drift')).toMatchObject([{ severity: 'pass' }]);
    expect(of(await compare({ ...same, 'policies public.tasks': 'c', new: 'd' }), 'drift')).toMatchObject([
      { severity: 'fail', object: 'new' },
      { severity: 'fail', object: 'policies public.tasks' },
    ]);
  });
});

test('without a plan, what has the policy is watched by the column that the policy names', async () => {
  expect((await subjectOfPolicies(admin)).tables).toMatchObject([
    { table: '"My App"."Order""s"', ownerColumn: 'Owner' },
    { table: 'public.tasks', ownerColumn: 'user_id' },
  ]);
});

test('metrics hold no id and no text of a statement', async () => {
  await as(app, `select title from tasks where user_id = '${owner}'`);
  const observation = await look();
  const text = exposition(metricsOf(observation, observation.findings));
  expect(text).toContain(String.raw`ringfence_owner_indexes{table="\"My App\".\"Order\"\"s\""} 1`);
  expect(text).toContain('ringfence_statement_calls_total{table="public.tasks",kind="scoped"} 1\n');
  expect(text).not.toMatch(/select|[0-9a-f]{8}-[0-9a-f]{4}/i);
  for (const line of text.trim().split('\n')) {
    expect(line).toMatch(/^(# (HELP|TYPE) ringfence_\w+ .+|ringfence_\w+(\{(\w+="(?:[^"\\]|\\.)*",?)+\})? [\d.e+-]+)$/);
  }
});
