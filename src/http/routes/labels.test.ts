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

test('a label is made, read, changed and removed, also from its tasks', async () => {
  const made = await ann.call('POST', '/api/labels', { name: 'bug', color: '#FF0000' });
  expect(made).toMatchObject({ status: 201, body: { name: 'bug', color: '#ff0000', task_count: 0, version: 1 } });
  const { body: task } = await ann.call('POST', '/api/tasks', { title: 'T', description: 'D', labels: ['bug'] });
  const path = `/api/labels/${made.body.id}`;
  expect((await ann.call('GET', path)).body).toMatchObject({ task_count: 1, color: '#ff0000' });
  expect(await ann.call('PATCH', path, { name: 'fault' }, { 'if-match': '"1"' })).toMatchObject({
    status: 200,
    body: { name: 'fault', version: 2 },
  });
  expect((await ann.call('PATCH', path, { name: 'error' }, { 'if-match': '"1"' })).status).toBe(412);
  expect((await ann.call('GET', `/api/tasks/${task.id}`)).body.labels).toEqual(['fault']);
  expect((await ann.call('DELETE', path)).status).toBe(204);
  expect((await ann.call('GET', `/api/tasks/${task.id}`)).body.labels).toEqual([]);
  expect((await ann.call('DELETE', path)).status).toBe(404);
});

test('whose it is, nobody can say', async () => {
  for (const [method, path] of [
    ['POST', '/api/labels'],
    ['PATCH', `/api/labels/${(await bob.call('POST', '/api/labels', { name: 'before' })).body.id}`],
  ] as const) {
    const answer = await bob.call(method, path, { name: 'given away', user_id: ann.id });
    expect(answer).toMatchObject({ status: 400, body: { code: 'validation_failed', errors: [{ field: 'user_id' }] } });
  }
});

test('a name is taken within one user’s labels and free for everybody else', async () => {
  const mine = await ann.call('POST', '/api/labels', { name: 'shared name' });
  expect(await ann.call('POST', '/api/labels', { name: 'shared name' })).toMatchObject({
    status: 409,
    body: { code: 'already_exists', detail: 'name: a label with this name exists already.' },
  });
  expect((await bob.call('POST', '/api/labels', { name: 'shared name' })).status).toBe(201);
  const { items } = (await bob.call('GET', '/api/labels')).body;
  expect(items.filter(({ name }: { name: string }) => name === 'shared name')).toHaveLength(1);
  for (const [method, body] of [['GET'], ['PATCH', { name: 'x' }], ['DELETE']] as const) {
    expect((await bob.call(method, `/api/labels/${mine.body.id}`, body)).status).toBe(404);
  }
});

test('bad input names the field', async () => {
  for (const [body, field] of [
    [{}, 'name'],
    [{ name: ' ' }, 'name'],
    [{ name: 'x'.repeat(101) }, 'name'],
    [{ name: 'x', color: 'red' }, 'color'],
    [{ name: 'x', description: 'x'.repeat(2001) }, 'description'],
  ] as const) {
    const answer = await ann.call('POST', '/api/labels', body);
    expect(answer).toMatchObject({ status: 400 });
    expect(answer.body.errors[0].field).toBe(field);
  }
});
