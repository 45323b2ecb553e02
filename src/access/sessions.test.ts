import { randomUUID } from 'node:crypto';
import { stringify } from 'uuid';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { statement } from '../../test/support/postgres.ts';
import { startTestServer, type TestServer } from '../../test/support/server.ts';
import { testSecret } from '../../test/support/templates.ts';
import { mintOpaqueToken } from './opaque-token.ts';
import { Sessions } from './sessions.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server?.close());

const origin = { requestId: 'test-request', userAgent: '', address: '192.0.2.1' };

function sessionsWith(secret: string, previousSecret?: string): Sessions {
  return new Sessions({
    isolation: server.isolation,
    mintAccessToken: server.mint,
    refreshTokenSeconds: 3600,
    secret,
    previousSecret,
    securityLog: { event: () => {} },
  });
}

test('while the server’s secret is being replaced, an exchange whose answer was lost can still be repeated', async () => {
  const body = await register();
  const before = sessionsWith(testSecret);
  const after = sessionsWith(`${testSecret}, replaced`, testSecret);
  const lost = await before.refresh(body.refresh_token, origin);
  const found = await after.refresh(body.refresh_token, origin);
  expect(found.refreshToken).not.toBe(lost.refreshToken);
  expect((await after.refresh(found.refreshToken, origin)).user.version).toBe(1);
  await expect(before.refresh(lost.refreshToken, origin)).rejects.toMatchObject({ message: 'Invalid token' });
});

async function register() {
  const registration = { email: `${randomUUID()}@example.test`, password: 'correct horse battery', name: 'Ann' };
  return (await server.call('POST', '/api/auth/register', registration)).body;
}

test('a made-up refresh token ends no session', async () => {
  const { refresh_token: token, user } = await register();
  const sessionId = Buffer.from(token.slice(4), 'base64url').subarray(16, 32);
  const madeUp = mintOpaqueToken('refresh', user.id, stringify(sessionId)).token;
  const events = server.securityEvents.length;
  const answer = await server.call('POST', '/api/auth/refresh', { refresh_token: madeUp });
  expect(answer).toMatchObject({ status: 401, body: { detail: 'Invalid token' } });
  const changed = token.slice(0, -6) + (token.endsWith('AAAAAA') ? 'BBBBBQ' : 'AAAAAA');
  expect((await server.call('POST', '/api/auth/refresh', { refresh_token: changed })).status).toBe(401);
  expect(server.securityEvents.slice(events).map(({ name }) => name)).not.toContain('REFRESH_TOKEN_REUSED');
  // Nothing was changed: the session's own token is still good.
  expect((await server.call('POST', '/api/auth/refresh', { refresh_token: token })).status).toBe(200);
});

test('a session of an account that was suspended meanwhile is not gone on with', async () => {
  const { refresh_token: token, user } = await register();
  await statement(server.database.url, `update users set status = 'suspended' where id = '${user.id}'`);
  const answer = await server.call('POST', '/api/auth/refresh', { refresh_token: token });
  expect(answer).toMatchObject({ status: 401, body: { detail: 'Invalid token' } });
});

test('an exchanged token that was made under the secret before still ends its family', async () => {
  const { refresh_token: token } = await register();
  const during = sessionsWith(`${testSecret}, replaced`, testSecret);
  const second = await during.refresh(token, origin);
  const third = await during.refresh(second.refreshToken, origin);
  await expect(during.refresh(token, origin)).rejects.toMatchObject({ message: 'Invalid token' });
  await expect(during.refresh(third.refreshToken, origin)).rejects.toMatchObject({ message: 'Invalid token' });
});
