import { randomUUID } from 'node:crypto';
import { hash } from '@node-rs/argon2';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { statement } from '../../../test/support/postgres.ts';
import { type Answer, startTestServer, type TestServer } from '../../../test/support/server.ts';
import { verifyPassword } from '../../access/password.ts';
import { quarantineUserId } from '../../isolation/owned-tables.ts';

const password = 'correct horse battery';
let server: TestServer;
let verifications: (string | undefined)[];

beforeAll(async () => {
  server = await startTestServer({
    verifyPassword: (stored, text) => {
      verifications.push(stored);
      return verifyPassword(stored, text);
    },
  });
});
beforeEach(() => {
  verifications = [];
});
afterAll(() => server?.close());

const sql = (text: string) => statement(server.database.url, text);
const newEmail = () => `${randomUUID()}@example.test`;
const events = (name: string) => server.securityEvents.filter((event) => event.name === name);

async function register(email = newEmail(), more: Record<string, unknown> = {}): Promise<Answer> {
  return server.call('POST', '/api/auth/register', { email, password, name: 'Ann', ...more });
}
const login = (email: string, secret = password) => server.call('POST', '/api/auth/login', { email, password: secret });
const refresh = (token: string) => server.call('POST', '/api/auth/refresh', { refresh_token: token });
const as = (token: string, method = 'GET', path = '/api/user/profile', body?: unknown) =>
  server.call(method, path, body, { authorization: `Bearer ${token}` });

test('who registers is signed in, with the role user and nothing else', async () => {
  const email = newEmail();
  const { status, body, headers } = await register(email);
  expect(status).toBe(201);
  expect(body).toMatchObject({
    user: { email, name: 'Ann', roles: ['user'], status: 'active', version: 1 },
    token_type: 'Bearer',
    expires_in: 86_400,
    refresh_token: expect.stringMatching(/^rfr_/),
  });
  expect(headers.get('cache-control')).toContain('no-store');
  expect(JSON.stringify(body)).not.toMatch(/password|hash|failed|locked/);
  expect(decodeJwt(body.access_token)).toMatchObject({ sub: body.user.id, email, roles: ['user'], iss: 'ringfence' });
  expect((await as(body.access_token)).body).toMatchObject({ id: body.user.id, email, name: 'Ann' });
  const stored = await sql(`select password_hash, failed_login_attempts from users where id = '${body.user.id}'`);
  expect(stored.rows[0].password_hash).toMatch(/^\$argon2id\$/);
});

test('an e-mail address is taken whatever its case', async () => {
  const email = newEmail();
  await register(email);
  for (const again of [email, email.toUpperCase(), ` ${email} `]) {
    expect(await register(again)).toMatchObject({ status: 409, body: { code: 'already_exists' } });
  }
  expect((await login(email.toUpperCase())).status).toBe(200);
});

test('two registrations of one address at once make one account', async () => {
  const email = newEmail();
  const answers = await Promise.all([register(email), register(email), register(email)]);
  expect(answers.map((answer) => answer.status).sort()).toEqual([201, 409, 409]);
});

test('nobody registers as somebody more', async () => {
  for (const more of [
    { roles: ['user', 'admin'] },
    { role: 'admin' },
    { status: 'active' },
    { user_id: quarantineUserId },
    { id: randomUUID() },
    { password_hash: 'x' },
    { version: 7 },
  ]) {
    expect(await register(newEmail(), more)).toMatchObject({ status: 400, body: { code: 'validation_failed' } });
  }
});

test('bad input names the field', async () => {
  for (const [field, value] of [
    ['email', 'nobody'],
    ['email', 'a b@example.test'],
    ['email', `${'x'.repeat(300)}@example.test`],
    ['email', 7],
    ['name', ''],
    ['name', 'x'.repeat(201)],
    ['password', 'short'],
    ['password', 'password123'],
    ['password', 'x'.repeat(5_000)],
    ['password', null],
  ] as const) {
    const answer = await register(newEmail(), { [field]: value });
    expect(answer.status).toBe(400);
    expect(answer.body.detail).toMatch(new RegExp(`^${field}: `));
    if (typeof value === 'string' && field === 'password') expect(answer.text).not.toContain(value);
  }
  expect(await login('x'.repeat(3_000))).toMatchObject({ status: 400 });
  expect(await refresh('nonsense')).toMatchObject({ status: 401, body: { detail: 'Invalid token' } });
});

test('no account, a wrong password, a suspended account, quarantine: one answer after one verification', async () => {
  const known = newEmail();
  const suspended = newEmail();
  await Promise.all([register(known), register(suspended)]);
  await sql(`update users set status = 'suspended' where email = '${suspended}'`);
  const quarantine = await sql(`select email from users where id = '${quarantineUserId}'`);
  const tries: [string, string][] = [
    [newEmail(), password],
    [known, 'a wrong password'],
    [suspended, password],
    [quarantine.rows[0].email, password],
    ['no address at all', password],
    [known, ''],
  ];
  const bodies = [];
  for (const [email, secret] of tries) {
    verifications = [];
    const answer = await login(email, secret);
    expect(answer.status).toBe(401);
    expect(verifications).toHaveLength(1);
    const { request_id: _, ...body } = answer.body;
    bodies.push(body);
  }
  for (const body of bodies) expect(body).toEqual(bodies[0]);
  expect(bodies[0]).toMatchObject({ code: 'invalid_credentials' });
  expect(events('LOGIN_FAILED').length).toBeGreaterThanOrEqual(tries.length);
  expect(JSON.stringify(server.securityEvents)).not.toContain('example.test');
});

test('an account locks after five failures, longer each time, and a right password resets it', async () => {
  const email = newEmail();
  await register(email);
  for (let i = 0; i < 4; i += 1) await login(email, 'a wrong password');
  expect((await login(email)).status).toBe(200);

  for (let i = 0; i < 4; i += 1) await login(email, 'a wrong password');
  let asked = performance.now();
  /** Seconds left, and how many there were at the most when the password was tried. */
  const lockedFor = async () => {
    const { rows } = await sql(
      `select failed_login_attempts as n, extract(epoch from locked_until - now())::int as s from users where email = '${email}'`,
    );
    return { ...rows[0], most: rows[0].s + (performance.now() - asked) / 1_000 };
  };
  await login(email, 'a wrong password');
  const first = await lockedFor();
  expect(first.n).toBe(5);
  expect(first.most).toBeGreaterThan(25);
  expect(first.s).toBeLessThanOrEqual(30);
  expect(events('LOGIN_LOCKED')).toHaveLength(1);
  // Locked: the right password is refused like a wrong one, and guessing on does not lengthen the lock.
  expect(await login(email)).toMatchObject({ status: 401, body: { code: 'invalid_credentials' } });
  expect((await lockedFor()).n).toBe(5);

  await sql(`update users set locked_until = now() where email = '${email}'`);
  asked = performance.now();
  await login(email, 'a wrong password');
  expect((await lockedFor()).most).toBeGreaterThan(50);
  await sql(`update users set failed_login_attempts = 40, locked_until = now() where email = '${email}'`);
  await login(email, 'a wrong password');
  expect((await lockedFor()).s).toBeLessThanOrEqual(900);

  await sql(`update users set locked_until = now() where email = '${email}'`);
  expect((await login(email)).status).toBe(200);
  expect(await lockedFor()).toMatchObject({ n: 0, s: null });
});

test('failures at the same time are all counted, and a right guess among them comes too late', async () => {
  const email = newEmail();
  await register(email);
  const answers = await Promise.all(
    [...Array(12).fill('a wrong password'), password].map((text) => login(email, text)),
  );
  expect(answers.map((answer) => answer.status)).toEqual(Array(13).fill(401));
});

test('a hash of weaker parameters is replaced at the next log-in', async () => {
  const email = newEmail();
  await register(email);
  const weak = await hash(password, { memoryCost: 8192, timeCost: 1, parallelism: 1 });
  await sql(`update users set password_hash = '${weak}' where email = '${email}'`);
  expect((await login(email)).status).toBe(200);
  const { rows } = await sql(`select password_hash from users where email = '${email}'`);
  expect(rows[0].password_hash).toMatch(/^\$argon2id\$v=19\$m=19456/);
  expect((await login(email)).status).toBe(200);
});

test('a refresh token is exchanged once; within 30 seconds the same exchange has the same result', async () => {
  const { body } = await register();
  const second = await refresh(body.refresh_token);
  expect(second).toMatchObject({ status: 200, body: { user: { id: body.user.id }, token_type: 'Bearer' } });
  expect(second.body.refresh_token).not.toBe(body.refresh_token);
  const again = await Promise.all([refresh(body.refresh_token), refresh(body.refresh_token)]);
  for (const answer of again) expect(answer.body.refresh_token).toBe(second.body.refresh_token);
  const third = await refresh(second.body.refresh_token);
  expect(third.status).toBe(200);
  for (const token of [body.access_token, second.body.access_token, third.body.access_token]) {
    expect((await as(token)).status).toBe(200);
  }
});

test('a refresh token that comes back after its grace ends the session, and says so', async () => {
  const { body } = await register();
  const second = await refresh(body.refresh_token);
  await sql(`update sessions set rotated_at = now() - interval '31 seconds' where user_id = '${body.user.id}'`);
  const before = events('REFRESH_TOKEN_REUSED').length;
  expect(await refresh(body.refresh_token)).toMatchObject({ status: 401, body: { detail: 'Invalid token' } });
  expect(events('REFRESH_TOKEN_REUSED')).toHaveLength(before + 1);
  expect((await refresh(second.body.refresh_token)).status).toBe(401);
  expect((await as(second.body.access_token)).status).toBe(401);
  const { rows } = await sql(`select revoked_reason from sessions where user_id = '${body.user.id}'`);
  expect(rows).toEqual([{ revoked_reason: 'reuse' }]);
  const log = await sql(
    `select outcome, reason from user_access_log where user_id = '${body.user.id}' and operation = 'refresh'`,
  );
  expect(log.rows).toEqual([{ outcome: 'refused', reason: 'refresh token used twice' }]);
});

test('a token that was exchanged twice over is refused at once, grace or not', async () => {
  const { body } = await register();
  const second = await refresh(body.refresh_token);
  await refresh(second.body.refresh_token);
  expect((await refresh(body.refresh_token)).status).toBe(401);
  expect((await refresh(second.body.refresh_token)).status).toBe(401);
});

test('no token does the work of another kind', async () => {
  const { body } = await register();
  expect(await as(body.refresh_token)).toMatchObject({ status: 401, body: { detail: 'Invalid token' } });
  expect(await refresh(body.access_token)).toMatchObject({ status: 401, body: { detail: 'Invalid token' } });
  expect((await refresh(body.refresh_token.replace('rfr_', 'rft_'))).status).toBe(401);
  expect((await as(body.refresh_token.replace('rfr_', 'rft_'))).status).toBe(401);
  // None of these was taken for a reuse.
  expect((await as(body.access_token)).status).toBe(200);
  expect((await refresh(body.refresh_token)).status).toBe(200);
});

test('an expired session cannot be refreshed', async () => {
  const { body } = await register();
  await sql(`update sessions set expires_at = now() where user_id = '${body.user.id}'`);
  expect(await refresh(body.refresh_token)).toMatchObject({ status: 401, body: { detail: 'Token expired' } });
});

test('roles are taken anew with each refresh', async () => {
  const { body } = await register();
  await sql(`update users set roles = '{user,admin}' where id = '${body.user.id}'`);
  expect((await as(body.access_token, 'GET', '/admin/system/tasks')).status).toBe(403);
  const { body: fresh } = await refresh(body.refresh_token);
  expect((await as(fresh.access_token, 'GET', '/admin/system/tasks')).status).toBe(200);
});

test('logging out ends this session and no other', async () => {
  const email = newEmail();
  const { body: first } = await register(email);
  const { body: second } = await login(email);
  expect((await as(first.access_token, 'POST', '/api/auth/logout')).status).toBe(204);
  expect((await as(first.access_token)).status).toBe(401);
  expect((await refresh(first.refresh_token)).status).toBe(401);
  expect((await as(second.access_token)).status).toBe(200);

  const { body: third } = await login(email);
  expect((await as(third.access_token, 'POST', '/api/auth/logout?all=true')).status).toBe(204);
  for (const { access_token, refresh_token } of [second, third]) {
    expect((await as(access_token)).status).toBe(401);
    expect((await refresh(refresh_token)).status).toBe(401);
  }
});

test('after logging out everywhere one can sign in again at once', async () => {
  const email = newEmail();
  const { body } = await register(email);
  await as(body.access_token, 'POST', '/api/auth/logout?all=true');
  const again = await login(email);
  expect((await as(again.body.access_token)).status).toBe(200);
});

test('a new password ends everything but the session that set it, which goes on with new tokens', async () => {
  const email = newEmail();
  const { body: here } = await register(email);
  const { body: elsewhere } = await login(email);
  const change = { current_password: password, new_password: 'an entirely new one' };
  const answer = await as(here.access_token, 'POST', '/api/auth/change-password', change);
  expect(answer).toMatchObject({ status: 200, body: { user: { email }, token_type: 'Bearer' } });
  for (const { access_token, refresh_token } of [here, elsewhere]) {
    expect((await as(access_token)).status).toBe(401);
    expect((await refresh(refresh_token)).status).toBe(401);
  }
  // Made in the same second as the change.
  expect((await as(answer.body.access_token)).status).toBe(200);
  expect((await refresh(answer.body.refresh_token)).status).toBe(200);
  expect((await login(email)).status).toBe(401);
  expect((await login(email, change.new_password)).status).toBe(200);
  expect(events('PASSWORD_CHANGED').at(-1)).toMatchObject({ fields: { user_id: here.user.id } });
});

test('changing the password needs the present one, and guessing it locks', async () => {
  const { body } = await register();
  const change = (current_password: string, new_password = 'an entirely new one') =>
    as(body.access_token, 'POST', '/api/auth/change-password', { current_password, new_password });
  expect(await change('a wrong password')).toMatchObject({
    status: 400,
    body: { detail: 'current_password: is wrong.' },
  });
  expect((await change(password, 'short')).body.detail).toMatch(/^new_password: /);
  for (let i = 0; i < 3; i += 1) expect((await change('a wrong password')).status).toBe(400);
  const locked = await change('a wrong password');
  expect(locked).toMatchObject({ status: 429, body: { code: 'account_locked' } });
  expect(Number(locked.headers.get('retry-after'))).toBeGreaterThan(20);
  expect(await change(password)).toMatchObject({ status: 429 });
  expect((await as(body.access_token)).status).toBe(200);
});

test('two changes from one password: one of them wins', async () => {
  const { body } = await register();
  const change = (new_password: string) =>
    as(body.access_token, 'POST', '/api/auth/change-password', { current_password: password, new_password });
  const answers = await Promise.all([change('an entirely new one'), change('another new one')]);
  const [first, second] = answers.map((answer) => answer.status).sort();
  expect(first).toBe(200);
  // The other's session has ended, or its password is the old one by now: which it meets first is chance.
  expect([400, 401]).toContain(second);
});

test('what happened to an account is in its log, in the same transaction', async () => {
  const email = newEmail();
  const { body } = await register(email);
  await login(email, 'a wrong password');
  await login(email);
  const { body: log } = await as(body.access_token, 'GET', '/api/user/access-log');
  expect(log.items.map((item: { operation: string; outcome: string }) => [item.operation, item.outcome])).toEqual([
    ['login', 'ok'],
    ['login', 'refused'],
    ['register', 'ok'],
  ]);
});

test('JSON without a content type is read, also with none at all', async () => {
  const email = newEmail();
  await register(email);
  const body = JSON.stringify({ email, password });
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  expect((await server.call('POST', '/api/auth/login', body, headers)).status).toBe(200);
});

test('REGISTRATION_ENABLED=false refuses strangers and nobody else', async () => {
  const closed = await startTestServer({ env: { REGISTRATION_ENABLED: 'false' } });
  try {
    const request = { email: newEmail(), password, name: 'Ann' };
    const answer = await closed.call('POST', '/api/auth/register', request);
    expect(answer).toMatchObject({ status: 403, body: { detail: expect.stringMatching(/^Registration is closed/) } });
    const ann = await closed.user();
    expect((await ann.call('GET', '/api/user/profile')).status).toBe(200);
  } finally {
    await closed.close();
  }
});
