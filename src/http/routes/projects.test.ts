import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestServer, type TestServer, type TestUser } from '../../../test/support/server.ts';

let server: TestServer;
let ann: TestUser;
let bob: TestUser;

beforeAll(async () => {
  server = await startTestServer();
  [ann, bob] = await Promise.all([server.user(), server.user()]);
});
afterAll(() => server?.close());

test('a project is made, read, changed and removed by its owner', async () => {
  const made = await ann.call('POST', '/api/projects', { name: 'Apollo', metadata: { a: [1] } });
  expect(made.status).toBe(201);
  expect(made.body).toMatchObject({
    name: 'Apollo',
    description: '',
    status: 'active',
    metadata: { a: [1] },
    version: 1,
  });
  expect(made.headers.get('etag')).toBe('"1"');

  const path = `/api/projects/${made.body.id}`;
  const changed = await ann.call('PATCH', path, { description: 'to the moon' }, { 'if-match': '"1"' });
  expect(changed).toMatchObject({ status: 200, body: { description: 'to the moon', version: 2 } });

  const stale = await ann.call('PATCH', path, { description: 'to mars' }, { 'if-match': '"1"' });
  expect(stale).toMatchObject({ status: 412, body: { code: 'version_mismatch', current_version: 2 } });

  expect((await ann.call('DELETE', path)).status).toBe(204);
  expect((await ann.call('GET', path)).status).toBe(404);
});

test('another user’s project answers like one that does not exist', async () => {
  const made = await ann.call('POST', '/api/projects', { name: 'Secret' });
  const absent = '/api/projects/01900000-0000-7000-8000-000000000000';
  for (const [method, body] of [['GET'], ['PATCH', { name: 'mine now' }], ['DELETE']] as const) {
    const hidden = await bob.call(method, `/api/projects/${made.body.id}`, body, { 'x-request-id': 'same-request' });
    const missing = await bob.call(method, absent, body, { 'x-request-id': 'same-request' });
    expect(hidden.status).toBe(404);
    expect(hidden.body).toEqual(missing.body);
  }
  expect((await bob.call('GET', '/api/projects')).body.items).toEqual([]);
});

test('pages follow each other without gap or repetition', async () => {
  const cleo = await server.user();
  for (let i = 0; i < 5; i += 1) await cleo.call('POST', '/api/projects', { name: `P${i}` });
  const seen: string[] = [];
  let cursor: string | null = null;
  do {
    const query: string = cursor === null ? '' : `&cursor=${cursor}`;
    const { body } = await cleo.call('GET', `/api/projects?limit=2${query}`);
    seen.push(...body.items.map((item: { name: string }) => item.name));
    cursor = body.next_cursor;
  } while (cursor !== null);
  expect(seen).toEqual(['P4', 'P3', 'P2', 'P1', 'P0']);
});

test('bad input names the field', async () => {
  for (const [body, field] of [
    [{}, 'name'],
    [{ name: '' }, 'name'],
    [{ name: 'x'.repeat(201) }, 'name'],
    [{ name: 'a\0b' }, 'name'],
    [{ name: 'ok', user_id: bob.id }, 'user_id'],
    [{ name: 'ok', metadata: [] }, 'metadata'],
  ] as const) {
    const answer = await ann.call('POST', '/api/projects', body);
    expect(answer).toMatchObject({ status: 400, body: { code: 'validation_failed' } });
    expect(answer.body.errors[0].field).toBe(field);
  }
});
