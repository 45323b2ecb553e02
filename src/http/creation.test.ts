import { afterAll, beforeAll, expect, test } from 'vitest';
import { statement } from '../../test/support/postgres.ts';
import { startTestServer, type TestServer, type TestUser } from '../../test/support/server.ts';
import { idempotencyKey } from './creation.ts';

let server: TestServer;
let ann: TestUser;
let bob: TestUser;

beforeAll(async () => {
  server = await startTestServer();
  [ann, bob] = await Promise.all([server.user(), server.user()]);
});
afterAll(() => server?.close());

const create = (user: TestUser, name: string, key: string) =>
  user.call('POST', '/api/projects', { name }, { 'idempotency-key': key });

async function projectsNamed(user: TestUser, name: string): Promise<number> {
  const { body } = await user.call('GET', '/api/projects?limit=100');
  return body.items.filter((item: { name: string }) => item.name === name).length;
}

test('the same request with the same key makes one project and answers alike', async () => {
  const first = await create(ann, 'Once', 'key-once');
  const second = await create(ann, 'Once', 'key-once');
  expect(first.status).toBe(201);
  expect(first.headers.has('idempotency-replayed')).toBe(false);
  expect(second).toMatchObject({ status: 201, text: first.text });
  expect(second.headers.get('idempotency-replayed')).toBe('true');
  expect(second.headers.get('etag')).toBe(first.headers.get('etag'));
  expect(await projectsNamed(ann, 'Once')).toBe(1);
});

test('the quotation marks of the draft do not make another key', async () => {
  const first = await create(ann, 'Quoted', 'key-quoted');
  expect((await create(ann, 'Quoted', '"key-quoted"')).text).toBe(first.text);
});

test('the key of another request is refused', async () => {
  await create(ann, 'Mine', 'key-other');
  const other = await create(ann, 'Not mine', 'key-other');
  expect(other).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } });
  expect(await projectsNamed(ann, 'Not mine')).toBe(0);
});

test('keys of two users never meet', async () => {
  const hers = await create(ann, 'Same key', 'key-shared');
  const his = await create(bob, 'Same key', 'key-shared');
  expect(his.status).toBe(201);
  expect(his.headers.has('idempotency-replayed')).toBe(false);
  expect(his.body.id).not.toBe(hers.body.id);
});

test('of requests at the same time one creates and the others get its answer', async () => {
  const answers = await Promise.all(Array.from({ length: 12 }, () => create(ann, 'Race', 'key-race')));
  expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([201]));
  expect(new Set(answers.map((answer) => answer.text)).size).toBe(1);
  expect(answers.filter((answer) => !answer.headers.has('idempotency-replayed'))).toHaveLength(1);
  expect(await projectsNamed(ann, 'Race')).toBe(1);
});

test('a creation that fails frees its key', async () => {
  const refused = await create(ann, '', 'key-freed');
  expect(refused.status).toBe(400);
  const rolledBack = await ann.call(
    'POST',
    '/api/projects',
    { name: 'Freed', metadata: { a: '\ud800' } },
    { 'idempotency-key': 'key-freed' },
  );
  expect(rolledBack.status).toBe(400);
  expect((await create(ann, 'Freed', 'key-freed')).status).toBe(201);
});

test('a key is free again after a day, and old keys are swept', async () => {
  const first = await create(bob, 'Daily', 'key-daily');
  await create(bob, 'Other', 'key-yesterday');
  const { url } = server.database;
  await statement(
    url,
    `update idempotency_keys set created_at = now() - interval '25 hours' where user_id = '${bob.id}'`,
  );
  const again = await create(bob, 'Daily', 'key-daily');
  expect(again.status).toBe(201);
  expect(again.body.id).not.toBe(first.body.id);
  const { rows } = await statement(url, `select key from idempotency_keys where user_id = '${bob.id}'`);
  expect(rows).toEqual([{ key: 'key-daily' }]);
});

test('bad keys are refused by name', async () => {
  for (const key of ['', '""', 'x'.repeat(256), 'tab\there', 'smörgås', 'line\nfeed', 'nul\0', 'del\x7f']) {
    expect(() => idempotencyKey(key), JSON.stringify(key)).toThrow(/^idempotency-key: /);
  }
  const answer = await create(ann, 'Bad', 'x'.repeat(256));
  expect(answer).toMatchObject({ status: 400, body: { code: 'validation_failed' } });
  expect((await create(ann, 'Longest', 'x'.repeat(255))).status).toBe(201);
});

test.each([
  ['isolated', 'off'],
  ['before_isolation', 'ownerless'],
] as const)('on a schema %s with isolation %s a key still works, and is its user’s', async (template, enforcement) => {
  const open = await startTestServer({ template, enforcement });
  try {
    const [cleo, dan] = await Promise.all([open.user(), open.user()]);
    const first = await create(cleo, 'Once', 'key');
    expect(await create(cleo, 'Once', 'key')).toMatchObject({ status: 201, text: first.text });
    const other = await create(dan, 'Once', 'key');
    expect(other.status).toBe(201);
    expect(other.body.id).not.toBe(first.body.id);
  } finally {
    await open.close();
  }
});
