/**
 * Whoever gets to inject SQL as the application role has one identity: the one the server signed. Every way of becoming
 * somebody else that is known to work against settings and roles (isolation notes §1, no. 16–19, 23–25, 28, 45) is tried
 * here against a real server, as the real role, with a valid identity of the attacker's own.
 */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { appRole, roleUrl, systemRole } from '../../src/database/provision.ts';
import { deriveIdentityKey, mintIdentity, parseUserId, type UserId } from '../../src/isolation/identity.ts';
import { accountTables, everybodyMark, ownedTables } from '../../src/isolation/owned-tables.ts';
import { startTestServer, type TestServer, type TestUser } from '../support/server.ts';
import { testSecret } from '../support/templates.ts';
import { plantWorld } from '../support/world.ts';

const key = deriveIdentityKey(testSecret);
let server: TestServer;
let victim: TestUser;
let attacker: TestUser;
let app: pg.Client;
let pid: number;

beforeAll(async () => {
  server = await startTestServer();
  [victim, attacker] = await Promise.all([server.user(), server.user()]);
  for (let i = 0; i < 3; i += 1) await victim.call('POST', '/api/projects', { name: `canary ${i}` });
  // A scan of a whole table asks the policy of a row, so one without any is no table to be refused on.
  await plantWorld(server.database.url, (await server.user()).id, 'of a bystander');
  app = new pg.Client({ connectionString: roleUrl(server.database.url, appRole, testSecret) });
  await app.connect();
  pid = (await app.query('select pg_backend_pid() as pid')).rows[0].pid;
});
afterAll(async () => {
  await app?.end();
  await server?.close();
});

const identityOf = (userId: UserId, options: { pid?: number; now?: number } = {}) =>
  mintIdentity(key, userId, options.pid ?? pid, options.now ?? Date.now());

/** Runs statements in a transaction with the given identity and rolls back. @returns the last result */
async function as(identity: string | null, ...statements: (string | [string, unknown[]])[]): Promise<pg.QueryResult> {
  await app.query('begin');
  try {
    if (identity !== null) await app.query("select set_config('ringfence.identity', $1, true)", [identity]);
    let last: pg.QueryResult | undefined;
    for (const statement of statements) {
      last = typeof statement === 'string' ? await app.query(statement) : await app.query(...statement);
    }
    if (!last) throw new Error('nothing to run');
    return last;
  } finally {
    await app.query('rollback');
  }
}

const code = (sqlstate: string) => expect.objectContaining({ code: sqlstate });

describe('an identity that is not one', () => {
  test('the victim’s own identity reads the victim’s rows (the control)', async () => {
    expect((await as(identityOf(victim.id), 'select * from projects')).rowCount).toBe(3);
    expect((await as(identityOf(attacker.id), 'select * from projects')).rowCount).toBe(0);
  });

  test('behind a pooler an identity without a backend is accepted', async () => {
    expect((await as(identityOf(victim.id, { pid: 0 }), 'select * from projects')).rowCount).toBe(3);
  });

  const refused: Record<string, () => [identity: string | null, sqlstate: string]> = {
    missing: () => [null, 'RF001'],
    empty: () => ['', 'RF001'],
    'not a token': () => ['nonsense', 'RF002'],
    'a bare user id': () => [victim.id, 'RF002'],
    'with another user pasted in': () => [identityOf(attacker.id).replace(attacker.id, victim.id), 'RF002'],
    'with a later expiry pasted in': () => [identityOf(victim.id).replace(/\.\d+\./, '.99999999999999.'), 'RF002'],
    'signed with another key': () => [
      mintIdentity(deriveIdentityKey('other secret'), victim.id, pid, Date.now()),
      'RF002',
    ],
    'signed with another key under our key’s id': () => [
      mintIdentity({ ...deriveIdentityKey('other secret'), keyId: key.keyId }, victim.id, pid, Date.now()),
      'RF002',
    ],
    'without its signature': () => [identityOf(victim.id).replace(/\.[0-9a-f]+$/, '.'), 'RF002'],
    'with a line break after it': () => [`${identityOf(victim.id)}\n`, 'RF002'],
    expired: () => [identityOf(victim.id, { now: Date.now() - 600_000 }), 'RF003'],
    'made for another connection': () => [identityOf(victim.id, { pid: pid + 1 }), 'RF004'],
  };
  test.each(Object.keys(refused))('%s: refused on every table, for reading and writing', async (name) => {
    const [identity, sqlstate] = refused[name]?.() ?? [null, ''];
    for (const { table } of [...ownedTables, ...accountTables]) {
      await expect(as(identity, `select count(id) from ${table}`), table).rejects.toEqual(code(sqlstate));
      await expect(as(identity, `delete from ${table}`), table).rejects.toEqual(
        expect.objectContaining({ code: expect.stringMatching(`${sqlstate}|42501`) }),
      );
    }
    await expect(as(identity, `update projects set name = 'x'`)).rejects.toEqual(code(sqlstate));
    await expect(as(identity, `insert into labels (id, name) values (gen_random_uuid(), 'x')`)).rejects.toEqual(
      code(sqlstate),
    );
  });

  test('an identity that another connection used is worth nothing here', async () => {
    const other = new pg.Client({ connectionString: roleUrl(server.database.url, appRole, testSecret) });
    await other.connect();
    const otherPid = (await other.query('select pg_backend_pid() as pid')).rows[0].pid;
    await other.end();
    await expect(as(identityOf(victim.id, { pid: otherPid }), 'select * from projects')).rejects.toEqual(code('RF004'));
  });

  test('the setting does not outlive its transaction', async () => {
    await as(identityOf(victim.id), 'select 1');
    await expect(as(null, 'select * from projects')).rejects.toEqual(code('RF001'));
  });
});

test('a line in one’s own access log is accepted, unless it speaks of system mode (the control)', async () => {
  const { rowCount } = await as(
    identityOf(attacker.id),
    `insert into user_access_log (actor, operation, outcome) values ('session', 'read', 'refused')`,
  );
  expect(rowCount).toBe(1);
});

describe('becoming somebody else inside a statement', () => {
  const forged = () => identityOf(attacker.id).replace(attacker.id, victim.id);
  const attacks: Record<string, () => string> = {
    'UNION ALL with set_config in the middle arm': () => `
      select name from projects
      union all select set_config('ringfence.identity', '${forged()}', true)
      union all select name from projects`,
    'UNION ALL with set_config to the bare user id': () => `
      select name from projects
      union all select set_config('ringfence.identity', '${victim.id}', true)
      union all select name from projects`,
    'a materialised CTE that sets the identity first': () => `
      with forge as materialized (select set_config('ringfence.identity', '${forged()}', true))
      select p.name from forge cross join lateral (select name from projects) p`,
    'a data-modifying CTE behind one that sets the identity': () => `
      with forge as materialized (select set_config('ringfence.identity', '${forged()}', true) as done)
      , changed as (update projects set name = 'taken' where (select done from forge) is not null returning name)
      select name from changed`,
    'UNION ALL with set_config of the role': () => `
      select name from projects
      union all select set_config('role', 'ringfence_system', true)
      union all select name from projects`,
    'UNION ALL with set_config of row_security': () => `
      select name from projects
      union all select set_config('row_security', 'off', true)
      union all select name from projects`,
    'settings with the names that others use': () => `
      select name from projects
      union all select set_config('app.current_user_id', '${victim.id}', true)
      union all select set_config('request.jwt.claims', '{"sub":"${victim.id}"}', true)
      union all select name from projects`,
  };
  test.each(Object.keys(attacks))('%s', async (name) => {
    const outcome = await as(identityOf(attacker.id), attacks[name]?.() ?? '').then(
      (result) => JSON.stringify(result.rows),
      (error: Error) => error.message,
    );
    expect(outcome).not.toContain('canary');
    expect(outcome).not.toContain('taken');
    const { rows } = await as(identityOf(victim.id), 'select name from projects order by name');
    expect(rows.map((row) => row.name)).toEqual(['canary 0', 'canary 1', 'canary 2']);
  });

  const denied: Record<string, [statement: () => string, sqlstate: string | RegExp]> = {
    'the condition that opens the indexes over all users': [
      () => `select from projects where ${everybodyMark}`,
      '42501',
    ],
    'set role': [() => 'set role ringfence_system', '42501'],
    'set role to the owner': [() => `set role ${new URL(server.database.url).username}`, '42501'],
    'set session authorization': [() => 'set session authorization ringfence_system', '42501'],
    'set role to the accounts’ role': [() => 'set role ringfence_accounts', '42501'],
    'read the keys': [() => 'select * from ringfence.identity_keys', '42501'],
    'copy the keys': [() => 'copy ringfence.identity_keys to stdout', '42501'],
    'add a key': [() => `insert into ringfence.identity_keys values ('0123456789abcdef', '', '')`, '42501'],
    'replace the verifier': [
      () =>
        `create or replace function ringfence.current_user_id() returns uuid language sql as $$ select null::uuid $$`,
      '42501',
    ],
    'a function that shadows a built-in': [
      () => `create function public.sha256(bytea) returns bytea language sql as $$ select $1 $$`,
      '42501',
    ],
    'a temporary table': [() => 'create temp table identity_keys (key_id text)', '42501'],
    'a temporary view': [() => 'create temp view projects as select 1', '42501'],
    'a temporary function': [() => `create function pg_temp.f() returns int language sql as 'select 1'`, '42501'],
    'a schema': [() => 'create schema mine', '42501'],
    'a table': [() => 'create table mine (id int)', '42501'],
    'a policy': [() => 'create policy mine on projects using (true)', '42501'],
    'dropping a policy': [() => 'drop policy user_isolation on projects', '42501'],
    'lifting row security': [() => 'alter table projects disable row level security', '42501'],
    'row_security off': [() => `set row_security = off; select * from projects`, '42501'],
    truncate: [() => 'truncate projects', '42501'],
    'a reference that would tell whether a row exists': [
      () => 'alter table labels add foreign key (id) references users (id)',
      '42501',
    ],
    'the password hashes': [() => 'select password_hash from users', '42501'],
    'token hashes': [() => 'select token_hash from sessions', '42501'],
    'owners that a way down kept, forged': [() => 'create schema ringfence_rollout', '42501'],
    'rewriting the owner': [() => `update projects set user_id = '${attacker.id}'`, '42501'],
    'the access log, changed': [() => `update user_access_log set operation = 'x'`, '42501'],
    'the access log, with a use of system mode that never was': [
      () => `insert into user_access_log (actor, operation, outcome) values ('session', 'system_mode', 'system')`,
      '42501',
    ],
    'the access log, emptied': [() => 'delete from user_access_log', '42501'],
    'files of the server': [() => `select pg_read_file('/etc/passwd')`, '42501'],
    'a program on the server': [() => `copy (select 1) to program 'id'`, '42501'],
    'a large object of nobody': [() => `select lo_import('/etc/passwd')`, '42501'],
    'a large object, made': [() => 'select lo_create(0)', '42501'],
    'a large object, made the old way': [() => 'select lo_creat(-1)', '42501'],
    'a large object, filled at once': [() => `select lo_from_bytea(0, 'x')`, '42501'],
    'a large object, written': [() => `select lo_put(1, 0, 'x')`, '42501'],
    'a large object, written by descriptor': [() => `select lowrite(0, 'x')`, '42501'],
    'statements that others ran, by the view': [() => 'select query from pg_stat_statements', '42501'],
    'statements that others ran, by the function': [() => 'select query from pg_stat_statements(true)', '42501'],
    'when statistics were reset': [() => 'select * from pg_stat_statements_info()', '42501'],
    'resetting statistics': [() => 'select pg_stat_statements_reset()', '42501'],
    'row COPY FROM': [() => 'copy projects from stdin', /42501|0A000/],
  };
  test.each(Object.keys(denied))('denied: %s', async (name) => {
    const [statement, sqlstate] = denied[name] ?? [() => '', ''];
    const run = async () => {
      try {
        return await as(identityOf(attacker.id), statement());
      } finally {
        await app.query('reset all');
      }
    };
    await expect(run()).rejects.toEqual(expect.objectContaining({ code: expect.stringMatching(sqlstate) }));
  });
});

/** Whoever injects SQL before anybody is known is in the accounts scope: system's log-in, as ringfence_accounts. */
describe('inside a statement of the accounts scope', () => {
  let system: pg.Client;
  beforeAll(async () => {
    system = new pg.Client({ connectionString: roleUrl(server.database.url, systemRole, testSecret) });
    await system.connect();
  });
  afterAll(() => system?.end());

  async function inAccounts(statement: string): Promise<pg.QueryResult> {
    await system.query('begin; set local role ringfence_accounts');
    try {
      return await system.query({ text: statement, queryMode: 'extended' } as pg.QueryConfig);
    } finally {
      await system.query('rollback');
    }
  }

  test('it reads accounts, hashes included (the control); system mode reads rows and no hash', async () => {
    expect((await inAccounts('select password_hash from users')).rowCount).toBeGreaterThanOrEqual(2);
    expect((await system.query(`select name from projects where name like 'canary%'`)).rowCount).toBe(3);
    for (const hash of ['password_hash from users', 'token_hash from sessions', 'token_hash from api_tokens']) {
      await expect(system.query(`select ${hash}`), hash).rejects.toEqual(code('42501'));
    }
    for (const change of [
      `update users set roles = '{user,admin}'`,
      `update users set status = 'active'`,
      `update user_access_log set operation = 'x'`,
      'delete from user_access_log',
      `insert into users (id, email, name) values (gen_random_uuid(), 'x@example.test', 'x')`,
    ]) {
      await expect(system.query(change), change).rejects.toEqual(code('42501'));
    }
  });

  test('no use of system mode that never was is written down', async () => {
    const line = (outcome: string) =>
      inAccounts(`insert into user_access_log (user_id, id, actor, operation, outcome)
        values ('${victim.id}', gen_random_uuid(), 'session', 'login', '${outcome}')`);
    expect((await line('refused')).rowCount).toBe(1);
    await expect(line('system')).rejects.toEqual(code('42501'));
  });

  test('no owned table is in reach', async () => {
    for (const { table } of ownedTables) {
      await expect(inAccounts(`select from ${table}`), table).rejects.toEqual(code('42501'));
      await expect(inAccounts(`delete from ${table}`), table).rejects.toEqual(code('42501'));
    }
    await expect(inAccounts('select * from user_access_log')).rejects.toEqual(code('42501'));
    await expect(inAccounts('select * from idempotency_keys')).rejects.toEqual(code('42501'));
    await expect(inAccounts('select * from ringfence.identity_keys')).rejects.toEqual(code('42501'));
  });

  test.each(['ringfence_system', 'none'])('taking the role %s in a UNION arm gives it no table more', async (role) => {
    const become = `select set_config('role', '${role}', true)`;
    const arms = (table: string, column: string) =>
      `select ${column}::text from ${table} union all ${become} union all select ${column}::text from ${table}`;
    for (const { table } of ownedTables) {
      await expect(inAccounts(arms(table, 'id')), table).rejects.toEqual(code('42501'));
      await expect(
        inAccounts(
          `with b as materialized (${become}) select t.id from b cross join lateral (select id from ${table}) t`,
        ),
        table,
      ).rejects.toEqual(code('42501'));
    }
    await expect(inAccounts(arms('sessions', 'user_agent'))).rejects.toEqual(code('42501'));
    await expect(inAccounts(arms('user_access_log', 'operation'))).rejects.toEqual(code('42501'));
    // What it reads in any case, it still reads: the change has no bearing on a statement that is under way.
    const both = await inAccounts(arms('users', 'id'));
    expect(both.rowCount).toBeGreaterThanOrEqual(5);
  });

  test('functions that run a statement of their own are not to be had, after taking a role neither', async () => {
    const inner = `select name from projects`;
    const nested: Record<string, string> = {
      query_to_xml: `query_to_xml('${inner}', true, false, '')::text`,
      query_to_xml_and_xmlschema: `query_to_xml_and_xmlschema('${inner}', true, false, '')::text`,
      table_to_xml: `table_to_xml('public.projects', true, false, '')::text`,
      schema_to_xml: `schema_to_xml('public', true, false, '')::text`,
      database_to_xml: `database_to_xml(true, false, '')::text`,
      ts_stat: `(select string_agg(word, ' ') from ts_stat('select to_tsvector(''simple'', name) from projects'))`,
      ts_rewrite: `ts_rewrite('a', 'select ''a''::tsquery, to_tsquery(''simple'', split_part(name, '' '', 1)) from projects')::text`,
    };
    for (const [name, call] of Object.entries(nested)) {
      const statement = `select set_config('role', 'ringfence_system', true) union all select ${call}`;
      await expect(inAccounts(statement), name).rejects.toEqual(code('42501'));
      await expect(as(identityOf(attacker.id), `select ${call}`), name).rejects.toEqual(code('42501'));
    }
  });
});

describe('rows that refer to somebody else’s', () => {
  test('a row for another user is refused, by name or by default', async () => {
    await expect(
      as(identityOf(attacker.id), [
        `insert into projects (id, name, user_id) values (gen_random_uuid(), 'x', $1)`,
        [victim.id],
      ]),
    ).rejects.toEqual(code('42501'));
    const { rows } = await as(
      identityOf(attacker.id),
      `insert into projects (id, name) values (gen_random_uuid(), 'x') returning user_id`,
    );
    expect(rows).toEqual([{ user_id: attacker.id }]);
  });

  test('the same id as somebody else’s row does not collide', async () => {
    const { rows } = await as(identityOf(victim.id), 'select id from projects limit 1');
    const inserted = await as(identityOf(attacker.id), [
      `insert into projects (id, name) values ($1, 'mine') on conflict do nothing returning name`,
      [rows[0].id],
    ]);
    expect(inserted.rows).toEqual([{ name: 'mine' }]);
  });

  test('a parent of somebody else’s is refused like one that does not exist', async () => {
    const { rows } = await as(identityOf(victim.id), 'select id from projects limit 1');
    const branch = (projectId: string) =>
      as(identityOf(attacker.id), [
        `insert into project_git_branchs (id, project_id, name) values (gen_random_uuid(), $1, 'x')`,
        [projectId],
      ]).catch((error: pg.DatabaseError) => ({
        code: error.code,
        message: error.message,
        constraint: error.constraint,
      }));
    expect(await branch(rows[0].id)).toEqual(await branch('01900000-0000-7000-8000-000000000000'));
    expect(await branch(rows[0].id)).toMatchObject({ code: '23503' });
  });
});

test('the identity never stands in a statement’s text', async () => {
  const owner = new pg.Client({ connectionString: server.database.url });
  await owner.connect();
  const { rows } = await owner.query(`
    select query from pg_stat_statements join pg_database on dbid = oid
    where datname = current_database() and query ~ '[0-9a-f]{64}'
    union all select query from pg_stat_activity where query ~ '[0-9a-f]{64}' and pid <> pg_backend_pid()
      and usename = 'ringfence_app' and datname = current_database() and pid <> ${pid}`);
  await owner.end();
  expect(rows).toEqual([]);
});

test('the owner still reads the statistics (the control)', async () => {
  const owner = new pg.Client({ connectionString: server.database.url });
  await owner.connect();
  const view = await owner.query('select count(*)::int as n from pg_stat_statements');
  const called = await owner.query('select count(*)::int as n from pg_stat_statements(true)');
  await owner.end();
  expect(view.rows[0].n).toBeGreaterThan(0);
  expect(called.rows[0].n).toBeGreaterThan(0);
});

test('two keys are valid at once', async () => {
  const owner = new pg.Client({ connectionString: server.database.url });
  await owner.connect();
  const { installIdentityKey } = await import('../../src/database/provision.ts');
  const next = 'the next secret, long enough to be one, really';
  await installIdentityKey(owner, next);
  const count = (secret: string) =>
    as(
      mintIdentity(deriveIdentityKey(secret), parseUserId(victim.id) ?? victim.id, pid, Date.now()),
      'select * from projects',
    );
  expect((await count(testSecret)).rowCount).toBe(3);
  expect((await count(next)).rowCount).toBe(3);
  await installIdentityKey(owner, 'the one after that, long enough to be one as well');
  await expect(count(testSecret)).rejects.toEqual(code('RF002'));
  expect((await count(next)).rowCount).toBe(3);
  await owner.end();
});
