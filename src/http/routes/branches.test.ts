import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestServer, type TestServer, type TestUser } from '../../../test/support/server.ts';

const nobody = '01900000-0000-7000-8000-000000000000';

/** Puts tasks into a branch without going through the tasks' own routes. */
async function addTasks(server: TestServer, user: TestUser, branch: string, tasks: readonly object[]): Promise<void> {
  if (tasks.length === 0) return;
  const rows = tasks.map((task, n) => ({
    id: uuidv7(),
    git_branch_id: branch,
    title: `T${n}`,
    description: 'x',
    status: 'todo',
    archived_from: null,
    ...task,
  }));
  await server.isolation.withUser(user.caller, (scope) => scope.run(scope.db.insertInto('tasks').values(rows)));
}

async function newProject(user: TestUser): Promise<string> {
  return (await user.call('POST', '/api/projects', { name: 'P' })).body.id;
}

describe.each([
  ['isolated', 'on'],
  ['isolated', 'off'],
  ['before_isolation', 'ownerless'],
] as const)('on a schema %s with isolation %s', (template, enforcement) => {
  let server: TestServer;
  let ann: TestUser;

  beforeAll(async () => {
    server = await startTestServer({ template, enforcement });
    ann = await server.user();
  });
  afterAll(() => server?.close());

  test('a new project has a branch main', async () => {
    const project = await ann.call('POST', '/api/projects', { name: 'Apollo' });
    expect(project.body).toMatchObject({ branch_count: 1, task_count: 0, progress_percentage: 0 });
    const { body } = await ann.call('GET', `/api/projects/${project.body.id}/branches`);
    expect(body.items).toMatchObject([{ name: 'main', project_id: project.body.id, status: 'todo', task_count: 0 }]);
  });

  test('a branch is made, read, changed and removed', async () => {
    const project_id = await newProject(ann);
    const made = await ann.call('POST', '/api/branches', { project_id, name: 'login', priority: 'high' });
    expect(made).toMatchObject({
      status: 201,
      body: { project_id, name: 'login', description: '', priority: 'high', status: 'todo', assigned_agent_id: null },
    });
    const path = `/api/branches/${made.body.id}`;
    const changed = await ann.call('PATCH', path, { status: 'review', metadata: { a: 1 } }, { 'if-match': '"1"' });
    expect(changed).toMatchObject({ status: 200, body: { status: 'review', metadata: { a: 1 }, version: 2 } });
    expect(await ann.call('PATCH', path, { name: 'x' }, { 'if-match': '"1"' })).toMatchObject({ status: 412 });
    expect((await ann.call('GET', path)).text).toBe(changed.text);
    expect((await ann.call('GET', `/api/projects/${project_id}`)).body.branch_count).toBe(2);
    expect((await ann.call('DELETE', path)).status).toBe(204);
    expect((await ann.call('GET', path)).status).toBe(404);
  });

  test('counts are those of the tasks', async () => {
    const project_id = await newProject(ann);
    const { body: made } = await ann.call('POST', '/api/branches', { project_id, name: 'counted' });
    await addTasks(server, ann, made.id, [
      { status: 'todo' },
      { status: 'done' },
      { status: 'archived', archived_from: 'done' },
      { status: 'cancelled' },
      { status: 'archived', archived_from: 'cancelled' },
    ]);
    const expected = { task_count: 5, completed_task_count: 2, progress_percentage: 66 };
    expect((await ann.call('GET', `/api/branches/${made.id}`)).body).toMatchObject(expected);
    expect((await ann.call('GET', `/api/projects/${project_id}`)).body).toMatchObject({ branch_count: 2, ...expected });
    const { body: list } = await ann.call('GET', '/api/projects?limit=1');
    expect(list.items).toMatchObject([{ id: project_id, branch_count: 2, ...expected }]);
  });

  test('an agent is put on a branch by id, by name, and taken off', async () => {
    const project_id = await newProject(ann);
    const { body: made } = await ann.call('POST', '/api/branches', { project_id, name: 'manned' });
    const path = `/api/branches/${made.id}`;
    const byName = await ann.call('POST', `${path}/assign-agent`, { agent_name: 'coding' });
    expect(byName).toMatchObject({ status: 200, body: { version: 2 } });
    const agent = byName.body.assigned_agent_id;
    const off = await ann.call('POST', `${path}/unassign-agent`);
    expect(off).toMatchObject({ status: 200, body: { assigned_agent_id: null } });
    const byId = await ann.call('POST', `${path}/assign-agent`, { agent_id: agent }, { 'if-match': '"3"' });
    expect(byId).toMatchObject({ status: 200, body: { assigned_agent_id: agent } });
    const sameName = await ann.call('POST', `${path}/assign-agent`, { agent_name: 'coding' });
    expect(sameName.body.assigned_agent_id).toBe(agent);
    const { body: list } = await ann.call('GET', `/api/branches?assigned_agent_id=${agent}`);
    expect(list.items.map((item: { id: string }) => item.id)).toEqual([made.id]);
  });

  test('a branch comes back from the archive with the status that its tasks speak for', async () => {
    const project_id = await newProject(ann);
    for (const [tasks, status] of [
      [[], 'todo'],
      [['todo', 'todo'], 'todo'],
      [['todo', 'done'], 'in_progress'],
      [['cancelled', 'done'], 'done'],
    ] as const) {
      const { body: made } = await ann.call('POST', '/api/branches', { project_id, name: tasks.join() || 'none' });
      await addTasks(
        server,
        ann,
        made.id,
        tasks.map((task) => ({ status: task })),
      );
      const path = `/api/branches/${made.id}`;
      expect((await ann.call('POST', `${path}/archive`)).body.status).toBe('archived');
      expect(await ann.call('POST', `${path}/restore`, undefined, { 'if-match': '"1"' })).toMatchObject({
        status: 412,
      });
      expect(await ann.call('POST', `${path}/restore`)).toMatchObject({ status: 200, body: { status } });
      expect(await ann.call('POST', `${path}/restore`)).toMatchObject({
        status: 409,
        body: { code: 'transition_refused' },
      });
    }
  });
});

describe('between two users', () => {
  let server: TestServer;
  let ann: TestUser;
  let bob: TestUser;
  let branch: { id: string; project_id: string };

  beforeAll(async () => {
    server = await startTestServer();
    [ann, bob] = await Promise.all([server.user(), server.user()]);
    const project_id = await newProject(ann);
    branch = (await ann.call('POST', '/api/branches', { project_id, name: 'secret' })).body;
    await addTasks(server, ann, branch.id, [{}, {}]);
  });
  afterAll(() => server?.close());

  test('another user’s branch answers like one that does not exist', async () => {
    const requests = [
      ['GET', ''],
      ['PATCH', '', { name: 'mine' }],
      ['DELETE', ''],
      ['POST', '/assign-agent', { agent_name: 'spy' }],
      ['POST', '/unassign-agent'],
      ['POST', '/archive'],
      ['POST', '/restore'],
    ] as const;
    const sameRequest = { 'x-request-id': 'same-request' };
    for (const [method, action, body] of requests) {
      const hidden = await bob.call(method, `/api/branches/${branch.id}${action}`, body, sameRequest);
      const missing = await bob.call(method, `/api/branches/${nobody}${action}`, body, sameRequest);
      expect(hidden.status, `${method} ${action}`).toBe(404);
      expect(hidden.body.detail).toBe(missing.body.detail);
    }
    const list = (id: string) => bob.call('GET', `/api/projects/${id}/branches`, undefined, sameRequest);
    expect(await list(branch.project_id)).toMatchObject({ status: 404, body: (await list(nobody)).body });
    expect((await bob.call('GET', '/api/branches')).body.items).toEqual([]);
    expect((await bob.call('GET', `/api/branches?project_id=${branch.project_id}`)).body.items).toEqual([]);
    // The refused assignment left no agent behind either.
    const agents = await server.isolation.readAsUser(bob.caller, (scope) =>
      scope.all(scope.db.selectFrom('agents').select('id')),
    );
    expect(agents).toEqual([]);
    expect((await ann.call('GET', `/api/branches/${branch.id}`)).body).toMatchObject({ name: 'secret', version: 1 });
  });

  test('no branch in another user’s project, no agent of another user', async () => {
    const taken = await bob.call('POST', '/api/branches', { project_id: branch.project_id, name: 'x' });
    const absent = await bob.call('POST', '/api/branches', { project_id: nobody, name: 'x' });
    expect(taken.status).toBe(404);
    expect(taken.body.detail).toBe(absent.body.detail);

    const project_id = await newProject(bob);
    const { body: his } = await bob.call('POST', '/api/branches', { project_id, name: 'his' });
    const { body: hers } = await ann.call('POST', `/api/branches/${branch.id}/assign-agent`, { agent_name: 'hers' });
    const path = `/api/branches/${his.id}/assign-agent`;
    const refused = await bob.call('POST', path, { agent_id: hers.assigned_agent_id });
    expect(refused).toMatchObject({ status: 404 });
    expect(refused.body.detail).toBe((await bob.call('POST', path, { agent_id: nobody })).body.detail);
  });

  test('a name is unique in its project and free in another', async () => {
    const again = await ann.call('POST', '/api/branches', { project_id: branch.project_id, name: 'secret' });
    expect(again).toMatchObject({ status: 409, body: { code: 'already_exists' } });
    expect(again.body.detail).toMatch(/^name: /);
    const elsewhere = { project_id: await newProject(ann), name: 'secret' };
    expect((await ann.call('POST', '/api/branches', elsewhere)).status).toBe(201);
    const renamed = await ann.call('PATCH', `/api/branches/${branch.id}`, { name: 'main' });
    expect(renamed).toMatchObject({ status: 409, body: { code: 'already_exists' } });
  });

  test('bad input is refused', async () => {
    for (const [path, body] of [
      ['/api/branches', {}],
      ['/api/branches', { project_id: 'x', name: 'y' }],
      ['/api/branches', { project_id: branch.project_id, name: 'y', priority: 'huge' }],
      ['/api/branches', { project_id: branch.project_id, name: 'y', assigned_agent_id: nobody }],
      [`/api/branches/${branch.id}/assign-agent`, {}],
      [`/api/branches/${branch.id}/assign-agent`, { agent_id: nobody, agent_name: 'x' }],
    ] as const) {
      expect(await ann.call('POST', path, body)).toMatchObject({ status: 400, body: { code: 'validation_failed' } });
    }
    expect(await ann.call('GET', '/api/branches?status=none')).toMatchObject({ status: 400 });
  });
});
