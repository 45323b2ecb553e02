import pg from 'pg';
import { pino } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestServer, type TestServer, type TestUser } from '../../test/support/server.ts';
import type { SecurityLog } from '../log.ts';
import { watchUnauthorizedAccess } from '../work/unauthorized-access.ts';
import { referencesIn } from './hidden-row.ts';
import { isObject } from './reference/schemas.ts';

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

const task = { title: 'mine', description: 'd' };
const hiddenTask = async (): Promise<string> =>
  (await ann.call('POST', '/api/tasks', { title: 'hidden', description: 'd' })).body.id;
const hiddenBranch = async (): Promise<string> =>
  (await ann.call('POST', '/api/branches', { project_id: secret, name: uuidv7() })).body.id;
const hiddenAgent = async (): Promise<string> => (await ann.call('POST', '/api/agents', { name: uuidv7() })).body.id;
const waitingFor = (id: string) => ({ ...task, dependencies: [id] });
const doneBy = (id: string) => ({ ...task, assignees: [{ assignee_id: 'x', agent_id: id }] });

describe('and naming it deep in a body', () => {
  test.each([
    ['a task to wait for', hiddenTask, waitingFor],
    ['an agent', hiddenAgent, doneBy],
  ])('%s of a new task', async (_, make, body) => {
    const id = await make();
    expect((await bob.call('POST', '/api/tasks', body(id))).status).toBe(404);
    await expect.poll(() => attemptsOn(id)).toHaveLength(1);
  });

  test('an agent that is added to a task', async () => {
    const id = await hiddenAgent();
    const own = (await bob.call('POST', '/api/tasks', task)).body.id;
    const add = [{ assignee_id: 'x', agent_id: id }];
    expect((await bob.call('PATCH', `/api/tasks/${own}/assignees`, { add })).status).toBe(404);
    await expect.poll(() => attemptsOn(id)).toHaveLength(1);
  });

  type OperationOf = (id: string, own: string) => unknown;
  test.each<[string, () => Promise<string>, OperationOf]>([
    ['remove', hiddenTask, (id) => ({ op: 'delete', id })],
    ['change', hiddenTask, (id) => ({ op: 'update', id, patch: { title: 't' } })],
    ['move', hiddenBranch, (id, own) => ({ op: 'update', id: own, patch: { git_branch_id: id } })],
    ['make in a branch', hiddenBranch, (id) => ({ op: 'create', task: { ...task, git_branch_id: id } })],
    ['make with a task to wait for', hiddenTask, (id) => ({ op: 'create', task: waitingFor(id) })],
    ['make with an agent', hiddenAgent, (id) => ({ op: 'create', task: doneBy(id) })],
  ])('many tasks at once: %s', async (_, make, operationOf) => {
    const own = (await bob.call('POST', '/api/tasks', task)).body.id;
    for (const atomic of [false, true]) {
      const id = await make();
      const operations = [{ op: 'create', task }, operationOf(id, own)];
      const answer = await bob.call('POST', '/api/tasks/bulk', { operations, atomic });
      expect(answer.status).toBe(atomic ? 404 : 200);
      await expect.poll(() => attemptsOn(id)).toHaveLength(1);
      expect(attemptsOn(id)[0]?.fields).toMatchObject({ user_id: bob.id, method: 'POST', route: '/api/tasks/bulk' });
      await expect.poll(() => refusalsOf(bob)).toContainEqual(expect.objectContaining({ entity_id: id }));
    }
  });

  test('only operations that were refused are looked into, and a replayed answer is not', async () => {
    const erin = await server.user();
    const [id, own] = [await hiddenTask(), (await erin.call('POST', '/api/tasks', task)).body.id];
    const operations = [
      { op: 'delete', id: own },
      { op: 'delete', id },
    ];
    for (const replayed of [null, 'true']) {
      const answer = await erin.call('POST', '/api/tasks/bulk', { operations }, { 'idempotency-key': 'once' });
      expect(answer.headers.get('idempotency-replayed')).toBe(replayed);
    }
    // Rows are looked at in order: once a later one is known, the earlier ones have been judged.
    await erin.call('GET', `/api/projects/${secret}`);
    await expect.poll(() => refusalsOf(erin)).toHaveLength(2);
    expect((await refusalsOf(erin)).map(({ entity_id }) => entity_id).sort()).toEqual([id, secret].sort());
    expect(attemptsOn(id)).toHaveLength(1);
  });

  test('a hundred rows of one request, and no more', async () => {
    const erin = await server.user();
    const [first, last] = [await hiddenTask(), await hiddenTask()];
    const absent = Array.from({ length: 100 }, () => uuidv7());
    const removals = [first, ...absent.slice(2), last].map((id) => ({ op: 'delete', id }));
    expect(removals).toHaveLength(100);
    expect((await erin.call('POST', '/api/tasks/bulk', { operations: removals })).status).toBe(200);
    await expect.poll(() => attemptsOn(last)).toHaveLength(1);
    expect(attemptsOn(first)).toHaveLength(1);
    const halves = [absent.slice(0, 50), absent.slice(50)];
    const waiting = halves.map((dependencies) => ({ op: 'create', task: { ...task, dependencies } }));
    const operations = [...waiting, ...removals.slice(2)];
    expect((await erin.call('POST', '/api/tasks/bulk', { operations, atomic: true })).status).toBe(404);
    await erin.call('GET', `/api/projects/${secret}`);
    await expect.poll(() => attemptsOn(secret).filter(({ fields }) => fields.user_id === erin.id)).toHaveLength(1);
    expect(attemptsOn(last)).toHaveLength(1);
  });
});

test('each id that a body can hold is known', async () => {
  const { body } = await server.call('GET', '/openapi.json');
  const places = new Set<string>();
  for (const [path, methods] of Object.entries<Record<string, { requestBody?: unknown }>>(body.paths)) {
    if (path.startsWith('/admin')) continue;
    for (const { requestBody } of Object.values(methods)) idsIn(requestBody, body, [], places);
  }
  expect(places).toContain('operations.task.assignees.agent_id');
  for (const place of places) {
    const id = uuidv7();
    const named = place.split('.').reduceRight<unknown>((inner, name) => ({ [name]: [inner] }), id);
    expect(
      referencesIn(named, 'tasks').map((row) => row.id),
      place,
    ).toEqual([id]);
  }
});

/** Where a schema has UUIDs: names of members, lists left out. */
function idsIn(schema: unknown, document: unknown, at: readonly string[], found: Set<string>): void {
  // Deeper than this are schemas that hold themselves.
  if (at.length > 6) return;
  if (Array.isArray(schema)) for (const part of schema) idsIn(part, document, at, found);
  if (!isObject(schema)) return;
  if (String(schema.pattern).includes('[0-9a-fA-F]{12}')) found.add(at.join('.'));
  for (const [name, part] of Object.entries(schema)) {
    if (name === 'properties') {
      for (const [member, inner] of Object.entries(part as object)) idsIn(inner, document, [...at, member], found);
    } else if (name === '$ref') {
      const steps = String(part).replace(/^#\//, '').split('/');
      idsIn(
        steps.reduce<unknown>((up, step) => (isObject(up) ? up[step] : undefined), document),
        document,
        at,
        found,
      );
    } else if (name !== 'additionalProperties') idsIn(part, document, at, found);
  }
}

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
