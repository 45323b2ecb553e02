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

const absent = '01900000-0000-7000-8000-000000000000';

async function make(user: TestUser, fields: Record<string, unknown> = {}) {
  const made = await user.call('POST', '/api/tasks', { title: 'Task', description: 'Do it', ...fields });
  expect(made).toMatchObject({ status: 201 });
  return made.body;
}

async function titles(user: TestUser, query = ''): Promise<string[]> {
  const answer = await user.call('GET', `/api/tasks${query}`);
  expect(answer).toMatchObject({ status: 200 });
  return answer.body.items.map((item: { title: string }) => item.title);
}

describe('creation', () => {
  test('the guide’s two tasks land in two inboxes, and neither user sees the other’s', async () => {
    const [dora, emil] = await Promise.all([server.user(), server.user()]);
    await make(dora, { title: 'User A Task', description: 'Test task' });
    await make(emil, { title: 'User B Task', description: 'Test task' });
    expect(await titles(dora)).toEqual(['User A Task']);
    expect(await titles(emil)).toEqual(['User B Task']);
    const { body } = await dora.call('GET', '/api/tasks');
    expect(body.items[0].git_branch_id).toBe(dora.id);
  });

  test('first uses of the inbox at the same time make one inbox', async () => {
    const user = await server.user();
    const made = await Promise.all(Array.from({ length: 8 }, () => make(user)));
    expect(new Set(made.map((task) => task.git_branch_id))).toEqual(new Set([user.id]));
    const { body } = await user.call('GET', '/api/projects');
    expect(body.items.map((project: { name: string }) => project.name)).toEqual(['Inbox']);
  });

  test('everything that hangs on a task can come with it', async () => {
    const user = await server.user();
    const first = await make(user, { title: 'First' });
    const task = await make(user, {
      title: '  Ünïcödé 🎉  ',
      details: 'line\nline',
      priority: 'critical',
      estimated_effort: 'quick',
      due_date: '2026-12-24T18:00:00+01:00',
      labels: ['bug', 'Ärger'],
      assignees: [{ assignee_id: 'ann' }, { assignee_id: 'ben', role: 'reviewer' }],
      dependencies: [first.id],
    });
    expect(task).toMatchObject({
      title: 'Ünïcödé 🎉',
      status: 'todo',
      priority: 'critical',
      labels: ['bug', 'Ärger'].sort(),
      assignees: [
        { assignee_id: 'ann', agent_id: null, role: 'contributor' },
        { assignee_id: 'ben', agent_id: null, role: 'reviewer' },
      ],
      dependencies: [first.id],
      is_blocked: true,
      subtask_count: 0,
      progress_percentage: 0,
      version: 1,
    });
    expect(new Date(task.due_date).toISOString()).toBe('2026-12-24T17:00:00.000Z');
    expect(task).not.toHaveProperty('user_id');
    expect(task).not.toHaveProperty('priority_rank');
    expect((await user.call('GET', `/api/tasks/${task.id}`)).body).toEqual(task);
  });

  test('the same labels made by several requests at once are made once', async () => {
    const user = await server.user();
    const made = await Promise.all(
      Array.from({ length: 6 }, (_, i) => make(user, { labels: i % 2 === 0 ? ['a', 'b'] : ['b', 'a'] })),
    );
    for (const task of made) expect(task.labels).toEqual(['a', 'b']);
    expect((await user.call('GET', '/api/labels')).body.items).toMatchObject([
      { name: 'a', color: '#0066cc', task_count: 6 },
      { name: 'b', task_count: 6 },
    ]);
  });

  test('another user’s rows cannot be referred to, and answer like absent ones', async () => {
    const project = (await ann.call('POST', '/api/projects', { name: 'Hidden' })).body;
    const branch = (await ann.call('POST', '/api/branches', { project_id: project.id, name: 'hidden' })).body;
    const task = await make(ann);
    const agent = (await ann.call('POST', '/api/agents', { name: 'hidden' })).body;
    for (const [field, hidden] of [
      ['git_branch_id', branch.id],
      ['dependencies', [task.id]],
      ['assignees', [{ assignee_id: 'x', agent_id: agent.id }]],
    ] as const) {
      expect(JSON.stringify(hidden)).not.toContain('undefined');
      const body = { title: 'T', description: 'D' };
      const nowhere = JSON.parse(JSON.stringify(hidden).replace(/[0-9a-f]{8}-[0-9a-f-]{27}/, absent));
      const headers = { 'x-request-id': 'same-request' };
      const refused = await bob.call('POST', '/api/tasks', { ...body, [field]: hidden }, headers);
      const missing = await bob.call('POST', '/api/tasks', { ...body, [field]: nowhere }, headers);
      expect(refused).toMatchObject({ status: 404 });
      expect(refused.body).toEqual(missing.body);
    }
    expect(await titles(bob)).toEqual([]);
  });

  test('bad input names the field', async () => {
    const fine = { title: 'T', description: 'D' };
    for (const [body, field] of [
      [{ title: 'only' }, 'description'],
      [{ ...fine, title: '   ' }, 'title'],
      [{ ...fine, title: 'x'.repeat(201) }, 'title'],
      [{ ...fine, description: '' }, 'description'],
      [{ ...fine, description: 'x'.repeat(2001) }, 'description'],
      [{ ...fine, details: '\ud800' }, 'details'],
      [{ ...fine, status: 'done' }, 'status'],
      [{ ...fine, priority: 'soon' }, 'priority'],
      [{ ...fine, due_date: 'tomorrow' }, 'due_date'],
      [{ ...fine, git_branch_id: 'inbox' }, 'git_branch_id'],
      [{ ...fine, labels: ['a', 'a'] }, 'labels'],
      [{ ...fine, assignees: [{ assignee_id: 'a' }, { assignee_id: 'a' }] }, 'assignees'],
      [{ ...fine, dependencies: [absent.toUpperCase(), absent] }, 'dependencies'],
      [{ ...fine, user_id: bob.id }, 'user_id'],
      [[], 'body'],
    ] as const) {
      const answer = await ann.call('POST', '/api/tasks', body);
      expect(answer).toMatchObject({ status: 400, body: { code: 'validation_failed' } });
      expect(answer.body.errors[0].field).toBe(field);
    }
  });

  test('an Idempotency-Key makes one task', async () => {
    const user = await server.user();
    const body = { title: 'Once', description: 'D', labels: ['x'] };
    const [first, second] = [
      await user.call('POST', '/api/tasks', body, { 'idempotency-key': 'k' }),
      await user.call('POST', '/api/tasks', body, { 'idempotency-key': 'k' }),
    ];
    expect(second.text).toBe(first.text);
    expect(await titles(user)).toEqual(['Once']);
  });
});

describe('lists', () => {
  let user: TestUser;
  let branch: { id: string; project_id: string };

  beforeAll(async () => {
    user = await server.user();
    const project = (await user.call('POST', '/api/projects', { name: 'P' })).body;
    branch = (await user.call('POST', '/api/branches', { project_id: project.id, name: 'b' })).body;
    await make(user, { title: 'a 100%', priority: 'low', due_date: '2026-01-03T00:00:00Z', labels: ['one, two'] });
    await make(user, { title: 'b_c', priority: 'high', assignees: [{ assignee_id: 'ann' }], details: 'NEEDLE' });
    await make(user, { title: 'C\\d', priority: 'critical', due_date: '2026-01-01T00:00:00Z', labels: ['x'] });
    await make(user, { title: 'd', git_branch_id: branch.id, description: 'a Needle too' });
    const { id } = await make(user, { title: 'e', priority: 'low', due_date: '2026-01-02T00:00:00Z' });
    expect((await user.call('PATCH', `/api/tasks/${id}`, { status: 'in_progress' })).status).toBe(200);
  });

  test.each([
    ['', ['e', 'd', 'C\\d', 'b_c', 'a 100%']],
    ['?sort=created_at', ['a 100%', 'b_c', 'C\\d', 'd', 'e']],
    ['?sort=-priority', ['C\\d', 'b_c', 'd', 'e', 'a 100%']],
    ['?sort=due_date', ['C\\d', 'e', 'a 100%', 'b_c', 'd']],
    ['?sort=-updated_at&limit=1', ['e']],
    ['?status=in_progress', ['e']],
    ['?status=in_progress,done&status=todo', ['e', 'd', 'C\\d', 'b_c', 'a 100%']],
    ['?priority=critical,high', ['C\\d', 'b_c']],
    ['?assignee=ann', ['b_c']],
    ['?label=one,%20two', ['a 100%']],
    ['?label=x&label=one,%20two', ['C\\d', 'a 100%']],
    ['?label=nothing', []],
    ['?due_before=2026-01-02T00:00:00Z', ['C\\d']],
    ['?due_after=2026-01-02T00:00:00Z', ['a 100%']],
    ['?q=needle', ['d', 'b_c']],
    ['?q=%25', ['a 100%']],
    ['?q=_', ['b_c']],
    ['?q=%5C', ['C\\d']],
    ['?q=needle&priority=high', ['b_c']],
    [`?git_branch_id=${absent}`, []],
  ] as const)('%s', async (query, expected) => {
    expect(await titles(user, query)).toEqual(expected);
  });

  test('of a branch and of a project', async () => {
    expect(await titles(user, `?git_branch_id=${branch.id}`)).toEqual(['d']);
    expect(await titles(user, `?project_id=${branch.project_id}`)).toEqual(['d']);
    expect(await titles(ann, `?git_branch_id=${branch.id}`)).toEqual([]);
  });

  test.each(['created_at', '-priority', 'due_date', 'title', '-title', '-updated_at'])(
    'pages by %s follow each other without gap or repetition',
    async (sort) => {
      const whole = await titles(user, `?sort=${sort}`);
      const seen: string[] = [];
      let cursor: string | null = null;
      do {
        const query: string = cursor === null ? '' : `&cursor=${cursor}`;
        const { body } = await user.call('GET', `/api/tasks?sort=${sort}&limit=2${query}`);
        seen.push(...body.items.map((item: { title: string }) => item.title));
        cursor = body.next_cursor;
      } while (cursor !== null);
      expect(seen).toEqual(whole);
      expect(seen).toHaveLength(5);
    },
  );

  test('a bad query names the parameter', async () => {
    for (const [query, field] of [
      ['?limit=101', 'limit'],
      ['?status=nope', 'status.0'],
      ['?sort=user_id', 'sort'],
      ['?due_before=x', 'due_before'],
      ['?q=', 'q'],
      ['?user_id=1', 'user_id'],
    ]) {
      const answer = await user.call('GET', `/api/tasks${query}`);
      expect(answer).toMatchObject({ status: 400, body: { code: 'validation_failed' } });
      expect(answer.body.errors[0].field).toBe(field);
    }
    expect((await user.call('GET', '/api/tasks?cursor=x')).body.code).toBe('invalid_cursor');
  });
});

describe('change and removal', () => {
  test('fields change, versions count, a stale change is refused', async () => {
    const task = await make(ann, { due_date: '2026-01-01T00:00:00Z' });
    const path = `/api/tasks/${task.id}`;
    const changed = await ann.call('PATCH', path, { title: 'New', due_date: null }, { 'if-match': '"1"' });
    expect(changed).toMatchObject({ status: 200, body: { title: 'New', due_date: null, version: 2 } });
    expect(changed.headers.get('etag')).toBe('"2"');
    const stale = await ann.call('PATCH', path, { title: 'Old' }, { 'if-match': '"1"' });
    expect(stale).toMatchObject({ status: 412, body: { current_version: 2 } });
    expect((await ann.call('PATCH', path, {})).status).toBe(400);
    expect((await ann.call('DELETE', path, undefined, { 'if-match': '"1"' })).status).toBe(412);
  });

  test('a task moves to another branch of one’s own, and to nobody else’s', async () => {
    const project = (await ann.call('POST', '/api/projects', { name: 'Move' })).body;
    const branch = (await ann.call('POST', '/api/branches', { project_id: project.id, name: 'to' })).body;
    const task = await make(ann);
    expect(await ann.call('PATCH', `/api/tasks/${task.id}`, { git_branch_id: branch.id })).toMatchObject({
      status: 200,
      body: { git_branch_id: branch.id },
    });
    const own = await make(bob);
    expect(await bob.call('PATCH', `/api/tasks/${own.id}`, { git_branch_id: branch.id })).toMatchObject({
      status: 404,
      body: { detail: 'git_branch_id: there is no such row.' },
    });
  });

  test('removing a task says what that unblocks', async () => {
    const [gone, other] = [await make(ann), await make(ann)];
    const waits = await make(ann, { dependencies: [gone.id] });
    const still = await make(ann, { dependencies: [gone.id, other.id] });
    for (const { id } of [waits, still]) await ann.call('PATCH', `/api/tasks/${id}`, { status: 'blocked' });
    expect(await ann.call('DELETE', `/api/tasks/${gone.id}`)).toMatchObject({
      status: 200,
      body: { unblocked: [waits.id] },
    });
    expect((await ann.call('GET', `/api/tasks/${waits.id}`)).body).toMatchObject({
      status: 'todo',
      is_blocked: false,
      dependencies: [],
    });
    expect((await ann.call('GET', `/api/tasks/${still.id}`)).body).toMatchObject({
      status: 'blocked',
      is_blocked: true,
    });
  });

  test('another user’s task answers like one that does not exist', async () => {
    const task = await make(ann, { assignees: [{ assignee_id: 'a' }] });
    const headers = { 'x-request-id': 'same-request' };
    for (const [method, suffix, body] of [
      ['GET', ''],
      ['PATCH', '', { title: 'mine' }],
      ['DELETE', ''],
      ['POST', '/complete', { completion_summary: 'x' }],
      ['POST', '/reopen', { reason: 'x' }],
      ['POST', '/archive'],
      ['POST', '/restore'],
      ['PATCH', '/labels', { add: ['x'] }],
      ['PATCH', '/assignees', { add: [{ assignee_id: 'x' }] }],
      ['GET', '/dependencies'],
      ['POST', '/dependencies', { depends_on_task_id: absent }],
      ['GET', '/subtasks'],
      ['POST', '/subtasks', { title: 'x' }],
    ] as const) {
      const hidden = await bob.call(method, `/api/tasks/${task.id}${suffix}`, body, headers);
      const missing = await bob.call(method, `/api/tasks/${absent}${suffix}`, body, headers);
      expect(hidden.status, `${method} ${suffix}`).toBe(404);
      expect(hidden.body).toEqual(missing.body);
    }
    expect((await ann.call('GET', `/api/tasks/${task.id}`)).body).toEqual(task);
  });
});

test.each([
  ['isolated', 'off'],
  ['before_isolation', 'ownerless'],
] as const)('on a schema %s with isolation %s everything of a task works', async (template, enforcement) => {
  const open = await startTestServer({ template, enforcement });
  try {
    const [one, two] = await Promise.all([open.user(), open.user()]);
    await make(one, { title: 'Labels of both', labels: ['bug'] });
    const task = await make(two, { title: 'Seen by all', labels: ['bug'], assignees: [{ assignee_id: 'a' }] });
    const [first, later] = [await make(two), await make(two, { dependencies: [task.id] })];
    expect(await titles(one, '?label=bug')).toEqual(['Seen by all', 'Labels of both']);
    const path = `/api/tasks/${task.id}`;
    const steps = [
      await one.call('PATCH', `${path}/labels`, { add: ['bug'], remove: ['bug2'] }),
      await one.call('PATCH', `${path}/assignees`, { add: [{ assignee_id: 'b' }], remove: ['a'] }),
      await one.call('POST', `${path}/dependencies`, { depends_on_task_id: first.id }),
      await one.call('POST', `${path}/subtasks`, { title: 'S' }),
      await one.call('DELETE', `${path}/dependencies/${first.id}`),
    ];
    expect(steps.map((step) => step.status)).toEqual([200, 200, 201, 201, 200]);
    const cycle = await one.call('POST', `${path}/dependencies`, { depends_on_task_id: later.id });
    expect(cycle).toMatchObject({ status: 409, body: { code: 'dependency_cycle' } });
    const subtask = steps[3]?.body;
    expect(subtask).toMatchObject({ assignees: ['b'] });
    await one.call('POST', `/api/subtasks/${subtask.id}/complete`, { completion_summary: 'done' });
    const done = await one.call('POST', `${path}/complete`, { completion_summary: 'done' });
    expect(done).toMatchObject({ status: 200, body: { status: 'done', context_id: task.id, subtask_done_count: 1 } });
    const bulk = await one.call('POST', '/api/tasks/bulk', {
      operations: [
        { op: 'create', task: { title: 'B', description: 'D', labels: ['bug', 'new'] } },
        { op: 'update', id: later.id, patch: { priority: 'critical' } },
        { op: 'delete', id: task.id },
        { op: 'delete', id: task.id },
      ],
    });
    expect(bulk.body.results.map((result: { status: number }) => result.status)).toEqual([201, 200, 200, 404]);
    expect((await one.call('GET', '/api/tasks/next')).body.next_item.task.id).toBe(later.id);
    expect((await one.call('GET', '/api/tasks/stats')).body.total).toBe(4);
  } finally {
    await open.close();
  }
});
