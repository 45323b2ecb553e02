import { pino } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
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

async function refusalsOf(user: TestUser) {
  return server.isolation.withUser(user.caller, (scope) =>
    scope.all<{ entity_id: string; operation: string; request_id: string }>(
      scope.db
        .selectFrom('user_access_log')
        .select(['entity_id', 'operation', 'request_id'])
        .where('outcome', '=', 'refused'),
    ),
  );
}

test('asking for another user’s row leaves a line in the security log and in the asker’s own', async () => {
  const answer = await bob.call('GET', `/api/projects/${secret}`, undefined, { 'x-request-id': 'the-attempt' });
  expect(answer.status).toBe(404);
  await vi.waitFor(() => expect(attemptsOn(secret)).toHaveLength(1), { timeout: 5_000 });
  const [event] = attemptsOn(secret);
  expect(event?.fields).toEqual({
    user_id: bob.id,
    req_id: 'the-attempt',
    entity: 'projects',
    id: secret,
    method: 'GET',
    route: '/api/projects/:id',
  });
  await vi.waitFor(async () =>
    expect(await refusalsOf(bob)).toContainEqual({ entity_id: secret, operation: 'read', request_id: 'the-attempt' }),
  );
  expect(await refusalsOf(ann)).toEqual([]);
});

test('so does naming it in a body', async () => {
  const made = await ann.call('POST', '/api/projects', { name: 'Another' });
  const id: string = made.body.id;
  const answer = await bob.call('POST', '/api/branches', { project_id: id, name: 'mine' });
  expect(answer.status).toBe(404);
  await vi.waitFor(() => expect(attemptsOn(id)).toHaveLength(1), { timeout: 5_000 });
  expect(attemptsOn(id)[0]?.fields).toMatchObject({ entity: 'projects', method: 'POST' });
});

test('a row that nobody has leaves nothing, nor does one’s own that is gone', async () => {
  const absent = uuidv7();
  const made = await bob.call('POST', '/api/projects', { name: 'Gone' });
  await bob.call('DELETE', `/api/projects/${made.body.id}`);
  await bob.call('GET', `/api/projects/${absent}`);
  await bob.call('GET', `/api/projects/${made.body.id}`);
  // Rows are looked at in order: once a later one is known, the earlier ones have been judged.
  const marker = await ann.call('POST', '/api/projects', { name: 'Marker' });
  await bob.call('GET', `/api/projects/${marker.body.id}`);
  await vi.waitFor(() => expect(attemptsOn(marker.body.id)).toHaveLength(1), { timeout: 5_000 });
  expect(attemptsOn(absent)).toEqual([]);
  expect(attemptsOn(made.body.id)).toEqual([]);
});

function watchAlone(queueMax: number) {
  const events: unknown[] = [];
  const securityLog: SecurityLog = { event: (name, fields) => events.push({ name, fields }) };
  const log = pino({ level: 'silent' });
  const watch = watchUnauthorizedAccess({ isolation: server.isolation, securityLog, log, queueMax });
  const look = () =>
    watch.look({ caller: bob.caller, entity: 'projects', id: secret, method: 'GET', route: '/api/projects/:id' });
  return { watch, look, events };
}

test('a flood is cut off and counted', async () => {
  const { watch, look, events } = watchAlone(5);
  for (let i = 0; i < 100; i += 1) look();
  await watch.drain();
  // One was being looked at while five waited.
  expect(events).toHaveLength(6);
  expect(watch.dropped).toBe(94);
  look();
  await watch.drain();
  expect(events).toHaveLength(7);
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
