import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../test/support/postgres.ts';
import { type Connection, connect, withConnection } from './connection.ts';
import { derivedUserId } from './derived-user-id.ts';
import { freezePlan } from './plan.ts';
import {
  freeze,
  installState,
  markDone,
  markRunning,
  markUndone,
  readEvents,
  readFrozenPlan,
  readLedger,
  recordEvent,
} from './state.ts';
import { installSql } from './state-sql.ts';

let database: TestDatabase;
let client: Connection;

beforeAll(async () => {
  database = await createDatabase();
  client = await connect(database.url, 'test');
});

afterAll(async () => {
  await client.end();
  await database.drop();
});

const ownership = {
  users: null,
  owned: [],
  unowned: [],
  legacyRoles: [],
  quarantineOwner: '00000000-0000-4000-8000-000000000000',
  appRole: 'ringfence_app',
};
const planOf = (database: string) => freezePlan(database, ownership, []);

test('nothing is there before it is installed, and looking does not make it', async () => {
  expect(await readFrozenPlan(client)).toBeNull();
  expect(await readEvents(client)).toEqual([]);
  const { rows } = await client.query("select to_regnamespace('ringfence_rollout') as schema");
  expect(rows).toEqual([{ schema: null }]);
});

describe('installed', () => {
  beforeAll(async () => {
    await Promise.all([installState(client), withConnection(database.url, 'test', installState)]);
    await installState(client);
  });

  test('public has no rights on anything', async () => {
    const { rows } = await client.query(`
      select c.relname as name from pg_class c cross join lateral aclexplode(c.relacl) a
      where c.relnamespace = 'ringfence_rollout'::regnamespace and a.grantee = 0
      union all
      select p.proname from pg_proc p cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
      where p.pronamespace = 'ringfence_rollout'::regnamespace and a.grantee = 0
      union all
      select n.nspname from pg_namespace n cross join lateral aclexplode(n.nspacl) a
      where n.nspname = 'ringfence_rollout' and a.grantee = 0`);
    expect(rows).toEqual([]);
  });

  test('the derived id is the same in Postgres and here', async () => {
    const pairs = ['', 'users', 'ü', "o'clock"].flatMap((namespace) =>
      [
        '',
        '7',
        'ann@example.com',
        'Ünïcödé 漢字 🙂',
        '\\x00',
        "'; drop table x; --",
        'é',
        'e\u0301',
        '\u0001\u{10ffff}',
        'a'.repeat(5000),
        ...Array.from({ length: 40 }, () => randomBytes(12).toString('base64')),
      ].map((value) => ({ namespace, value })),
    );
    const { rows } = await client.query<{ id: string }>(
      `select ringfence_rollout.derived_user_id(p.namespace, p.value) as id
      from jsonb_to_recordset($1) as p (namespace text, value text)`,
      [JSON.stringify(pairs.map((pair) => ({ ...pair })))],
    );
    expect(rows.map((row) => row.id)).toEqual(pairs.map(({ namespace, value }) => derivedUserId(namespace, value)));
    expect(new Set(rows.map((row) => row.id)).size).toBe(pairs.length);
  });

  test("nothing depends on the caller's rules for backslashes", async () => {
    await withConnection(database.url, 'test', async (other) => {
      // The script for psql is run in whatever session there is, and the triggers in those of the application.
      await other.query('set standard_conforming_strings = off');
      await other.query(installSql);
      const { rows } = await other.query(
        `select ringfence_rollout.derived_user_id('users', '7') as derived,
          ringfence_rollout.uuid_or_null('{C54F7B1F-211b-8136-83be-d74cd037a46f}') as braces,
          ringfence_rollout.uuid_or_null('{c54f7b1f-211b-8136-83be-d74cd037a46f') as half`,
      );
      const braces = 'c54f7b1f-211b-8136-83be-d74cd037a46f';
      expect(rows).toEqual([{ derived: derivedUserId('users', '7'), braces, half: null }]);
    });
  });

  test('the derived id does not change from release to release', () => {
    expect(derivedUserId('users', '7')).toBe('de68c262-1fcb-8f11-863d-3baef36ead24');
    expect(() => derivedUserId('users', 'a\0b')).toThrow(RangeError);
    expect(() => derivedUserId('users', '\ud800')).toThrow(RangeError);
  });

  test('uuid_or_null takes what Postgres takes for a uuid and is null for the rest', async () => {
    const hex = 'a0eebc999c0b4ef8bb6d6bb9bd380a11';
    const good = [
      'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
      'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11',
      `{${hex}}`,
      hex,
      'a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11',
    ];
    const bad = ['', '7', `{${hex}`, `${hex}}`, `${hex}0`, ` ${hex}`, `${hex}\n`, `-${hex}`, 'ann@example.com'];
    const { rows } = await client.query<{ id: string | null }>(
      'select ringfence_rollout.uuid_or_null(value) as id from unnest($1::text[]) with ordinality u (value, at) order by at',
      [[...good, ...bad, null]],
    );
    expect(rows.map((row) => row.id)).toEqual([
      ...good.map(() => 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'),
      ...bad.map(() => null),
      null,
    ]);
  });

  test('the newest plan is in force until it is wholly taken back', async () => {
    const [old, current] = [planOf('old'), planOf('current')];
    await freeze(client, old);
    await markDone(client, old.hash, 'a');
    await freeze(client, current);
    expect(await readFrozenPlan(client)).toEqual(current);
    await markRunning(client, current.hash, 'a');
    await markUndone(client, current.hash, 'a');
    expect(await readFrozenPlan(client)).toEqual(old);
    await freeze(client, current);
    expect(await readFrozenPlan(client)).toEqual(current);
    expect((await readLedger(client, current.hash)).size).toBe(0);
  });

  test('a step that is written down in its own transaction began with it', async () => {
    const plan = planOf('timed');
    await client.query('begin');
    await client.query('select pg_sleep(0.05)');
    await markDone(client, plan.hash, 'a');
    await client.query('commit');
    const entry = (await readLedger(client, plan.hash)).get('a');
    expect((entry?.finishedAt?.getTime() ?? 0) - (entry?.startedAt.getTime() ?? 0)).toBeGreaterThanOrEqual(50);
  });

  test('events come back in order', async () => {
    await recordEvent(client, 'backup', { tables: 1 });
    await recordEvent(client, 'verify');
    expect((await readEvents(client)).map((event) => event.kind)).toEqual(['backup', 'verify']);
    expect(await readEvents(client, 'backup')).toMatchObject([{ kind: 'backup', detail: { tables: 1 } }]);
  });
});

test('a connection says who it is and depends on no default', async () => {
  const admin = await connect(database.url, 'test');
  await admin.query(`alter database ${database.name} set statement_timeout = '7s'`);
  await admin.query(`alter database ${database.name} set search_path = 'elsewhere'`);
  await admin.end();
  const settings = await withConnection(database.url, 'status', async (fresh) => {
    const { rows } = await fresh.query(`
      select name, setting from pg_settings
      where name in ('application_name', 'search_path', 'statement_timeout', 'TimeZone') order by name collate "C"`);
    return rows;
  });
  expect(settings).toEqual([
    { name: 'TimeZone', setting: 'UTC' },
    { name: 'application_name', setting: 'ringfence status' },
    { name: 'search_path', setting: 'pg_catalog' },
    { name: 'statement_timeout', setting: '0' },
  ]);
});

test('expected faults are Problems', async () => {
  const nowhere = new URL(database.url);
  nowhere.pathname = '/no_such_database';
  await expect(connect(nowhere.href, 'test')).rejects.toMatchObject({ code: 'database_unavailable' });
  await expect(
    withConnection(database.url, 'test', (fresh) => fresh.query('select pg_terminate_backend(pg_backend_pid())')),
  ).rejects.toMatchObject({ code: 'database_unavailable' });
  await expect(withConnection(database.url, 'test', (fresh) => fresh.query('select 1/0'))).rejects.toMatchObject({
    code: 'rollout_failed',
    message: 'division by zero (SQLSTATE 22012)',
  });
  await client.query(`create function public.divides() returns int language plpgsql as 'begin return 1 / 0; end'`);
  const called = withConnection(database.url, 'test', (fresh) =>
    fresh.query('do $$ begin perform public.divides(); end $$'),
  );
  await expect(called).rejects.toMatchObject({
    message: 'division by zero (SQLSTATE 22012), in PL/pgSQL function public.divides() line 1',
  });
});
