import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestServer, type TestServer, type TestUser } from '../../../test/support/server.ts';

let server: TestServer;
let ann: TestUser;

beforeAll(async () => {
  server = await startTestServer();
  ann = await server.user();
});
afterAll(() => server?.close());

async function make(fields: Record<string, unknown> = {}) {
  const made = await ann.call('POST', '/api/tasks', { title: 'Task', description: 'Do it', ...fields });
  expect(made).toMatchObject({ status: 201 });
  return { ...made.body, path: `/api/tasks/${made.body.id}` };
}

const set = (path: string, status: string) => ann.call('PATCH', path, { status });
const complete = (path: string, summary = 'Done.') =>
  ann.call('POST', `${path}/complete`, { completion_summary: summary });

test('a task goes its way from todo to the archive and back', async () => {
  const { id, path } = await make();
  for (const status of ['in_progress', 'review', 'testing']) {
    expect(await set(path, status)).toMatchObject({ status: 200, body: { status } });
  }
  expect(await set(path, 'done')).toMatchObject({
    status: 409,
    body: {
      code: 'transition_refused',
      allowed: ['in_progress', 'review', 'blocked', 'cancelled'],
      verbs: ['complete'],
    },
  });
  const done = await ann.call('POST', `${path}/complete`, { completion_summary: 'Built.', testing_notes: 'By hand.' });
  expect(done).toMatchObject({
    status: 200,
    body: {
      status: 'done',
      progress_percentage: 100,
      completion_summary: 'Built.',
      testing_notes: 'By hand.',
      context_id: id,
      unblocked: [],
    },
  });
  expect(done.body.completed_at).not.toBeNull();
  expect((await ann.call('GET', `/api/contexts/task/${id}`)).status).toBe(200);

  const again = await complete(path, 'Built well.');
  expect(again).toMatchObject({
    status: 200,
    body: { completion_summary: 'Built well.', testing_notes: 'By hand.', completed_at: done.body.completed_at },
  });
  expect(await set(path, 'in_progress')).toMatchObject({ status: 409, body: { verbs: ['reopen', 'archive'] } });
  expect((await ann.call('PATCH', path, { progress_percentage: 10 })).status).toBe(409);

  expect(await ann.call('POST', `${path}/archive`)).toMatchObject({
    status: 200,
    body: { status: 'archived', archived_from: 'done' },
  });
  const archivedAgain = await ann.call('POST', `${path}/archive`);
  expect(archivedAgain.status).toBe(200);
  expect((await complete(path)).status).toBe(409);
  expect((await set(path, 'todo')).status).toBe(409);
  expect(await ann.call('POST', `${path}/restore`)).toMatchObject({
    status: 200,
    body: { status: 'done', archived_from: null, version: archivedAgain.body.version + 1 },
  });

  expect((await ann.call('POST', `${path}/reopen`, {})).body.errors[0].field).toBe('reason');
  expect(await ann.call('POST', `${path}/reopen`, { reason: 'It leaks.' })).toMatchObject({
    status: 200,
    body: { status: 'in_progress', completed_at: null, progress_percentage: 50, completion_summary: 'Built well.' },
  });
  const log = await ann.call('GET', '/api/user/access-log?limit=100');
  expect(log.body.items).toContainEqual(
    expect.objectContaining({ operation: 'reopen', entity_id: id, reason: 'It leaks.' }),
  );
});

test('the same status again changes nothing, not even the version', async () => {
  const { path } = await make();
  expect(await set(path, 'todo')).toMatchObject({ status: 200, body: { version: 1 } });
  expect(await ann.call('POST', `${path}/restore`)).toMatchObject({
    status: 409,
    body: { code: 'transition_refused', current_status: 'todo' },
  });
});

test('unfinished dependencies keep a task from starting again and from being completed', async () => {
  const first = await make({ title: 'First' });
  const second = await make({ dependencies: [first.id] });
  await set(second.path, 'blocked');
  for (const refused of [await set(second.path, 'in_progress'), await complete(second.path)]) {
    expect(refused).toMatchObject({
      status: 409,
      body: { code: 'dependencies_unfinished', dependencies: [{ id: first.id, title: 'First' }] },
    });
  }
  const done = await complete(first.path);
  expect(done.body.unblocked).toEqual([second.id]);
  expect((await ann.call('GET', second.path)).body).toMatchObject({ status: 'todo', is_blocked: false });
  expect((await complete(second.path)).status).toBe(200);
});

test('a dependency that is archived after it was done stays done, a cancelled one is not', async () => {
  const [done, cancelled] = [await make(), await make()];
  await complete(done.path);
  await ann.call('POST', `${done.path}/archive`);
  await set(cancelled.path, 'cancelled');
  expect((await complete((await make({ dependencies: [done.id] })).path)).status).toBe(200);
  expect((await complete((await make({ dependencies: [cancelled.id] })).path)).status).toBe(409);
});

test('unfinished subtasks keep a task from being completed', async () => {
  const { path } = await make();
  const { body: subtask } = await ann.call('POST', `${path}/subtasks`, { title: 'Part' });
  expect(await complete(path)).toMatchObject({
    status: 409,
    body: { code: 'subtasks_unfinished', subtasks: [{ id: subtask.id, title: 'Part' }] },
  });
  await ann.call('PATCH', `/api/subtasks/${subtask.id}`, { progress_percentage: 100 });
  expect((await complete(path)).status).toBe(200);
  expect(await ann.call('POST', `${path}/subtasks`, { title: 'Late' })).toMatchObject({
    status: 409,
    body: { code: 'conflict', detail: expect.stringContaining('reopen it first') },
  });
});

test('completed by several at once, a task is completed once and unblocks once', async () => {
  const first = await make();
  const second = await make({ dependencies: [first.id] });
  await set(second.path, 'blocked');
  const answers = await Promise.all(['a', 'b', 'c', 'd'].map((summary) => complete(first.path, summary)));
  expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200, 200]);
  expect(new Set(answers.map((answer) => answer.body.completed_at)).size).toBe(1);
  expect(answers.flatMap((answer) => answer.body.unblocked)).toEqual([second.id]);
});

test('both dependencies of a task completed at the same time unblock it', async () => {
  const [left, right] = [await make(), await make()];
  const waits = await make({ dependencies: [left.id, right.id] });
  await set(waits.path, 'blocked');
  await Promise.all([complete(left.path), complete(right.path)]);
  expect((await ann.call('GET', waits.path)).body.status).toBe('todo');
});

test('labels change as a set', async () => {
  const { path } = await make({ labels: ['keep', 'drop'] });
  expect(await ann.call('PATCH', `${path}/labels`, { add: ['new', 'keep'], remove: ['drop', 'never'] })).toMatchObject({
    status: 200,
    body: { labels: ['keep', 'new'], version: 2 },
  });
  expect(await ann.call('PATCH', `${path}/labels`, { add: ['keep'] })).toMatchObject({ body: { version: 2 } });
  expect((await ann.call('PATCH', `${path}/labels`, { add: ['x'] }, { 'if-match': '"1"' })).status).toBe(412);
  for (const bad of [{}, { add: ['a'], remove: ['a'] }, { add: [''] }, { add: 'a' }, { set: ['a'] }]) {
    expect((await ann.call('PATCH', `${path}/labels`, bad)).status).toBe(400);
  }
});

test('assignees change as a set, and whoever is added again gets the new role', async () => {
  const { path } = await make({ assignees: [{ assignee_id: 'ann' }, { assignee_id: 'ben' }] });
  const { body: agent } = await ann.call('POST', '/api/agents', { name: 'coder' });
  const changed = await ann.call(
    'PATCH',
    `${path}/assignees`,
    { add: [{ assignee_id: 'ann', role: 'lead', agent_id: agent.id }], remove: ['ben'] },
    { 'if-match': '"1"' },
  );
  expect(changed).toMatchObject({ status: 200, body: { version: 2 } });
  expect(changed.body.assignees).toEqual([{ assignee_id: 'ann', agent_id: agent.id, role: 'lead' }]);
  const bob = await server.user();
  const { body: foreign } = await bob.call('POST', '/api/agents', { name: 'coder' });
  expect(
    await ann.call('PATCH', `${path}/assignees`, { add: [{ assignee_id: 'x', agent_id: foreign.id }] }),
  ).toMatchObject({ status: 404, body: { detail: 'agent_id: there is no such row.' } });
  expect((await ann.call('GET', path)).body.assignees).toHaveLength(1);
});

test('everything at once on the same few tasks: nobody deadlocks', async () => {
  const tasks = [await make(), await make(), await make(), await make()];
  const parts = await Promise.all(tasks.map((task) => ann.call('POST', `${task.path}/subtasks`, { title: 'Part' })));
  const turns = tasks.flatMap((task, i) => {
    const other = tasks[(i + 1) % tasks.length] ?? task;
    return [
      () => ann.call('POST', `${task.path}/dependencies`, { depends_on_task_id: other.id }),
      () => ann.call('PATCH', `${task.path}/labels`, { add: i % 2 === 0 ? ['p', 'q'] : ['q', 'p'], remove: ['r'] }),
      () => ann.call('PATCH', task.path, { title: 'Changed' }),
      () => ann.call('POST', '/api/tasks', { title: 'T', description: 'D', labels: ['q', 'r', 'p'] }),
      () => ann.call('PATCH', `/api/subtasks/${parts[i]?.body.id}`, { progress_percentage: 100 }),
      () => complete(other.path),
      () =>
        ann.call('POST', '/api/tasks/bulk', {
          operations: [...tasks].reverse().map(({ id }) => ({ op: 'update', id, patch: { details: `by ${i}` } })),
        }),
      () => ann.call('PATCH', `${task.path}/assignees`, { add: [{ assignee_id: `a${i}` }] }),
    ];
  });
  const answers = await Promise.all([...turns, ...turns].map((turn) => turn()));
  for (const { status, body } of answers) {
    expect(status).toBeLessThan(500);
    expect(body.detail ?? '').not.toContain('Somebody else');
  }
  const removed = await Promise.all(tasks.flatMap(({ path }) => [ann.call('DELETE', path), ann.call('DELETE', path)]));
  expect(removed.map((answer) => answer.status).sort()).toEqual([200, 200, 200, 200, 404, 404, 404, 404]);
});
