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

async function makeTask(fields: Record<string, unknown> = {}) {
  const made = await ann.call('POST', '/api/tasks', { title: 'Task', description: 'Do it', ...fields });
  expect(made).toMatchObject({ status: 201 });
  return { ...made.body, path: `/api/tasks/${made.body.id}` };
}

async function makeSubtask(task: { path: string }, fields: Record<string, unknown> = {}) {
  const made = await ann.call('POST', `${task.path}/subtasks`, { title: 'Part', ...fields });
  expect(made).toMatchObject({ status: 201 });
  return { ...made.body, path: `/api/subtasks/${made.body.id}` };
}

test('a subtask takes the task’s assignees unless it names its own', async () => {
  const task = await makeTask({ assignees: [{ assignee_id: 'ann' }, { assignee_id: 'ben' }] });
  expect((await makeSubtask(task)).assignees).toEqual(['ann', 'ben']);
  expect((await makeSubtask(task, { assignees: ['cleo'] })).assignees).toEqual(['cleo']);
  expect((await makeSubtask(task, { assignees: [] })).assignees).toEqual([]);
  const list = await ann.call('GET', `${task.path}/subtasks?limit=2`);
  expect(list.body.items).toHaveLength(2);
  expect(list.body.next_cursor).not.toBeNull();
  expect((await ann.call('GET', task.path)).body).toMatchObject({ subtask_count: 3, subtask_done_count: 0 });
});

test('status and percentage are one fact, and the task’s progress is the mean', async () => {
  const task = await makeTask();
  const [one, two, three] = [await makeSubtask(task), await makeSubtask(task), await makeSubtask(task)];
  const steps = [
    [one, { progress_percentage: 30 }, { status: 'in_progress', progress_percentage: 30, parent_progress: 10 }],
    [two, { status: 'in_progress' }, { status: 'in_progress', progress_percentage: 50, parent_progress: 26 }],
    [two, { status: 'in_progress' }, { progress_percentage: 50, version: 2 }],
    [two, { status: 'todo' }, { progress_percentage: 0, parent_progress: 10 }],
    [one, { progress_percentage: 100 }, { status: 'done', parent_progress: 33 }],
    [one, { progress_percentage: 99 }, { status: 'in_progress', completed_at: null, parent_progress: 33 }],
    [three, { status: 'done', progress_percentage: 100 }, { status: 'done', parent_progress: 66 }],
  ] as const;
  for (const [subtask, patch, expected] of steps) {
    expect(await ann.call('PATCH', subtask.path, patch)).toMatchObject({ status: 200, body: expected });
  }
  expect((await ann.call('GET', task.path)).body).toMatchObject({ progress_percentage: 66, subtask_done_count: 1 });
  expect(await ann.call('PATCH', one.path, { status: 'todo', progress_percentage: 5 })).toMatchObject({
    status: 400,
    body: { detail: 'progress_percentage: 5 means in_progress, not todo.' },
  });
  expect(await ann.call('PATCH', task.path, { progress_percentage: 5 })).toMatchObject({ status: 409 });
  expect(await ann.call('DELETE', three.path)).toMatchObject({ status: 200, body: { parent_progress: 49 } });
});

test('completing keeps what was found, and again changes the words alone', async () => {
  const task = await makeTask();
  const subtask = await makeSubtask(task);
  const done = await ann.call('POST', `${subtask.path}/complete`, {
    completion_summary: 'Done.',
    insights_found: ['It is round.'],
    impact_on_parent: 'All of it.',
  });
  expect(done).toMatchObject({
    status: 200,
    body: {
      status: 'done',
      progress_percentage: 100,
      parent_progress: 100,
      insights_found: ['It is round.'],
      impact_on_parent: 'All of it.',
    },
  });
  const again = await ann.call('POST', `${subtask.path}/complete`, { completion_summary: 'Well done.' });
  expect(again.body).toMatchObject({ completion_summary: 'Well done.', completed_at: done.body.completed_at });
  expect((await ann.call('POST', `${subtask.path}/complete`, {})).body.errors[0].field).toBe('completion_summary');

  await ann.call('POST', `${task.path}/complete`, { completion_summary: 'All done.' });
  expect((await ann.call('PATCH', subtask.path, { progress_percentage: 10 })).status).toBe(409);
  expect((await ann.call('PATCH', subtask.path, { title: 'Better title' })).status).toBe(200);
});

test('subtasks changed at the same time leave the right mean', async () => {
  const task = await makeTask();
  const subtasks = [];
  for (let i = 0; i < 6; i += 1) subtasks.push(await makeSubtask(task));
  const answers = await Promise.all(
    subtasks.map((subtask, i) => ann.call('PATCH', subtask.path, { progress_percentage: i * 20 })),
  );
  expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200, 200, 200, 200]);
  expect((await ann.call('GET', task.path)).body.progress_percentage).toBe(50);
});

test('a stale change is refused', async () => {
  const subtask = await makeSubtask(await makeTask());
  await ann.call('PATCH', subtask.path, { title: 'New' }, { 'if-match': '"1"' });
  expect(await ann.call('PATCH', subtask.path, { title: 'Old' }, { 'if-match': '"1"' })).toMatchObject({
    status: 412,
    body: { current_version: 2 },
  });
});

test('another user’s subtask answers like one that does not exist', async () => {
  const subtask = await makeSubtask(await makeTask());
  const absent = '/api/subtasks/01900000-0000-7000-8000-000000000000';
  for (const [method, suffix, body] of [
    ['GET', ''],
    ['PATCH', '', { title: 'mine' }],
    ['POST', '/complete', { completion_summary: 'x' }],
    ['DELETE', ''],
  ] as const) {
    const headers = { 'x-request-id': 'same-request' };
    const hidden = await bob.call(method, `${subtask.path}${suffix}`, body, headers);
    const missing = await bob.call(method, `${absent}${suffix}`, body, headers);
    expect(hidden.status).toBe(404);
    expect(hidden.body).toEqual(missing.body);
  }
});

test('bad input names the field', async () => {
  const task = await makeTask();
  for (const [body, field] of [
    [{}, 'title'],
    [{ title: 'x'.repeat(201) }, 'title'],
    [{ title: 'x', progress_percentage: 101 }, 'progress_percentage'],
    [{ title: 'x', progress_percentage: 1.5 }, 'progress_percentage'],
    [{ title: 'x', assignees: ['a', 'a'] }, 'assignees'],
    [{ title: 'x', task_id: task.id }, 'task_id'],
  ] as const) {
    const answer = await ann.call('POST', `${task.path}/subtasks`, body);
    expect(answer).toMatchObject({ status: 400 });
    expect(answer.body.errors[0].field).toBe(field);
  }
});
