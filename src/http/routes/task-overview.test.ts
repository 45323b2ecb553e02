import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestServer, type TestServer, type TestUser } from '../../../test/support/server.ts';

let server: TestServer;
let ann: TestUser;
let bob: TestUser;

beforeAll(async () => {
  server = await startTestServer();
  [ann, bob] = await Promise.all([server.user(), server.user()]);
});
afterAll(() => server?.close());

async function make(user: TestUser, fields: Record<string, unknown> = {}) {
  const made = await user.call('POST', '/api/tasks', { title: 'Task', description: 'Do it', ...fields });
  expect(made).toMatchObject({ status: 201 });
  return made.body;
}

describe('bulk', () => {
  test('each by itself: what fails is told and undone, the rest stays', async () => {
    const user = await server.user();
    const [first, second] = [await make(user, { title: 'First' }), await make(user, { title: 'Second' })];
    const theirs = await make(ann);
    const answer = await user.call('POST', '/api/tasks/bulk', {
      operations: [
        { op: 'create', task: { title: 'New', description: 'D', labels: ['l'], dependencies: [first.id] } },
        { op: 'update', id: first.id, patch: { title: 'Changed' }, version: 1 },
        { op: 'update', id: first.id, patch: { title: 'Stale' }, version: 1 },
        { op: 'update', id: second.id, patch: { title: 'Half', git_branch_id: theirs.git_branch_id } },
        { op: 'update', id: second.id, patch: { status: 'done' } },
        { op: 'update', id: theirs.id, patch: { title: 'mine' } },
        { op: 'delete', id: first.id },
        { op: 'delete', id: first.id },
      ],
    });
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({
      succeeded: 3,
      failed: 5,
      results: [
        { index: 0, op: 'create', status: 201, task: { title: 'New', labels: ['l'], dependencies: [first.id] } },
        { index: 1, op: 'update', status: 200, task: { title: 'Changed', version: 2 } },
        { index: 2, status: 412, error: { code: 'version_mismatch', current_version: 2 } },
        { index: 3, status: 404, error: { code: 'not_found', detail: 'git_branch_id: there is no such row.' } },
        { index: 4, status: 409, error: { code: 'transition_refused' } },
        { index: 5, status: 404, error: { detail: 'There is no such task.' } },
        { index: 6, op: 'delete', status: 200, unblocked: [] },
        { index: 7, status: 404 },
      ],
    });
    const { body } = await user.call('GET', '/api/tasks?sort=title');
    expect(body.items.map((task: { title: string }) => task.title)).toEqual(['New', 'Second']);
    expect((await ann.call('GET', `/api/tasks/${theirs.id}`)).body).toEqual(theirs);
  });

  test('atomic: one failure undoes everything, and is named', async () => {
    const user = await server.user();
    const answer = await user.call('POST', '/api/tasks/bulk', {
      atomic: true,
      operations: [
        { op: 'create', task: { title: 'A', description: 'D' } },
        { op: 'delete', id: '01900000-0000-7000-8000-000000000000' },
      ],
    });
    expect(answer).toMatchObject({
      status: 404,
      body: { code: 'not_found', detail: 'operations.1: There is no such task.', index: 1 },
    });
    expect((await user.call('GET', '/api/tasks')).body.items).toEqual([]);
  });

  test('a hundred at once, and no more', async () => {
    const user = await server.user();
    const operations = Array.from({ length: 100 }, (_, i) => ({
      op: 'create',
      task: { title: `T${i}`, description: 'D' },
    }));
    const answer = await user.call('POST', '/api/tasks/bulk', { operations, atomic: true });
    expect(answer).toMatchObject({ status: 200, body: { succeeded: 100, failed: 0 } });
    const more = await user.call('POST', '/api/tasks/bulk', { operations: [...operations, operations[0]] });
    expect(more).toMatchObject({ status: 400 });
    expect((await user.call('GET', '/api/tasks/stats')).body.total).toBe(100);
  });

  test('an Idempotency-Key makes it happen once', async () => {
    const user = await server.user();
    const body = { operations: [{ op: 'create', task: { title: 'Once', description: 'D' } }] };
    const first = await user.call('POST', '/api/tasks/bulk', body, { 'idempotency-key': 'bulk' });
    const second = await user.call('POST', '/api/tasks/bulk', body, { 'idempotency-key': 'bulk' });
    expect(second).toMatchObject({ status: 200, text: first.text });
    expect((await user.call('GET', '/api/tasks')).body.items).toHaveLength(1);
  });

  test('bad input names the operation and the field', async () => {
    for (const [operations, field] of [
      [[], 'operations'],
      [[{ op: 'merge' }], 'operations.0.op'],
      [[{ op: 'delete', id: 'x' }], 'operations.0.id'],
      [[{ op: 'create', task: { title: 'only' } }], 'operations.0.task.description'],
      [[{ op: 'delete', id: bob.id, user_id: bob.id }], 'operations.0.user_id'],
    ] as const) {
      const answer = await ann.call('POST', '/api/tasks/bulk', { operations });
      expect(answer).toMatchObject({ status: 400 });
      expect(answer.body.errors[0].field).toBe(field);
    }
  });
});

describe('next', () => {
  const next = (user: TestUser, query = '') => user.call('GET', `/api/tasks/next${query}`);

  test('nothing to do', async () => {
    const user = await server.user();
    await make(ann);
    expect(await next(user)).toMatchObject({
      status: 200,
      body: { has_next: false, next_item: null, message: 'There is nothing to do.', blocked_tasks: [] },
    });
  });

  test('by priority, then what has begun, and never what is blocked', async () => {
    const user = await server.user();
    const low = await make(user, { title: 'low', priority: 'low' });
    const begun = await make(user, { title: 'begun' });
    await user.call('PATCH', `/api/tasks/${begun.id}`, { status: 'in_progress' });
    const due = await make(user, { title: 'due', due_date: '2020-01-01T00:00:00Z', labels: ['l'] });
    const blocked = await make(user, { title: 'waits', priority: 'critical', dependencies: [low.id] });

    expect((await next(user)).body).toMatchObject({
      has_next: true,
      next_item: { type: 'task', task: { id: begun.id }, subtask: null, context: { can_start: true } },
    });
    await user.call('PATCH', `/api/tasks/${begun.id}`, { status: 'cancelled' });
    const second = await next(user);
    expect(second.body.next_item).toMatchObject({ task: { id: due.id, labels: ['l'] } });
    expect(second.body.next_item.reasons).toContain('It was due 2020-01-01T00:00:00.000Z.');
    expect((await next(user, '?label=none')).body.has_next).toBe(false);

    await user.call('POST', `/api/tasks/${due.id}/complete`, { completion_summary: 'x' });
    const third = await next(user);
    expect(third.body.next_item).toMatchObject({ task: { id: low.id }, context: { blocking_count: 1 } });
    expect(third.body.next_item.reasons).toContain('1 unfinished task waits for it.');

    await user.call('PATCH', `/api/tasks/${low.id}`, { status: 'blocked' });
    expect((await next(user)).body).toMatchObject({
      has_next: false,
      message: 'Everything that is open is blocked.',
      blocked_tasks: [
        { id: blocked.id, waits_for: [{ id: low.id, title: 'low', status: 'blocked' }] },
        { id: low.id, waits_for: [] },
      ],
      required_completions: [{ id: low.id, unblocks: 1 }],
    });
    await user.call('PATCH', `/api/tasks/${low.id}`, { status: 'cancelled' });
    await user.call('DELETE', `/api/tasks/${blocked.id}/dependencies/${low.id}`);
    expect((await next(user)).body.next_item.task).toMatchObject({ id: blocked.id });
  });

  test('the first unfinished subtask of a task comes with it', async () => {
    const user = await server.user();
    const task = await make(user, { assignees: [{ assignee_id: 'ann' }] });
    const path = `/api/tasks/${task.id}/subtasks`;
    const done = await user.call('POST', path, { title: 'Done', progress_percentage: 100 });
    const open = await user.call('POST', path, { title: 'Open' });
    await user.call('POST', path, { title: 'Later' });
    const answer = await next(user, '?assignee=ann');
    expect(answer.body.next_item).toMatchObject({
      type: 'subtask',
      subtask: (await user.call('GET', `/api/subtasks/${open.body.id}`)).body,
      context: { overall_progress: 33, subtask_progress: { total: 3, done: 1 } },
    });
    expect(done.status).toBe(201);
    expect(answer.body.next_item.task).toEqual((await user.call('GET', `/api/tasks/${task.id}`)).body);
    expect((await next(user, `?git_branch_id=${task.git_branch_id}`)).body.has_next).toBe(true);
    expect((await next(ann, `?git_branch_id=${task.git_branch_id}`)).body.has_next).toBe(false);
    expect((await next(user, '?assignee=bob')).body.has_next).toBe(false);
  });
});

test('figures count one’s own tasks by status and priority', async () => {
  const user = await server.user();
  await make(user, { priority: 'low', due_date: '2020-01-01T00:00:00Z' });
  await make(user, { priority: 'low' });
  const task = await make(user, { due_date: '2020-01-01T00:00:00Z' });
  await user.call('POST', `/api/tasks/${task.id}/complete`, { completion_summary: 'x' });
  const { body } = await user.call('GET', '/api/tasks/stats');
  expect(body).toEqual({
    total: 3,
    by_status: { todo: 2, in_progress: 0, blocked: 0, review: 0, testing: 0, done: 1, cancelled: 0, archived: 0 },
    by_priority: { low: 2, medium: 1, high: 0, urgent: 0, critical: 0 },
    overdue: 1,
  });
  expect((await user.call('GET', `/api/tasks/stats?project_id=${user.id}`)).body.total).toBe(3);
  expect((await bob.call('GET', `/api/tasks/stats?project_id=${user.id}`)).body.total).toBe(0);
  expect((await user.call('GET', '/api/tasks/stats?status=todo')).status).toBe(400);
});
