import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../test/support/postgres.ts';
import { ownedTables, quarantineUserId } from '../isolation/owned-tables.ts';
import { latestVersion, migrateDown, migrateUp, migrationStatus, migrations } from './migrations.ts';
import { withOwner } from './owner.ts';
import { dumpSchema } from './schema-dump.ts';

const ann = '01900000-0000-7000-8000-00000000000a';
const bob = '01900000-0000-7000-8000-00000000000b';
const uuid = (n: number) => `01900000-0000-7000-8000-${String(n).padStart(12, '0')}`;

const file = (name: string) => new URL(`../../database/migrations/${name}`, import.meta.url);

let database: TestDatabase;
let owner: pg.Client;

beforeEach(async () => {
  database = await createDatabase();
  owner = new pg.Client({ connectionString: database.url });
  await owner.connect();
});
afterEach(async () => {
  await owner.end();
  await database.drop();
});

const schema = () => withOwner(database.url, dumpSchema);

async function owners(table: string): Promise<Record<string, string>> {
  const { rows } = await owner.query(`select id, user_id from ${table} order by id`);
  return Object.fromEntries(rows.map((row) => [row.id, row.user_id]));
}

/** Two legacy projects with a task each, as they were before anybody owned anything. */
async function addLegacyRows(): Promise<void> {
  await owner.query(`
    insert into users (id, email, name) values ('${ann}', 'ann@example.test', 'Ann'), ('${bob}', 'bob@example.test', 'Bob');
    insert into projects (id, name) values ('${uuid(1)}', 'one'), ('${uuid(2)}', 'two');
    insert into project_git_branchs (id, project_id, name) values ('${uuid(11)}', '${uuid(1)}', 'main'), ('${uuid(12)}', '${uuid(2)}', 'main');
    insert into tasks (id, git_branch_id, title, description) values ('${uuid(21)}', '${uuid(11)}', 'a', 'a'), ('${uuid(22)}', '${uuid(12)}', 'b', 'b');
  `);
}

test('up, one at a time and all at once, ends the same; the status tells', async () => {
  expect(await migrateUp(database.url, 1)).toEqual(['001_initial_schema']);
  expect((await migrationStatus(database.url)).map((m) => m.applied)).toEqual([true, false, false]);
  expect(await migrateUp(database.url)).toEqual(['002_accounts', '003_add_user_isolation']);
  expect(await migrateUp(database.url)).toEqual([]);
  const stepwise = await schema();
  await migrateDown(database.url, 0);
  await migrateUp(database.url);
  expect(await schema()).toBe(stepwise);
});

test('all the way down leaves nothing behind', async () => {
  const before = await schema();
  await migrateUp(database.url);
  expect(await migrateDown(database.url, 0)).toEqual(migrations.map((m) => m.name).reverse());
  expect(await schema()).toBe(before);
});

test('several servers may migrate at once', async () => {
  const applied = await Promise.all(Array.from({ length: 5 }, () => migrateUp(database.url)));
  expect(applied.flat()).toEqual(migrations.map((m) => m.name));
});

describe('user isolation', () => {
  beforeEach(async () => {
    await migrateUp(database.url, 2);
    await addLegacyRows();
  });

  test('rows that nobody has claimed belong to a user who cannot sign in', async () => {
    await migrateUp(database.url);
    for (const { table } of ownedTables) {
      expect(
        Object.values(await owners(table)).filter((id) => id !== quarantineUserId),
        table,
      ).toEqual([]);
    }
    const { rows } = await owner.query('select status, password_hash, external_subject from users where id = $1', [
      quarantineUserId,
    ]);
    expect(rows).toEqual([{ status: 'quarantine', password_hash: null, external_subject: null }]);
  });

  test('down restores the schema exactly and keeps the owners; up gives them back', async () => {
    const before = await schema();
    await migrateUp(database.url);
    const isolated = await schema();
    await owner.query(`set session_replication_role = replica`);
    for (const table of ['projects', 'project_git_branchs', 'tasks']) {
      await owner.query(
        `update ${table} set user_id = case when id::text ~ '1$' then '${ann}' else '${bob}' end::uuid`,
      );
    }
    await owner.query(`set session_replication_role = origin`);
    const owned = await owners('tasks');
    expect(new Set(Object.values(owned))).toEqual(new Set([ann, bob]));

    await migrateDown(database.url, 2);
    expect(await schema()).toBe(before);
    const { rows: kept } = await owner.query(
      `select id, user_id from ringfence_rollout.user_id_backup where table_name = 'public.tasks' order by id`,
    );
    expect(Object.fromEntries(kept.map((row) => [row.id, row.user_id]))).toEqual(owned);

    // Made while there was no isolation: it takes the owner of what it belongs to.
    await owner.query(`insert into task_subtasks (id, task_id, title) values ('${uuid(31)}', '${uuid(21)}', 'new')`);
    await migrateUp(database.url);
    expect(await owners('tasks')).toEqual(owned);
    expect(await owners('task_subtasks')).toEqual({ [uuid(31)]: ann });
    expect(await schema()).toBe(isolated);
  });

  test('a second run changes nothing, and never an owner that is set', async () => {
    await migrateUp(database.url);
    await owner.query(
      `update labels set user_id = '${ann}'; insert into labels (id, name, user_id) values ('${uuid(41)}', 'x', '${ann}')`,
    );
    const [before, held] = [await schema(), await owners('labels')];
    const { rows: objects } = await owner.query(
      `select oid::text from pg_class where relnamespace = 'public'::regnamespace order by oid`,
    );
    await owner.query('delete from ringfence_migrations where version = 3');
    await migrateUp(database.url);
    expect(await schema()).toBe(before);
    expect(await owners('labels')).toEqual(held);
    const { rows } = await owner.query(
      `select oid::text from pg_class where relnamespace = 'public'::regnamespace order by oid`,
    );
    expect(rows).toEqual(objects);
  });

  test('rows tied together across owners are named, and nothing is changed', async () => {
    await migrateUp(database.url);
    await owner.query(`set session_replication_role = replica`);
    for (const table of ['projects', 'project_git_branchs', 'tasks']) {
      await owner.query(
        `update ${table} set user_id = case when id::text ~ '1$' then '${ann}' else '${bob}' end::uuid`,
      );
    }
    await owner.query(`set session_replication_role = origin`);
    await migrateDown(database.url, 2);
    await owner.query(
      `insert into task_dependencies (id, task_id, depends_on_task_id) values ('${uuid(51)}', '${uuid(21)}', '${uuid(22)}')`,
    );
    const before = await schema();
    await expect(migrateUp(database.url)).rejects.toThrow(
      new RegExp(`row ${uuid(51)} of public.task_dependencies .* refers by depends_on_task_id .*RF011`),
    );
    expect(await schema()).toBe(before);
    await owner.query('delete from task_dependencies');
    expect(await migrateUp(database.url)).toEqual(['003_add_user_isolation']);
  });

  test('the way down is refused when two users’ rows have one key, and names them', async () => {
    await migrateUp(database.url);
    await owner.query(
      `insert into labels (id, name, user_id) values ('${uuid(61)}', 'same', '${ann}'), ('${uuid(62)}', 'same', '${bob}')`,
    );
    const before = await schema();
    await expect(migrateDown(database.url, 2)).rejects.toThrow(
      /public\.labels: 2 users have a row with \(name\) = \(same\).*RF012/,
    );
    expect(await schema()).toBe(before);
    await owner.query(`update labels set name = 'other' where user_id = '${bob}'`);
    expect(await migrateDown(database.url, 2)).toEqual(['003_add_user_isolation']);
  });

  test('accounts stay while isolation is applied', async () => {
    await migrateUp(database.url);
    await expect(owner.query(readFileSync(file('002_accounts.down.sql'), 'utf8'))).rejects.toMatchObject({
      code: 'RF010',
    });
    await owner.query('rollback');
  });

  test('an owner who is no superuser can do it all, bound by the policies as everybody else', async () => {
    const role = `plain_owner_${database.name}`;
    await owner.query(`create role ${role} login password 'plain'; alter database ${database.name} owner to ${role}`);
    await owner.query(`alter schema public owner to ${role}`);
    const tables = [
      ...ownedTables.map(({ table }) => table),
      'users',
      'sessions',
      'api_tokens',
      'user_access_log',
      'idempotency_keys',
      'ringfence_migrations',
    ];
    for (const table of tables) await owner.query(`alter table ${table} owner to ${role}`);
    const url = new URL(database.url);
    url.username = role;
    url.password = 'plain';
    await migrateUp(url.href);
    await withOwner(url.href, async (plain) => {
      await expect(plain.query('select * from tasks')).rejects.toMatchObject({ code: 'RF001' });
      await plain.query(readFileSync(file('003_add_user_isolation.sql'), 'utf8'));
    });
    await migrateDown(url.href, 2);
    await migrateUp(url.href);
    expect(Object.keys(await owners('tasks'))).toHaveLength(2);
    await migrateDown(url.href, 0);
    await owner.query(
      `alter database ${database.name} owner to current_user; alter schema public owner to current_user`,
    );
    await owner.query(`drop owned by ${role} cascade; drop role ${role}`);
  });

  test('psql runs the same files (G13)', async (context) => {
    if (!existsSync('/usr/bin/psql')) {
      console.warn('skipped: psql is not on this machine');
      return context.skip();
    }
    const path = fileURLToPath(file('003_add_user_isolation.sql'));
    const psql = (...args: string[]) =>
      execFileSync('psql', ['-qX', '-v', 'ON_ERROR_STOP=1', '-d', database.url, ...args], { stdio: 'pipe' });
    psql('-c', `\\i ${path}`);
    const byPsql = await schema();
    psql('-c', `\\i ${path.replace('.sql', '.down.sql')}`);
    await migrateUp(database.url);
    expect(await schema()).toBe(byPsql);
    expect((await migrationStatus(database.url)).at(-1)).toMatchObject({ version: latestVersion, applied: true });
  });
});
