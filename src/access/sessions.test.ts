import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestServer, type TestServer } from '../../test/support/server.ts';
import { testSecret } from '../../test/support/templates.ts';
import { Sessions } from './sessions.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server?.close());

const origin = { requestId: 'test-request', userAgent: '', address: '192.0.2.1' };

function sessionsWith(secret: string): Sessions {
  return new Sessions({
    isolation: server.isolation,
    mintAccessToken: server.mint,
    refreshTokenSeconds: 3600,
    secret,
    securityLog: { event: () => {} },
  });
}

test('while the server’s secret is being replaced, an exchange whose answer was lost can still be repeated', async () => {
  const registration = { email: `${randomUUID()}@example.test`, password: 'correct horse battery', name: 'Ann' };
  const { body } = await server.call('POST', '/api/auth/register', registration);
  const before = sessionsWith(testSecret);
  const after = sessionsWith(`${testSecret}, replaced`);
  const lost = await before.refresh(body.refresh_token, origin);
  const found = await after.refresh(body.refresh_token, origin);
  expect(found.refreshToken).not.toBe(lost.refreshToken);
  expect((await after.refresh(found.refreshToken, origin)).user.version).toBe(1);
  await expect(before.refresh(lost.refreshToken, origin)).rejects.toMatchObject({ message: 'Invalid token' });
});
