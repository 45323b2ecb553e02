import pg from 'pg';
import { pino } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestServer, type TestServer, type TestUser } from '../../test/support/server.ts';
import type { SecurityLog } from '../log.ts';
import { watchUnauthorizedAccess } from '../work/unauthorized-access.ts';

let server: TestServer;
let ann: TestUser;
let bob: TestUser;
let secret: string;

beforeAll(async () => {
  server = await startTestServer();
  [ann, bob] = await Promise.all([server.user(), server.user()]);
  const made = await ann.call('POST', '/api/projects', { name: 'Secret' });
  secret = made.body.id;
});
afterAll(() => server?.close());

const attemptsOn = (id: string) =>
  server.securityEvents.filter(({ name, fields }) => name === 'UNAUTHORIZED_ACCESS' && fields.id === id);

interface Line {
  readonly id: string;
  readonly at: string;
  readonly entity_id: string;
  readonly outcome: string;
}

async function refusalsOf(user: TestUser): Promise<Line[]> {
  const { body } = await user.call('GET', '/api/user/access-log?limit=100');
  return body.items.filter(({ outcome }: Line) => outcome === 'refused');
}

async function exportedRefusalsOf(user: TestUser): Promise<Line[]> {
  const { body } = await user.call('GET', '/api/user/export');
  return body.tables.user_access_log.filter(({ outcome }: Line) => outcome === 'refused');
}

test('asking for another user’s row leaves a line in the security log and in the asker’s own', async () => {
  const answer = await bob.call('GET', `/api/projects/${secret}`, undefined, { 'x-request-id': 'the-attempt' });
  expect(answer.status).toBe(404);
  await expect.poll(() => attemptsOn(secret)).toHaveLength(1);
  const [event] = attemptsOn(secret);
  expect(event?.fields).toEqual({
    user_id: bob.id,
    req_id: 'the-attempt',
    entity: 'projects',
    id: secret,
    method: 'GET',
    route: '/api/projects/:id',
  });
  await expect
    .poll(() => refusalsOf(bob))
    .toContainEqual(expect.objectContaining({ entity_id: secret, operation: 'read', request_id: 'the-attempt' }));
  expect(await refusalsOf(ann)).toEqual([]);
});

test('so does naming it in a body', async () => {
  const made = await ann.call('POST', '/api/projects', { name: 'Another' });
  const id: string = made.body.id;
  const answer = await bob.call('POST', '/api/branches', { project_id: id, name: 'mine' });
  expect(answer.status).toBe(404);
  await expect.poll(() => attemptsOn(id)).toHaveLength(1);
  expect(attemptsOn(id)[0]?.fields).toMatchObject({ entity: 'projects', method: 'POST' });
});

test('and naming it beside one’s own in the path', async () => {
  const hidden = (await ann.call('POST', '/api/tasks', { title: 'hidden', description: 'd' })).body.id;
  const own = (await bob.call('POST', '/api/tasks', { title: 'own', description: 'd' })).body.id;
  expect((await bob.call('DELETE', `/api/tasks/${own}/dependencies/${hidden}`)).status).toBe(404);
  await expect.poll(() => attemptsOn(hidden)).toHaveLength(1);
});

test('a row that nobody has leaves nothing in the security log, nor does one’s own that is gone', async () => {
  const absent = uuidv7();
  const made = await bob.call('POST', '/api/projects', { name: 'Gone' });
  await bob.call('DELETE', `/api/projects/${made.body.id}`);
  await bob.call('GET', `/api/projects/${absent}`);
  await bob.call('GET', `/api/projects/${made.body.id}`);
  // Rows are looked at in order: once a later one is known, the earlier ones have been judged.
  const marker = await ann.call('POST', '/api/projects', { name: 'Marker' });
  await bob.call('GET', `/api/projects/${marker.body.id}`);
  await expect.poll(() => attemptsOn(marker.body.id)).toHaveLength(1);
  expect(attemptsOn(absent)).toEqual([]);
  expect(attemptsOn(made.body.id)).toEqual([]);
});

test('to who asks, a hidden row and no row leave the same lines, in the access log and in the export', async () => {
  const carol = await server.user();
  const own = (await carol.call('POST', '/api/tasks', { title: 'Mine', description: 'D' })).body.id;
  const hidden = (await ann.call('POST', '/api/tasks', { title: 'Hidden', description: 'D' })).body.id;
  const absent = uuidv7();
  for (const id of [hidden, absent]) {
    const asked = { 'x-request-id': 'the-same' };
    const answers = [
      await carol.call('GET', `/api/tasks/${id}`, undefined, asked),
      await carol.call('DELETE', `/api/tasks/${id}`, undefined, asked),
      // The row of one's own that is named beside it was not refused.
      await carol.call('POST', `/api/tasks/${own}/dependencies`, { depends_on_task_id: id }, asked),
    ];
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404]);
  }
  await expect.poll(() => refusalsOf(carol)).toHaveLength(6);
  await expect.poll(() => attemptsOn(hidden)).toHaveLength(3);
  expect(attemptsOn(absent)).toEqual([]);
  for (const lines of [await refusalsOf(carol), await exportedRefusalsOf(carol)]) {
    const inOrder = lines.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    const about = (row: string) =>
      inOrder.filter(({ entity_id }) => entity_id === row).map(({ id: _, at: __, entity_id: ___, ...line }) => line);
    expect(about(hidden)).toHaveLength(3);
    expect(about(hidden)).toEqual(about(absent));
  }
});

test('the answer waits for none of it', async () => {
  const erin = await server.user();
  const owner = new pg.Client({ connectionString: server.database.url });
  await owner.connect();
  try {
    await owner.query('begin; lock table user_access_log in access exclusive mode');
    for (const id of [secret, uuidv7()]) expect((await erin.call('GET', `/api/projects/${id}`)).status).toBe(404);
    await owner.query('rollback');
  } finally {
    await owner.end();
  }
  await expect.poll(() => refusalsOf(erin)).toHaveLength(2);
});

function watchAlone(dora: TestUser, queueMax: number) {
  const events: unknown[] = [];
  const securityLog: SecurityLog = { event: (name, fields) => events.push({ name, fields }) };
  const log = pino({ level: 'silent' });
  const watch = watchUnauthorizedAccess({ isolation: server.isolation, securityLog, log, queueMax });
  const look = (id: string) =>
    watch.look({ caller: dora.caller, entity: 'projects', id, method: 'GET', route: '/api/projects/:id' });
  return { watch, look, events };
}

test.each([
  ['hidden rows', () => secret, 1],
  ['rows that nobody has', () => uuidv7(), 0],
])('a flood of %s is cut off and counted alike', async (_, idOf, seen) => {
  const dora = await server.user();
  const { watch, look, events } = watchAlone(dora, 5);
  for (let i = 0; i < 100; i += 1) look(idOf());
  await watch.drain();
  // One was being looked at while five waited.
  expect(watch.dropped).toEqual({ refusals: 94, rows: 94 });
  expect(await refusalsOf(dora)).toHaveLength(6);
  expect(events).toHaveLength(6 * seen);
  look(idOf());
  await watch.drain();
  expect(await refusalsOf(dora)).toHaveLength(7);
  expect(events).toHaveLength(7 * seen);
});

test('without isolation nothing is hidden, and nothing is looked for', async () => {
  const open = await startTestServer({ enforcement: 'off' });
  try {
    const user = await open.user();
    expect(await open.isolation.isAnothers(user.caller, 'projects', secret)).toBe(false);
  } finally {
    await open.close();
  }
});

test('only tables of the catalogue can be looked into', async () => {
  for (const table of ['users', 'pg_class', 'projects; drop table projects']) {
    await expect(server.isolation.isAnothers(bob.caller, table, secret)).rejects.toThrow(TypeError);
  }
});
