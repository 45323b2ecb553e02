import { afterAll, beforeAll, expect, test } from 'vitest';
import { statement } from '../../../test/support/postgres.ts';
import { startTestServer, type TestServer, type TestUser } from '../../../test/support/server.ts';

let server: TestServer;
let ann: TestUser;
let bob: TestUser;
let milliseconds = Date.now();

beforeAll(async () => {
  server = await startTestServer({ clock: { now: () => milliseconds } });
  [ann, bob] = await Promise.all([server.user(), server.user()]);
});
afterAll(() => server?.close());

const sql = (text: string) => statement(server.database.url, text);
const make = (user: TestUser, body: Record<string, unknown> = {}) =>
  user.call('POST', '/api/user/tokens', { name: 'agent', ...body });
const as = (token: string, method = 'GET', path = '/api/projects', body?: unknown) =>
  server.call(method, path, body, { authorization: `Bearer ${token}` });

test('a token is made, used, listed without its secret, and revoked', async () => {
  const made = await make(ann);
  expect(made).toMatchObject({
    status: 201,
    body: { name: 'agent', scopes: ['read', 'write'], revoked_at: null, usage_count: 0 },
  });
  const { token, id, expires_at } = made.body;
  expect(token).toMatch(/^rft_[\w-]{86}$/);
  const days = (Date.parse(expires_at) - Date.now()) / 86_400_000;
  expect(days).toBeGreaterThan(89);
  expect(days).toBeLessThan(91);
  expect(made.headers.get('cache-control')).toContain('no-store');

  const project = await as(token, 'POST', '/api/projects', { name: 'made by an agent' });
  expect(project.status).toBe(201);
  expect((await ann.call('GET', `/api/projects/${project.body.id}`)).status).toBe(200);

  const list = await ann.call('GET', '/api/user/tokens');
  expect(list.body.items).toHaveLength(1);
  expect(list.text).not.toContain(token);
  expect(list.text).not.toMatch(/hash|user_id/);
  const { rows } = await sql(`select encode(token_hash, 'hex') as hash from api_tokens where id = '${id}'`);
  expect(rows[0].hash).toMatch(/^[0-9a-f]{64}$/);

  expect((await ann.call('DELETE', `/api/user/tokens/${id}`)).status).toBe(204);
  expect(await as(token)).toMatchObject({ status: 401, body: { detail: 'Invalid token' } });
  expect((await ann.call('GET', '/api/user/tokens')).body.items[0].revoked_at).not.toBeNull();
  const names = server.securityEvents.map((event) => event.name);
  expect(names).toContain('TOKEN_CREATED');
  expect(names).toContain('TOKEN_REVOKED');
  expect(JSON.stringify(server.securityEvents)).not.toContain(token);
  const log = await ann.call('GET', '/api/user/access-log');
  const lines = log.body.items.map((line: Record<string, string>) => [line.actor, line.operation, line.entity_type]);
  expect(lines).toContainEqual(['session', 'create', 'api_tokens']);
  expect(lines).toContainEqual(['token', 'create', 'projects']);
  expect(lines).toContainEqual(['session', 'revoke', 'api_tokens']);
});

test('a token does what its scopes say', async () => {
  const { body: reader } = await make(ann, { scopes: ['read'] });
  const { body: writer } = await make(ann, { scopes: ['write', 'write'] });
  expect(writer.scopes).toEqual(['write']);
  expect((await as(reader.token)).status).toBe(200);
  const refused = await as(reader.token, 'POST', '/api/projects', { name: 'no' });
  expect(refused).toMatchObject({ status: 403, body: { code: 'insufficient_scope' } });
  expect((await as(writer.token)).status).toBe(403);
  expect((await as(writer.token, 'POST', '/api/projects', { name: 'yes' })).status).toBe(201);
  expect((await as(reader.token, 'GET', '/admin/system/tasks')).status).toBe(403);
});

test('admin counts only while its user is an administrator', async () => {
  expect(await make(ann, { scopes: ['read', 'admin'] })).toMatchObject({
    status: 403,
    body: { code: 'admin_required' },
  });
  const root = await server.user({ roles: ['user', 'admin'] });
  const { body } = await make(root, { scopes: ['read', 'admin'] });
  const { body: reader } = await make(root, { scopes: ['read'] });
  expect((await as(body.token, 'GET', '/admin/system/tasks')).status).toBe(200);
  expect((await as(reader.token, 'GET', '/admin/system/tasks')).status).toBe(403);
  await sql(`update users set roles = '{user}' where id = '${root.id}'`);
  expect((await as(body.token, 'GET', '/admin/system/tasks')).status).toBe(403);
  expect((await as(body.token)).status).toBe(200);
});

test('a token cannot touch the account itself', async () => {
  const { body } = await make(ann, { scopes: ['read', 'write'] });
  for (const [method, path, sent] of [
    ['POST', '/api/user/tokens', { name: 'more' }],
    ['DELETE', `/api/user/tokens/${body.id}`, undefined],
    ['POST', '/api/auth/change-password', { current_password: 'x', new_password: 'y' }],
    ['POST', '/api/auth/logout', undefined],
    ['PATCH', '/api/user/profile', { name: 'someone else' }],
    ['DELETE', `/api/user/sessions/${ann.caller.sessionId}`, undefined],
    ['DELETE', '/api/user', {}],
  ] as const) {
    expect(await as(body.token, method, path, sent)).toMatchObject({
      status: 403,
      body: { code: 'insufficient_scope' },
    });
  }
  expect((await as(body.token, 'GET', '/api/user/profile')).body.id).toBe(ann.id);
});

test('a token ends when it says so, and with its account', async () => {
  const { body: never } = await make(bob, { expires_at: null });
  expect(never.expires_at).toBeNull();
  const { body: soon } = await make(bob, { expires_at: new Date(Date.now() + 3_600_000).toISOString() });
  expect((await as(soon.token)).status).toBe(200);
  await sql(`update api_tokens set expires_at = now() where id = '${soon.id}'`);
  expect(await as(soon.token)).toMatchObject({ status: 401, body: { detail: 'Token expired' } });
  await sql(`update users set status = 'suspended' where id = '${bob.id}'`);
  expect(await as(never.token)).toMatchObject({ status: 401, body: { detail: 'Invalid token' } });
  await sql(`update users set status = 'active' where id = '${bob.id}'`);
  expect((await as(never.token)).status).toBe(200);
});

test('ids without the secret, or with another user’s, open nothing', async () => {
  const { body: mine } = await make(ann);
  const { body: his } = await make(bob);
  const bytes = (token: string) => Buffer.from(token.slice(4), 'base64url');
  const spell = (...parts: Uint8Array[]) => `rft_${Buffer.concat(parts).toString('base64url')}`;
  const a = bytes(mine.token);
  const b = bytes(his.token);
  for (const forged of [
    spell(a.subarray(0, 32), Buffer.alloc(32)),
    spell(a.subarray(0, 32), b.subarray(32)),
    spell(b.subarray(0, 16), a.subarray(16)),
    spell(a.subarray(0, 16), b.subarray(16)),
    mine.token.slice(0, -1),
    `${mine.token}=`,
  ]) {
    expect(await as(forged)).toMatchObject({ status: 401, body: { detail: 'Invalid token' } });
  }
});

test('another user’s tokens are neither seen nor revoked', async () => {
  const { body } = await make(ann);
  const seen = await bob.call('GET', '/api/user/tokens');
  expect(seen.text).not.toContain(body.id);
  const headers = { 'x-request-id': 'same-request' };
  const hidden = await bob.call('DELETE', `/api/user/tokens/${body.id}`, undefined, headers);
  const missing = await bob.call('DELETE', '/api/user/tokens/01900000-0000-7000-8000-000000000000', undefined, headers);
  expect(hidden.status).toBe(404);
  expect(hidden.body).toEqual(missing.body);
  expect((await as(body.token)).status).toBe(200);
});

test('bad input names the field', async () => {
  for (const [field, body] of [
    ['name', { name: '' }],
    ['scopes', { scopes: [] }],
    ['scopes.0', { scopes: ['root'] }],
    ['expires_at', { expires_at: 'tomorrow' }],
    ['expires_at', { expires_at: '2020-01-01T00:00:00Z' }],
    ['user_id', { user_id: bob.id }],
    ['token_hash', { token_hash: 'x' }],
    ['usage_count', { usage_count: 5 }],
  ] as const) {
    const answer = await make(ann, body);
    expect(answer.status).toBe(400);
    expect(answer.body.detail.startsWith(`${field}: `)).toBe(true);
  }
  const kept = await ann.call('POST', '/api/user/tokens', { name: 'x' }, { 'idempotency-key': 'abc' });
  expect(kept).toMatchObject({ status: 400, body: { code: 'validation_failed' } });
});

test('there are at most a hundred tokens in use', async () => {
  const cleo = await server.user();
  await sql(`insert into api_tokens (user_id, id, name, token_hash, scopes)
    select '${cleo.id}', gen_random_uuid(), 'x', decode(repeat('00', 32), 'hex'), '{read}' from generate_series(1, 100)`);
  expect(await make(cleo)).toMatchObject({ status: 409, body: { code: 'limit_reached' } });
  await sql(
    `update api_tokens set revoked_at = now() where id = (select id from api_tokens where user_id = '${cleo.id}' limit 1)`,
  );
  expect((await make(cleo)).status).toBe(201);
});

test('use is counted, and written at most once a minute', async () => {
  const { body } = await make(ann);
  const usage = async () => {
    const { rows } = await sql(
      `select usage_count::int as n, last_used_at as at, xmin from api_tokens where id = '${body.id}'`,
    );
    return rows[0];
  };
  await as(body.token);
  const first = await usage();
  expect(first).toMatchObject({ n: 1, at: expect.any(Date) });
  for (let i = 0; i < 5; i += 1) await as(body.token);
  expect((await usage()).xmin).toBe(first.xmin);
  milliseconds += 60_000;
  await as(body.token);
  expect((await usage()).n).toBe(7);
});
