import { randomUUID } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { SignJWT } from 'jose';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { statement } from '../../test/support/postgres.ts';
import { startTestServer, type TestServer, type TestUser } from '../../test/support/server.ts';
import { testSecret } from '../../test/support/templates.ts';

let server: TestServer;
let ann: TestUser;
let bob: TestUser;

beforeAll(async () => {
  server = await startTestServer();
  [ann, bob] = await Promise.all([server.user(), server.user()]);
});
afterAll(() => server?.close());

const profile = (authorization?: string) =>
  server.call('GET', '/api/user/profile', undefined, authorization === undefined ? {} : { authorization });

/** A token signed with the server's secret; undefined leaves a claim out. */
function signed(claims: Record<string, unknown>, type = 'at+jwt'): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const whole = {
    iss: 'ringfence',
    aud: 'ringfence-api',
    sub: ann.id,
    sid: ann.caller.sessionId,
    email: ann.email,
    roles: ['user'],
    iat: now,
    exp: now + 60,
    jti: randomUUID(),
    ...claims,
  };
  const entries = Object.entries(whole).filter(([, value]) => value !== undefined);
  return new SignJWT(Object.fromEntries(entries))
    .setProtectedHeader({ alg: 'HS256', typ: type })
    .sign(Buffer.from(testSecret));
}

test('the guide’s texts', async () => {
  const now = Math.floor(Date.now() / 1000);
  const refusals: [string | undefined, string][] = [
    [undefined, 'User ID not found in request'],
    [`Bearer ${await signed({ sub: undefined })}`, 'User ID not found in request'],
    [`Bearer ${await signed({ sub: 'me' })}`, 'User ID not found in request'],
    [`Bearer ${await signed({ iat: now - 100, exp: now - 1 })}`, 'Token expired'],
    ['Bearer nonsense', 'Invalid token'],
    [ann.token, 'Invalid token'],
    [`Basic ${ann.token}`, 'Invalid token'],
    [`Bearer ${await signed({ exp: undefined })}`, 'Invalid token'],
    [`Bearer ${await signed({ aud: 'other' })}`, 'Invalid token'],
    [`Bearer ${await signed({}, 'JWT')}`, 'Invalid token'],
    [`Bearer ${await signed({ sid: uuidv7() })}`, 'Invalid token'],
    [`Bearer ${await signed({ sub: bob.id })}`, 'Invalid token'],
    [`Bearer ${await signed({ sub: uuidv7() })}`, 'Invalid token'],
  ];
  for (const [authorization, detail] of refusals) {
    const answer = await profile(authorization);
    expect([answer.status, answer.body.detail, answer.body.code]).toEqual([401, detail, 'unauthenticated']);
    expect(answer.headers.get('www-authenticate')).toBe('Bearer');
  }
  expect((await profile(`Bearer ${await signed({})}`)).status).toBe(200);
  expect((await profile(`bearer ${ann.token}`)).status).toBe(200);
});

test('two Authorization headers are refused, whichever is good', async () => {
  const { port } = new URL(server.url);
  for (const pair of [
    [`Bearer ${ann.token}`, `Bearer ${bob.token}`],
    [`Bearer ${ann.token}`, `Bearer ${ann.token}`],
  ]) {
    const status = await new Promise((resolve, reject) => {
      const headers = ['host', `127.0.0.1:${port}`, ...pair.flatMap((value) => ['authorization', value])];
      httpRequest({ port, path: '/api/user/profile', headers }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on('error', reject)
        .end();
    });
    expect(status).toBe(401);
  }
});

test('a token in the address is refused, also beside a good header', async () => {
  for (const name of ['access_token', 'token', 'api_key']) {
    const answer = await ann.call('GET', `/api/user/profile?${name}=${ann.token}`);
    expect(answer).toMatchObject({ status: 400, body: { code: 'validation_failed', errors: [{ field: name }] } });
    expect(answer.text).not.toContain(ann.token);
  }
});

test('a forged or ended token is told to who is on watch, an expired one is not', async () => {
  const seen = () => server.securityEvents.filter((event) => event.name === 'INVALID_TOKEN').length;
  const before = seen();
  await profile('Bearer nonsense');
  expect(seen()).toBe(before + 1);
  const cleo = await server.user();
  await cleo.call('POST', '/api/auth/logout');
  await cleo.call('GET', '/api/user/profile');
  expect(server.securityEvents.at(-1)).toMatchObject({ name: 'INVALID_TOKEN', fields: { user_id: cleo.id } });
  const now = Math.floor(Date.now() / 1000);
  await profile(`Bearer ${await signed({ iat: now - 100, exp: now - 1 })}`);
  await profile();
  expect(seen()).toBe(before + 2);
  expect(JSON.stringify(server.securityEvents)).not.toContain(cleo.token);
});

test('a suspended or quarantined account, an ended session and a password change close the door at once', async () => {
  for (const change of [
    "update users set status = 'suspended' where id = $",
    "update users set status = 'quarantine' where id = $",
    "update users set tokens_valid_after = now() + interval '1 minute' where id = $",
    "update sessions set revoked_at = now(), revoked_reason = 'admin' where user_id = $",
    'update sessions set expires_at = now() where user_id = $',
  ]) {
    const dora = await server.user();
    expect((await dora.call('GET', '/api/user/profile')).status).toBe(200);
    await statement(server.database.url, change.replace('$', `'${dora.id}'`));
    expect(await dora.call('GET', '/api/user/profile')).toMatchObject({
      status: 401,
      body: { detail: 'Invalid token' },
    });
    expect((await dora.call('POST', '/api/projects', { name: 'late' })).status).toBe(401);
  }
});

test('an administrator who was demoted loses system mode with the next request', async () => {
  const admin = await server.user({ roles: ['user', 'admin'] });
  expect((await admin.call('GET', '/admin/system/tasks')).status).toBe(200);
  await statement(server.database.url, `update users set roles = '{user}' where id = '${admin.id}'`);
  expect(await admin.call('GET', '/admin/system/tasks')).toMatchObject({
    status: 403,
    body: { code: 'admin_required' },
  });
  expect((await admin.call('GET', '/api/user/profile')).body.roles).toEqual(['user']);
});
