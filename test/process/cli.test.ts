/** Every verb of the command line and its errors, on a database of its own and beside an embedded server. */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createDatabase, statement, type TestDatabase } from '../support/postgres.ts';
import { type Outcome, ringfence, type ServingProcess, serving, temporaryDirectory } from '../support/ringfence.ts';
import { testSecret } from '../support/templates.ts';

// A dozen processes one after the other, on a machine that may be doing other things.
vi.setConfig({ testTimeout: 120_000 });

const base = temporaryDirectory();
chmodSync(base, 0o755);

/** One line on standard error that says what it should, nothing on standard output, no stack trace. */
function expectRefusal(outcome: Outcome, code: number, reason: RegExp): void {
  expect(outcome).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(reason) });
  expect(outcome.stderr).toMatch(/^(Warning: .*\n)?ringfence: [^\n]*\n$/);
}

describe('usage', () => {
  test.concurrent.each([
    [['nonsense'], /unknown command 'nonsense'/],
    [['user', 'list', '--loud'], /unknown option '--loud'/],
    [['user', 'create', '--name', 'A'], /'--email <address>' not specified/],
    [['user', 'create', '--email', 'nope', '--name', 'A'], /--email: must be an e-mail address, got "nope"/],
    [['token', 'mint', '--email', 'a@b.c', '--hours', '-1'], /'--hours <hours>' argument '-1' is invalid/],
    [['migrate', 'up', '--to', '99'], /'--to <version>' argument '99' is invalid/],
    [['migrate', 'down'], /'--to <version>' not specified/],
    [
      ['db', 'url', '--role', 'root'],
      /'--role <role>' argument 'root' is invalid. Allowed choices are app, system, owner/,
    ],
    [['sql', '--as', 'a@b.c'], /missing required argument 'statement'/],
    // `assign` has a --table of its own.
    [['assign', 'transfer', '--table', 'public.tasks'], /'--key <value\.\.\.>' not specified/],
    [['sql', '--as', 'a@b.c', ' '], /statement: must not be empty/],
  ])('%j names what is wrong', async (args, reason) => {
    expectRefusal(await ringfence(args, { env: { DATA_DIR: join(base, 'never') } }), 2, reason);
  });

  test('--version and --help, with an example for each verb', async () => {
    expect((await ringfence(['-V'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    const verbs = [['serve'], ['migrate', 'up'], ['user', 'create'], ['token', 'mint'], ['db', 'url'], ['sql']];
    for (const { code, stdout } of await Promise.all(verbs.map((verb) => ringfence([...verb, '--help'])))) {
      expect(code).toBe(0);
      expect(stdout).toMatch(/\nExample:\n {2}\S/);
      expect(stdout).toContain('--json');
    }
  });
});

describe('on an external database', () => {
  let database: TestDatabase;
  let env: Record<string, string>;
  const run = (...args: string[]) => ringfence(args, { env });
  const json = async (...args: string[]) => JSON.parse((await run(...args, '--json')).stdout);

  beforeAll(async () => {
    database = await createDatabase();
    env = { DATABASE_URL: database.url, JWT_SECRET_KEY: testSecret, DATA_DIR: join(base, 'unused') };
  });
  afterAll(() => database?.drop());

  test('migrate up, down and status', async () => {
    expectRefusal(await run('user', 'list'), 3, /schema is at version 0. Run `ringfence migrate up` first/);
    expect(await run('migrate', 'status')).toMatchObject({ code: 1 });
    expect(await json('migrate', 'up')).toEqual({
      applied: ['001_initial_schema', '002_accounts', '003_add_user_isolation'],
    });
    expect(await run('migrate', 'up')).toMatchObject({ code: 0, stdout: 'nothing to apply\n' });
    expect(await run('migrate', 'down', '--to', '2')).toMatchObject({ stdout: 'took back 003_add_user_isolation\n' });
    expectRefusal(await run('sql', '--as', 'a@b.c', 'select 1'), 3, /no isolation yet/);
    expect(await run('migrate', 'up')).toMatchObject({ code: 0 });
    const status = await json('migrate', 'status');
    expect(status.map((m: { version: number; applied: boolean }) => [m.version, m.applied])).toEqual([
      [1, true],
      [2, true],
      [3, true],
    ]);
  });

  test('user create, promote, demote and list', async () => {
    const created = await ringfence(
      ['user', 'create', '--admin', '--email', 'root@example.com', '--name', 'Root', '--password-stdin', '--json'],
      { env, input: 'a long pass phrase\n' },
    );
    expect(JSON.parse(created.stdout)).toMatchObject({ email: 'root@example.com', roles: ['user', 'admin'] });
    const weak = await ringfence(['user', 'create', '--email', 'x@example.com', '--name', 'X', '--password-stdin'], {
      env,
      input: 'short\n',
    });
    expectRefusal(weak, 2, /--password-stdin: must be 10 to 256 characters, got 5/);
    await run('user', 'create', '--email', 'ann@example.com', '--name', 'Ann');
    expectRefusal(await run('user', 'create', '--email', 'ANN@example.com', '--name', 'A'), 3, /exists already/);
    expect(await json('user', 'promote', '--email', 'Ann@Example.com')).toMatchObject({ roles: ['user', 'admin'] });
    expect(await json('user', 'demote', '--email', 'ann@example.com')).toMatchObject({ roles: ['user'] });
    expectRefusal(await run('user', 'promote', '--email', 'no@example.com'), 3, /--email: there is no user/);
    const listed = await json('user', 'list');
    expect(listed.map((user: { email: string }) => user.email)).toEqual(['root@example.com', 'ann@example.com']);
  });

  test('token mint prints the token alone, good until its session is ended', async () => {
    expectRefusal(await run('token', 'mint', '--email', 'no@example.com'), 3, /--email: there is no user/);
    const { stdout } = await run('token', 'mint', '--email', 'ann@example.com', '--hours', '0.5');
    expect(stdout).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
    const [, claims = ''] = stdout.split('.');
    const { exp, iat, sid } = JSON.parse(Buffer.from(claims, 'base64url').toString());
    expect(exp - iat).toBe(1_800);
    const server = await serving(env);
    const profile = () =>
      fetch(`${server.url}/api/user/profile`, { headers: { authorization: `Bearer ${stdout.trim()}` } });
    expect((await profile()).status).toBe(200);
    await statement(
      database.url,
      `update sessions set revoked_at = now(), revoked_reason = 'admin' where id = '${sid}'`,
    );
    expect((await profile()).status).toBe(401);
    await server.end();
  });

  test('sql runs one statement as a user, keeps it only with --write, and is on the record', async () => {
    const as = ['sql', '--as', 'ann@example.com'];
    const seen = await run(...as, 'select email from users');
    expect(seen.stdout).toBe('email\n---------------\nann@example.com\n');
    const tried = await run(...as, "update users set name = 'changed'");
    expect(tried.stderr).toContain('UPDATE 1; rolled back, add --write to keep it');
    expectRefusal(await run(...as, "update users set name = 'changed'; commit"), 3, /multiple commands/);
    expect((await json(...as, 'select name from users')).rows).toEqual([{ name: 'Ann' }]);
    await run(...as, '--write', "update users set name = 'kept'");
    expect((await json(...as, 'select name from users')).rows).toEqual([{ name: 'kept' }]);
    expectRefusal(await run(...as, 'selec'), 3, /syntax error .*SQLSTATE 42601/);
    expectRefusal(await run(...as, 'select password_hash from users'), 3, /permission denied .*SQLSTATE 42501/);
    expectRefusal(await run('sql', '--as', 'no@example.com', 'select 1'), 3, /--as: there is no user/);
    expect((await run(...as, "select E'\\x1b[31m' as x")).stdout).toContain('\\u{1b}[31m');
    const log = await json(
      ...as,
      "select operation, reason from user_access_log where actor = 'cli' and operation like 'sql%'",
    );
    expect(log.rows).toContainEqual({ operation: 'sql', reason: "update users set name = 'changed'" });
    expect(log.rows).toContainEqual({ operation: 'sql_write', reason: "update users set name = 'kept'" });
  });

  test('db url leads to the role it says', async () => {
    for (const [role, login] of [
      ['app', 'ringfence_app'],
      ['system', 'ringfence_system'],
    ] as const) {
      const { stdout } = await run('db', 'url', '--role', role);
      const { rows } = await statement(stdout.trim(), 'select current_user::text as role');
      expect(rows).toEqual([{ role: login }]);
    }
    expect((await run('db', 'url', '--role', 'owner')).stdout.trim()).toBe(database.url);
  });

  test('config check shows every variable but no secret, and all faults with exit code 1', async () => {
    const good = await run('config', 'check');
    expect(good).toMatchObject({ code: 0, stdout: expect.stringContaining('The configuration is valid.') });
    expect(good.stdout).not.toContain(testSecret);
    const bad = await ringfence(['config', 'check', '--json'], { env: { ...env, PORT: 'x', JWT_SECRET_KEY: 'short' } });
    expect(bad.code).toBe(1);
    expect(JSON.parse(bad.stdout)).toMatchObject({
      ok: false,
      faults: [expect.stringMatching(/^JWT_SECRET_KEY: /), expect.stringMatching(/^PORT: /)],
    });
  });

  test('a database that cannot be reached is one line', async () => {
    const away = { ...env, DATABASE_URL: 'postgresql://nobody:hush-hush@127.0.0.1:1/none' };
    const outcome = await ringfence(['user', 'list'], { env: away });
    expectRefusal(outcome, 3, /cannot be reached/);
    expect(outcome.stderr).not.toContain('hush-hush');
  });
});

describe('with the embedded Postgres', () => {
  const dataDir = join(base, 'data');
  const run = (...args: string[]) => ringfence(['--data-dir', dataDir, ...args]);
  let server: ServingProcess | undefined;

  test('it is started for the moment when no server runs, and made when it is missing', async () => {
    expect(await run('user', 'create', '--admin', '--email', 'root@example.com', '--name', 'Root')).toMatchObject({
      code: 0,
    });
    expectRefusal(await run('db', 'url', '--role', 'owner'), 3, /No server runs on .*data; start one/);
  });

  test('a running server’s is used beside it', async () => {
    server = await serving({ DATA_DIR: dataDir });
    const { stdout } = await run('token', 'mint', '--email', 'root@example.com');
    const answer = await fetch(`${server.url}/admin/system/tasks`, {
      headers: { authorization: `Bearer ${stdout.trim()}` },
    });
    expect(answer.status).toBe(200);
    const url = (await run('db', 'url', '--role', 'app')).stdout.trim();
    await expect(statement(url, 'select * from tasks')).rejects.toMatchObject({ code: 'RF001' });
    await server.end();
  });
});
