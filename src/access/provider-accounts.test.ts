import { generateKeyPairSync } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { statement } from '../../test/support/postgres.ts';
import { startTestServer, type TestServer } from '../../test/support/server.ts';

const issuer = 'https://idp.example/';
const audience = 'tasks';
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const published = { keys: [{ ...pair.publicKey.export({ format: 'jwk' }), alg: 'ES256', kid: 'k', use: 'sig' }] };

let provider: Server;
let open: TestServer;
let closed: TestServer;

beforeAll(async () => {
  provider = createServer((_request, response) => response.end(JSON.stringify(published)));
  await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve));
  const address = provider.address();
  if (address === null || typeof address === 'string') throw new Error('the provider has no port');
  const env = { JWT_JWKS_URL: `http://127.0.0.1:${address.port}/keys`, JWT_ISSUER: issuer, JWT_AUDIENCE: audience };
  [open, closed] = await Promise.all([
    startTestServer({ env: { ...env, JWT_JWKS_CREATE_USERS: 'true' } }),
    startTestServer({ env }),
  ]);
});
afterAll(async () => {
  await Promise.all([open?.close(), closed?.close()]);
  provider.closeAllConnections();
  await new Promise((resolve) => provider.close(resolve));
});

function token(claims: Record<string, unknown>): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ iss: issuer, aud: audience, iat: now, exp: now + 300, ...claims })
    .setProtectedHeader({ alg: 'ES256', kid: 'k' })
    .sign(pair.privateKey);
}

const as = (server: TestServer, bearer: string, method = 'GET', path = '/api/user/profile', body?: unknown) =>
  server.call(method, path, body, { authorization: `Bearer ${bearer}` });

test('somebody new gets an account on first use, with the role user, and the same one ever after', async () => {
  const claims = { sub: 'auth0|1', email: 'one@example.test', email_verified: true, name: 'One', roles: ['admin'] };
  const first = await as(open, await token(claims));
  expect(first).toMatchObject({ status: 200, body: { email: 'one@example.test', name: 'One', roles: ['user'] } });
  const made = await as(open, await token(claims), 'POST', '/api/projects', { name: 'P' });
  expect(made.status).toBe(201);
  const later = await as(open, await token({ sub: 'auth0|1' }), 'GET', '/api/projects');
  expect(later.body.items).toHaveLength(1);
  expect((await as(open, await token(claims), 'GET', '/admin/system/tasks')).status).toBe(403);
});

test('requests at the same time make one account', async () => {
  const bearer = await token({ sub: 'auth0|many', email: 'many@example.test', email_verified: true });
  const answers = await Promise.all(Array.from({ length: 6 }, () => as(open, bearer)));
  expect(new Set(answers.map((answer) => answer.body.id)).size).toBe(1);
  expect(answers.every((answer) => answer.status === 200)).toBe(true);
});

test('an e-mail address never joins an account: not unverified, not verified either', async () => {
  const ann = await open.user();
  await ann.call('POST', '/api/projects', { name: 'Ann’s' });
  for (const [sub, verified] of [
    ['auth0|unverified', false],
    ['auth0|verified', true],
  ] as const) {
    const bearer = await token({ sub, email: ann.email, email_verified: verified });
    const { body } = await as(open, bearer);
    expect(body.id).not.toBe(ann.id);
    expect(body.email).toBe(`${body.id}@provider.invalid`);
    expect((await as(open, bearer, 'GET', '/api/projects')).body.items).toEqual([]);
  }
});

test('an unverified address stays free for who owns it', async () => {
  const email = 'owner@example.test';
  await as(open, await token({ sub: 'auth0|squatter', email }));
  const answer = await open.call('POST', '/api/auth/register', { email, password: 'correct horse battery', name: 'O' });
  expect(answer.status).toBe(201);
});

test('without JWT_JWKS_CREATE_USERS nobody gets an account', async () => {
  const bearer = await token({ sub: 'auth0|1' });
  expect(await as(closed, bearer)).toMatchObject({ status: 401, body: { detail: 'Invalid token' } });
  const { rows } = await statement(closed.database.url, 'select from users where external_subject is not null');
  expect(rows).toEqual([]);
});

test('there is no password: not to sign in, not to change, not needed to erase', async () => {
  const bearer = await token({ sub: 'auth0|leaver', email: 'leaver@example.test', email_verified: true });
  const { body } = await as(open, bearer);
  const login = await open.call('POST', '/api/auth/login', { email: 'leaver@example.test', password: '' });
  expect(login.status).toBe(401);
  const change = { current_password: '', new_password: 'correct horse battery' };
  expect((await as(open, bearer, 'POST', '/api/auth/change-password', change)).status).toBe(409);
  expect((await as(open, bearer, 'DELETE', '/api/user')).status).toBe(204);
  const { rows } = await statement(open.database.url, `select from users where id = '${body.id}'`);
  expect(rows).toEqual([]);
});

test('logging out everywhere refuses the tokens the provider has issued so far', async () => {
  const bearer = await token({ sub: 'auth0|out' });
  const { body } = await as(open, bearer);
  expect((await as(open, bearer, 'POST', '/api/auth/logout?all=true')).status).toBe(204);
  expect((await as(open, bearer)).status).toBe(401);
  const later = await token({ sub: 'auth0|out', iat: Math.floor(Date.now() / 1000) + 2 });
  expect((await as(open, later)).body.id).toBe(body.id);
});

test('a suspended account is refused', async () => {
  const bearer = await token({ sub: 'auth0|bad' });
  const { body } = await as(open, bearer);
  await statement(open.database.url, `update users set status = 'suspended' where id = '${body.id}'`);
  expect(await as(open, bearer)).toMatchObject({ status: 401, body: { detail: 'Invalid token' } });
});

test('one subject of two providers is two accounts', async () => {
  const bearer = await token({ sub: 'auth0|twice' });
  const first = (await as(open, bearer)).body.id;
  // The server was told of another provider meanwhile.
  await statement(
    open.database.url,
    `update users set external_issuer = 'https://other.example/' where id = '${first}'`,
  );
  const second = (await as(open, bearer)).body.id;
  expect(second).not.toBe(first);
  expect((await as(open, bearer)).body.id).toBe(second);
});

test('refusing one user’s tokens refuses nobody else’s', async () => {
  const [leaves, stays] = [await token({ sub: 'auth0|leaves' }), await token({ sub: 'auth0|stays' })];
  for (const bearer of [leaves, stays]) expect((await as(open, bearer)).status).toBe(200);
  expect((await as(open, leaves, 'POST', '/api/auth/logout?all=true')).status).toBe(204);
  expect((await as(open, leaves)).status).toBe(401);
  expect((await as(open, stays)).status).toBe(200);
});
