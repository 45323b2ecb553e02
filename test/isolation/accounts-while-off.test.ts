/**
 * While isolation is off (USER_ISOLATION_ENABLED=false) users' statements go through the system role, which holds no more
 * of the account tables than they need: every way to one's own account is gone once.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({ enforcement: 'off' });
});
afterAll(() => server?.close());

const email = 'off@example.test';
const [first, second] = ['a pass phrase of some length', 'another pass phrase of some length'];

const signIn = (password: string) => server.call('POST', '/api/auth/login', { email, password });
const as =
  (token: string) =>
  (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
    server.call(method, path, body, { authorization: `Bearer ${token}`, ...headers });

test('an account’s whole life works', async () => {
  const registered = await server.call('POST', '/api/auth/register', { email, password: first, name: 'Off' });
  expect(registered.status).toBe(201);
  expect((await signIn('a wrong pass phrase')).status).toBe(401);
  const session = await signIn(first);
  expect(session.status).toBe(200);
  const refreshed = await server.call('POST', '/api/auth/refresh', { refresh_token: session.body.refresh_token });
  expect(refreshed.status).toBe(200);

  const me = as(refreshed.body.access_token);
  expect((await me('PATCH', '/api/user/profile', { name: 'Renamed' })).body).toMatchObject({ name: 'Renamed' });
  expect((await me('GET', '/api/user/profile')).body).toMatchObject({ email, name: 'Renamed' });
  const sessions = await me('GET', '/api/user/sessions');
  expect(sessions.body.items).toHaveLength(2);
  const other = sessions.body.items.find((item: { current: boolean }) => !item.current);
  expect((await me('DELETE', `/api/user/sessions/${other.id}`)).status).toBe(204);

  const key = { 'idempotency-key': 'once' };
  const made = await me('POST', '/api/projects', { name: 'Apollo' }, key);
  expect(made.status).toBe(201);
  expect((await me('POST', '/api/projects', { name: 'Apollo' }, key)).body.id).toBe(made.body.id);

  const token = await me('POST', '/api/user/tokens', { name: 'script' });
  expect(token.status).toBe(201);
  expect((await as(token.body.token)('GET', '/api/projects')).status).toBe(200);
  expect((await me('GET', '/api/user/tokens')).body.items[0]).toMatchObject({ name: 'script', usage_count: 1 });
  expect((await me('DELETE', `/api/user/tokens/${token.body.id}`)).status).toBe(204);
  expect((await as(token.body.token)('GET', '/api/projects')).status).toBe(401);

  const log = await me('GET', '/api/user/access-log?limit=100');
  const operations = log.body.items.map((line: { operation: string }) => line.operation);
  expect(operations).toEqual(expect.arrayContaining(['register', 'login', 'create', 'revoke', 'logout']));
  expect((await me('GET', '/api/user/export')).body).toMatchObject({ format: 'ringfence export' });

  const changed = await me('POST', '/api/auth/change-password', { current_password: first, new_password: second });
  expect(changed.status).toBe(200);
  expect((await signIn(first)).status).toBe(401);
  expect((await as(changed.body.access_token)('POST', '/api/auth/logout')).status).toBe(204);
  const last = await signIn(second);
  expect((await as(last.body.access_token)('DELETE', '/api/user', { password: second })).status).toBe(204);
  expect((await signIn(second)).status).toBe(401);
});

test('an administrator sees users and the log', async () => {
  const root = await server.user({ roles: ['user', 'admin'] });
  expect((await root.call('GET', `/admin/users?email=${root.email}`)).body.items).toHaveLength(1);
  expect((await root.call('GET', `/admin/access-log?outcome=system`)).status).toBe(200);
  expect((await root.call('GET', '/admin/system/projects')).status).toBe(200);
});
