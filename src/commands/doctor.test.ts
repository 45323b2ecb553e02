import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { statement } from '../../test/support/postgres.ts';
import { serving, temporaryDirectory } from '../../test/support/ringfence.ts';
import { startTestServer, type TestServer } from '../../test/support/server.ts';
import { testSecret } from '../../test/support/templates.ts';
import { runVerb } from '../../test/support/verb-process.ts';
import { createTokenMinter } from '../access/local-token.ts';
import { systemClock } from '../clock.ts';
import { matchSymptoms, symptoms } from './doctor-symptoms.ts';
import { diagnoseToken } from './doctor-token.ts';

interface Seen {
  readonly severity: string;
  readonly check: string;
  readonly object?: string;
  readonly message: string;
  readonly remedy?: string;
}

let server: TestServer;
let env: Record<string, string>;

beforeAll(async () => {
  server = await startTestServer();
  env = { DATABASE_URL: server.database.url, JWT_SECRET_KEY: testSecret };
});
afterAll(() => server.close());

async function doctor(
  symptom: string | undefined,
  { extra = {}, token }: { extra?: Record<string, string>; token?: string } = {},
): Promise<{ code: number | null; findings: readonly Seen[]; faults: readonly Seen[] }> {
  const flags = JSON.stringify({ json: true, token: token !== undefined });
  const call = `runDoctor(env, {}, ${symptom === undefined ? 'undefined' : JSON.stringify(symptom)}, ${flags})`;
  const { code, stdout, stderr } = await runVerb('doctor.ts', call, { ...env, ...extra }, token);
  if (stdout === '') throw new Error(`nothing was printed: ${stderr}`);
  const { findings } = JSON.parse(stdout);
  return { code, findings, faults: findings.filter((finding: Seen) => finding.severity === 'fail') };
}

describe('what is seen', () => {
  test.each([
    ['Invalid token', 'Invalid token'],
    ['{"detail":"Invalid token"}', 'Invalid token'],
    ['token expired', 'Token expired'],
    ['User ID not found in request', 'User ID not found in request'],
    ["I see another user's tasks", 'Cross-user data visible'],
    ['cross-user data visible', 'Cross-user data visible'],
    ['system mode not working', 'System mode not working'],
    ['admin operations fail with user filtering', 'System mode not working'],
    ['the queries are slow', 'Slow queries'],
    ['memory usage increases', 'Memory usage increases'],
    ['error: RF002', 'RF002: the user identity is not signed by a key of this database'],
    ['permission denied for table tasks', '42501: permission denied'],
    ['ERROR 42P10', '42P10: there is no unique constraint matching the ON CONFLICT specification'],
    ['canceling statement due to lock timeout', '55P03: canceling statement due to lock timeout'],
    ['connect ECONNREFUSED 127.0.0.1:5432', 'The database cannot be reached'],
  ])('%s: %s', (described, expected) => {
    expect(matchSymptoms(described).map(({ text }) => text)).toContain(expected);
  });

  test('every symptom is found by its own text alone', () => {
    for (const { text } of symptoms) expect(matchSymptoms(text).map((found) => found.text)).toEqual([text]);
  });

  test('what nobody knows lists what is known', async () => {
    const { code, stderr, stdout } = await runVerb('doctor.ts', "runDoctor(env, {}, 'purple elephants', {})", env);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    for (const { text } of symptoms) expect(stderr).toContain(text);
  });
});

test('a server as it should be is well, whatever is asked', async () => {
  const { code, faults } = await doctor(undefined);
  expect(faults).toEqual([]);
  expect(code).toBe(0);
});

describe('a token', () => {
  const now = 1_800_000_000_000;
  const local = { secretKey: testSecret, algorithm: 'HS256', issuer: 'ringfence', audience: 'ringfence-api' } as const;
  const expected = { local, jwks: undefined, now };
  const mint = async (issuer = {}, at = now) => {
    const minter = createTokenMinter({ ...local, ...issuer }, 3600, { now: () => at });
    return (await minter({ userId: uuidv7(), email: 'a@b.c', roles: ['user'], sessionId: uuidv7() })).token;
  };
  const faults = (given: string, told = {}) =>
    diagnoseToken(given, { ...expected, ...told }).findings.filter(({ severity }) => severity !== 'pass');
  const signed = (head: object, body: object) => {
    const text = [head, body].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
    return `${text}.${createHmac('sha256', testSecret).update(text).digest('base64url')}`;
  };

  test('that is good is good in each way of giving it', async () => {
    const token = await mint();
    for (const given of [token, `Bearer ${token}\n`, `Authorization: Bearer ${token}`])
      expect(faults(given)).toEqual([]);
    expect(diagnoseToken(token, expected).session).not.toBeNull();
  });

  test('has its fault named', async () => {
    const token = await mint();
    const other = 'bm90IHRoZSBzZWNyZXQgb2YgdGhlIHRlc3RzLCBhbm90aGVyIG9uZQ';
    expect(faults(`Authorization: ${token}`)).toMatchObject([
      { check: 'bearer', message: expect.stringContaining('Bearer') },
    ]);
    expect(faults('Authorization: Basic YTpi')).toMatchObject([{ check: 'bearer' }]);
    expect(faults('')).toMatchObject([{ check: 'token' }]);
    expect(faults('abc')).toMatchObject([{ check: 'token-form' }]);
    expect(faults(await mint({ secretKey: other }))).toMatchObject([
      { check: 'token-signature', message: expect.stringContaining('another secret') },
    ]);
    expect(faults(await mint({ secretKey: `${testSecret}\n` }))).toMatchObject([
      { message: expect.stringContaining('line feed') },
    ]);
    expect(faults(await mint({ secretKey: other }), { local: { ...local, previousSecretKey: other } })).toMatchObject([
      { severity: 'warn', message: expect.stringContaining('PREVIOUS') },
    ]);
    expect(faults(await mint({ algorithm: 'HS512' }))).toMatchObject([
      { check: 'token-algorithm', message: expect.stringContaining('HS512') },
    ]);
    expect(faults(await mint({ issuer: 'elsewhere' }))).toMatchObject([{ check: 'token-issuer' }]);
    expect(faults(await mint({ audience: 'elsewhere' }))).toMatchObject([{ check: 'token-audience' }]);
    expect(faults(await mint({}, now - 3 * 86_400_000))).toMatchObject([
      { check: 'token-expiry', message: expect.stringContaining('expired 2 days ago') },
    ]);
    expect(faults(await mint({}, now + 600_000))).toMatchObject([
      { check: 'token-clock', message: expect.stringContaining('10 minutes in the future') },
    ]);
    const body = { iss: 'ringfence', aud: 'ringfence-api', exp: now / 1000 + 60, sub: 'nobody' };
    expect(faults(signed({ alg: 'HS256', typ: 'at+jwt' }, body))).toMatchObject([{ check: 'token-subject' }]);
    expect(faults(signed({ alg: 'none', typ: 'at+jwt' }, { ...body, sub: uuidv7() }))).toMatchObject([
      { check: 'token-algorithm' },
    ]);
    expect(faults(signed({ alg: 'HS256', typ: 'JWT' }, { ...body, sub: uuidv7() }))).toMatchObject([
      { check: 'token-type' },
    ]);
    expect(faults(signed({ alg: 'HS256', typ: 'at+jwt', jwk: {} }, { ...body, sub: uuidv7() }))).toMatchObject([
      { check: 'token-form' },
    ]);
  });

  test('is never shown', async () => {
    const token = await mint({ secretKey: 'x'.repeat(40) });
    expect(JSON.stringify(faults(token))).not.toContain(token.split('.')[2]);
  });

  test('of a session that has ended, by the command', async () => {
    const user = await server.user();
    const open = await doctor('Invalid token', { token: `Bearer ${user.token}` });
    expect(open).toMatchObject({ code: 0 });
    expect(open.findings).toContainEqual(expect.objectContaining({ check: 'token-session', message: 'is open' }));
    await statement(
      server.database.url,
      `update sessions set revoked_at = now(), revoked_reason = 'logout' where user_id = '${user.id}'`,
    );
    const ended = await doctor('Invalid token', { token: user.token });
    expect(ended.faults).toMatchObject([{ check: 'token-session', message: 'has ended (logout)' }]);
    await statement(server.database.url, `update users set status = 'suspended' where id = '${user.id}'`);
    expect((await doctor('Invalid token', { token: user.token })).faults).toMatchObject([
      { message: expect.stringContaining('suspended') },
    ]);
    const stranger = await createTokenMinter(
      local,
      60,
      systemClock,
    )({ userId: uuidv7(), email: 'a@b.c', roles: ['user'], sessionId: uuidv7() });
    expect((await doctor('Invalid token', { token: stranger.token })).faults).toMatchObject([
      { message: expect.stringContaining('does not exist') },
    ]);
  });
});

describe('a cause that was planted', () => {
  test('a placeholder for a secret: said, and the database is looked at all the same', async () => {
    const extra = { JWT_SECRET_KEY: 'your-production-jwt-secret' };
    const { code, faults } = await doctor(undefined, { extra });
    expect(code).toBe(1);
    expect(faults).toMatchObject([
      { check: 'config', object: 'JWT_SECRET_KEY', message: expect.stringContaining('placeholder') },
    ]);
  });

  test('a secret that the database does not know', async () => {
    const extra = { JWT_SECRET_KEY: 'YW5vdGhlciBzZWNyZXQgdGhhbiB0aGF0IG9mIHRoZSB0ZXN0cyBoZXJl' };
    const wrong = await doctor('RF002', { extra });
    expect(wrong.faults).toMatchObject([{ remedy: expect.stringContaining('ringfence migrate up') }]);
    const owner = new URL(server.database.url);
    const roles = { DATABASE_APP_URL: owner.href, DATABASE_SYSTEM_URL: owner.href };
    const replaced = await doctor('RF002', { extra: { ...extra, ...roles, JWT_SECRET_KEY_PREVIOUS: testSecret } });
    expect(replaced.faults).toMatchObject([
      { check: 'identity-key', message: expect.stringContaining('JWT_SECRET_KEY_PREVIOUS') },
    ]);
  });

  test('isolation switched off, and a log-in above the policies', async () => {
    const { faults } = await doctor('cross-user data visible', {
      extra: {
        USER_ISOLATION_ENABLED: 'false',
        DATABASE_APP_URL: server.database.url,
        DATABASE_SYSTEM_URL: server.database.url,
      },
    });
    expect(faults.map(({ check }) => check)).toEqual(expect.arrayContaining(['isolation-flag', 'log-ins']));
    expect(faults.some(({ message }) => message.includes('is a superuser'))).toBe(true);
  });

  test('a table without its policy', async () => {
    await statement(server.database.url, 'alter table rules disable row level security');
    try {
      const { faults } = await doctor("somebody sees another user's rules");
      expect(faults).toContainEqual(expect.objectContaining({ check: 'row-security', object: 'public.rules' }));
    } finally {
      await statement(server.database.url, 'alter table rules enable row level security');
    }
  });

  test('requests without a user in the log', async () => {
    const logDir = temporaryDirectory();
    const line = '{"msg":"JWT missing","reason":"noUser"}\n{"msg":"request","status":401,"ms":1}\n';
    writeFileSync(join(logDir, 'application.log'), line.repeat(30));
    const { findings } = await doctor('User ID not found in request', { extra: { LOG_DIR: logDir } });
    expect(findings).toContainEqual(expect.objectContaining({ severity: 'warn', check: 'user-context' }));
  });

  test.each([
    ['postgresql://nobody:x@127.0.0.1:1/none', 'nothing listens there'],
    ['postgresql://nobody:x@nowhere.invalid/none', 'host name'],
  ])('an unreachable database is a finding: %s', async (url, remedy) => {
    const { code, faults } = await doctor('slow queries', { extra: { DATABASE_URL: url } });
    expect(code).toBe(1);
    expect(faults).toMatchObject([{ check: 'database', remedy: expect.stringContaining(remedy) }]);
  });

  test('a database that is not there, a wrong password, an empty one', async () => {
    const missing = new URL(server.database.url);
    missing.pathname = '/there_is_none';
    expect((await doctor('slow', { extra: { DATABASE_URL: missing.href } })).faults).toMatchObject([
      { remedy: expect.stringContaining('database name') },
    ]);
    const wrong = new URL(server.database.url);
    wrong.password = 'wrong';
    expect((await doctor('slow', { extra: { DATABASE_URL: wrong.href } })).faults).toMatchObject([
      { remedy: expect.stringContaining('password') },
    ]);
    const empty = new URL(server.database.url);
    empty.pathname = '/template1';
    expect((await doctor('slow', { extra: { DATABASE_URL: empty.href } })).faults).toMatchObject([
      { check: 'isolation' },
    ]);
  });
});

test('beside a running server: its memory, and no Postgres made where none was', async () => {
  const dataDir = temporaryDirectory();
  const before = await runVerb('doctor.ts', "runDoctor(env, {}, 'memory', { json: true })", { DATA_DIR: dataDir });
  expect(JSON.parse(before.stdout).findings).toContainEqual(
    expect.objectContaining({ check: 'database', remedy: 'run: ringfence serve' }),
  );
  const running = await serving({ DATA_DIR: dataDir });
  const { code, stdout } = await runVerb('doctor.ts', "runDoctor(env, {}, 'memory', { json: true })", {
    DATA_DIR: dataDir,
  });
  expect(JSON.parse(stdout).findings).toContainEqual(
    expect.objectContaining({ check: 'memory', message: expect.stringMatching(/uses \d+ MiB/) }),
  );
  expect(code).toBe(0);
  await running.end();
}, 60_000);
