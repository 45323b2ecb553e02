import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, statement, type TestDatabase } from '../../../test/support/postgres.ts';
import { type Connection, connect } from '../connection.ts';
import type { Finding } from '../finding.ts';
import { type Subject, subjectOfPolicies } from '../monitor/subject.ts';
import { condition } from '../steps/shadow.ts';
import { type DatabaseCheckName, databaseChecks, diagnose } from './checks.ts';

let database: TestDatabase;
let admin: Connection;
let subject: Subject;

beforeAll(async () => {
  database = await createDatabase('isolated');
  admin = await connect(database.url, 'test');
  const { tables, ...rest } = await subjectOfPolicies(admin);
  const accounts = ['users', 'sessions', 'api_tokens', 'user_access_log', 'idempotency_keys'];
  subject = {
    ...rest,
    unowned: [],
    tables: tables.map((table) => ({ ...table, class: accounts.includes(table.name) ? 'account' : 'owned' })),
  };
});
afterAll(async () => {
  await admin.end();
  await database.drop();
});

const look = (name: DatabaseCheckName, watched = subject) => diagnose(admin, watched, [name]);
const wrong = (findings: readonly Finding[]) => findings.filter(({ severity }) => severity !== 'pass');

/** Plants a cause, looks, and takes it away again. */
async function planted(plant: string, undo: string, name: DatabaseCheckName, watched = subject): Promise<Finding[]> {
  expect(wrong(await look(name, watched)).filter(({ severity }) => severity === 'fail')).toEqual([]);
  await statement(database.url, plant);
  try {
    return wrong(await look(name, watched));
  } finally {
    await statement(database.url, undo);
  }
}

test('a database as it should be fails no check', async () => {
  const names = Object.keys(databaseChecks).filter((name): name is DatabaseCheckName => name in databaseChecks);
  const findings = await diagnose(admin, subject, names);
  expect(findings.filter(({ severity }) => severity === 'fail')).toEqual([]);
  expect(findings.filter(({ message }) => message.includes('could not be looked at'))).toEqual([]);
});

const remade = `create policy user_isolation on labels using (${condition('user_id')}) with check (${condition('user_id')})`;

describe('cross-user data visible', () => {
  test.each([
    ['policy-missing', 'drop policy user_isolation on labels', remade],
    ['row-security', 'alter table labels disable row level security', 'alter table labels enable row level security'],
    ['row-security', 'alter table labels no force row level security', 'alter table labels force row level security'],
    ['policy-more', 'create policy everything on labels using (true)', 'drop policy everything on labels'],
  ])('%s: %s', async (check, plant, undo) => {
    expect(await planted(plant, undo, 'guards')).toMatchObject([{ severity: 'fail', check, object: 'public.labels' }]);
  });

  test('a policy that looks at another column', async () => {
    const watched = { ...subject, tables: subject.tables.filter(({ name }) => name === 'labels') };
    const [finding] = await planted(
      `drop policy user_isolation on labels; create policy user_isolation on labels using (${condition('id')})`,
      `drop policy user_isolation on labels; ${remade}`,
      'guards',
      watched,
    );
    expect(finding).toMatchObject({ check: 'policy-condition' });
  });

  test.each([
    ['view', 'create view seen as select * from tasks; grant select on seen to ringfence_app', 'drop view seen'],
    [
      'materialized-view',
      'create materialized view seen as select * from tasks; grant select on seen to ringfence_app',
      'drop materialized view seen',
    ],
    [
      'definer-function',
      "create function all_of_it() returns bigint language sql security definer as 'select count(*) from tasks'",
      'drop function all_of_it()',
    ],
  ])('%s', async (check, plant, undo) => {
    expect(await planted(plant, undo, 'reach')).toMatchObject([{ check }]);
  });

  test('a view with the eyes of who asks is well', async () => {
    const plant =
      'create view seen with (security_invoker = true) as select * from tasks; grant select on seen to ringfence_app';
    expect(await planted(plant, 'drop view seen', 'reach')).toEqual([]);
  });

  test('roles above the policies, alone or by membership', async () => {
    const name = `app_${randomBytes(4).toString('hex')}`;
    const watched = { ...subject, appRole: name };
    expect(wrong(await look('reach', watched))).toMatchObject([{ check: 'application-role', severity: 'fail' }]);
    await statement(
      database.url,
      `create role ${name} bypassrls; create role ${name}_boss createrole; grant ${name}_boss to ${name}`,
    );
    try {
      expect(wrong(await look('reach', watched)).map(({ message }) => message)).toEqual([
        'it has BYPASSRLS',
        `it is a member of ${name}_boss, which has CREATEROLE and can join other roles`,
      ]);
      await statement(database.url, `alter table labels owner to ${name}_boss`);
      expect(wrong(await look('guards', watched))).toMatchObject([
        { check: 'application-owns', object: 'public.labels' },
      ]);
    } finally {
      await statement(
        database.url,
        `reassign owned by ${name}_boss to current_user; drop role ${name}; drop role ${name}_boss`,
      );
    }
  });

  test('an owner that may be null, and rows nobody claimed', async () => {
    const watched = {
      ...subject,
      tables: [
        { table: 'public.loose', schema: 'public', name: 'loose', ownerColumn: 'user_id', class: 'owned' as const },
      ],
    };
    await statement(
      database.url,
      "create table loose (user_id uuid); insert into loose select '00000000-0000-4000-8000-000000000000' from generate_series(1, 100); analyze loose",
    );
    expect(await look('claims', watched)).toMatchObject([
      { check: 'owner-nullable' },
      { check: 'unclaimed-rows', message: expect.stringContaining('100.0 %') },
    ]);
    await statement(database.url, 'drop table loose');
  });
});

describe('SQLSTATEs', () => {
  test.each([
    [
      'identity-keys',
      'create table kept as table ringfence.identity_keys; delete from ringfence.identity_keys',
      'insert into ringfence.identity_keys select * from kept; drop table kept',
    ],
    [
      'identity-function',
      'revoke execute on function ringfence.verified_user_id(boolean) from ringfence_app',
      'grant execute on function ringfence.verified_user_id(boolean) to ringfence_app',
    ],
    [
      'identity-function',
      'alter function ringfence.verified_user_id(boolean) security invoker',
      'alter function ringfence.verified_user_id(boolean) security definer',
    ],
    [
      'identity-function',
      'alter function ringfence.verified_user_id(boolean) rename to gone',
      'alter function ringfence.gone(boolean) rename to verified_user_id',
    ],
  ])('RF001 and RF002, %s: %s', async (check, plant, undo) => {
    expect(await planted(plant, undo, 'identity')).toMatchObject([{ severity: 'fail', check }]);
  });

  test.each([
    ['table-privileges', 'revoke delete on labels from ringfence_app', 'grant delete on labels to ringfence_app'],
    [
      'schema-usage',
      'revoke usage on schema public from ringfence_app, public',
      'grant usage on schema public to ringfence_app, public',
    ],
  ])('42501, %s', async (check, plant, undo) => {
    expect(await planted(plant, undo, 'privileges')).toMatchObject([{ severity: 'fail', check }]);
  });

  test('42P10: keys that carry the owner are named', async () => {
    expect(await look('keys')).toContainEqual(
      expect.objectContaining({
        severity: 'warn',
        object: 'public.labels',
        message: expect.stringContaining('ON CONFLICT (name)'),
      }),
    );
  });

  test('55P03: who waits, and for whom', async () => {
    const [holder, waiter] = [
      new pg.Client({ connectionString: database.url }),
      new pg.Client({ connectionString: database.url, application_name: 'waiter' }),
    ];
    await holder.connect();
    await waiter.connect();
    try {
      await holder.query('begin; lock table labels');
      const waiting = waiter.query('select 1 from labels').catch(() => {});
      await expect
        .poll(async () => wrong(await look('locks')))
        .toMatchObject([
          {
            check: 'lock-wait',
            object: 'public.labels',
            message: expect.stringMatching(/waiter.*idle in transaction/),
          },
        ]);
      await holder.query('rollback');
      await waiting;
    } finally {
      await holder.end();
      await waiter.end();
    }
  });
});

describe('slow queries', () => {
  const watched = (): Subject => ({
    ...subject,
    tables: [{ table: 'public.big', schema: 'public', name: 'big', ownerColumn: 'user_id', class: 'owned' }],
  });

  test('no index, statistics that say nothing, a switch, dead rows', async () => {
    await statement(
      database.url,
      `create table big (user_id uuid not null, id int) with (autovacuum_enabled = false);
       insert into big select md5((i % 500)::text)::uuid, i from generate_series(1, 20000) i; analyze big`,
    );
    expect(wrong(await look('indexes', watched()))).toMatchObject([{ check: 'owner-index', severity: 'fail' }]);
    await statement(database.url, 'create index on big (user_id)');
    expect(await look('planner', watched())).toMatchObject([{ severity: 'pass' }]);

    await statement(database.url, `alter role ringfence_app in database ${database.name} set enable_indexscan = off`);
    expect(wrong(await look('planner', watched()))).toMatchObject([
      { check: 'planner-setting', object: 'role ringfence_app' },
    ]);
    await statement(database.url, `alter role ringfence_app in database ${database.name} reset enable_indexscan`);

    await statement(database.url, 'update big set id = id; select pg_stat_force_next_flush()');
    await expect
      .poll(async () => wrong(await look('upkeep', watched())).map(({ check }) => check))
      .toEqual(['autovacuum', 'bloat', 'stale-statistics']);

    await statement(database.url, "update big set user_id = '00000000-0000-4000-8000-000000000001'");
    await statement(database.url, 'vacuum analyze big');
    expect(await look('planner', watched())).toMatchObject([
      { severity: 'pass', message: expect.stringContaining('rightly') },
    ]);

    await statement(database.url, 'drop table big');
  });
});

test('memory: connections are counted by role', async () => {
  expect(await look('sessions')).toContainEqual(
    expect.objectContaining({
      severity: 'pass',
      check: 'connections',
      message: expect.stringMatching(/\d+ of 200 connections/),
    }),
  );
});

describe('system mode', () => {
  test.each([
    [
      'system-policy',
      'drop policy system_mode on labels',
      'create policy system_mode on labels to ringfence_system using (true) with check (true)',
    ],
    [
      'system-policy',
      'alter policy system_mode on labels using (false)',
      'alter policy system_mode on labels using (true)',
    ],
    [
      'system-privileges',
      'revoke all on labels from ringfence_system',
      'grant select, insert, update, delete on labels to ringfence_system',
    ],
  ])('%s: %s', async (check, plant, undo) => {
    expect(await planted(plant, undo, 'system-mode')).toMatchObject([{ check, object: 'public.labels' }]);
  });

  test('a role that cannot log in, cannot sign anybody in, or is within reach of the application', async () => {
    const name = `system_${randomBytes(4).toString('hex')}`;
    const watched = { ...subject, systemRole: name, tables: [] };
    expect(wrong(await look('system-mode', watched))).toMatchObject([
      { check: 'system-role', message: 'does not exist' },
    ]);
    await statement(database.url, `create role ${name} nologin; create role ${name}_app; grant ${name} to ${name}_app`);
    try {
      const found = wrong(await look('system-mode', { ...watched, appRole: `${name}_app` })).map(
        ({ message }) => message,
      );
      expect(found).toEqual([
        'cannot log in, and no log-in is a member of it',
        'is no member of ringfence_accounts: nobody can sign in',
        `${name}_app is a member of it and can take every user's rows with SET ROLE`,
      ]);
    } finally {
      await statement(database.url, `drop role ${name}; drop role ${name}_app`);
    }
  });
});
