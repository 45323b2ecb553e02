import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { statement } from '../../../test/support/postgres.ts';
import { startTestServer, type TestServer, type TestUser } from '../../../test/support/server.ts';
import { contextLevels, contextTiers } from '../../contract/contexts.ts';

const nobody = '01900000-0000-7000-8000-000000000000';

interface Ids {
  readonly project: string;
  readonly branch: string;
  readonly task: string;
}

/** A project, its branch main and a task in it, made without the tasks' own routes. */
async function workOf(server: TestServer, user: TestUser): Promise<Ids> {
  const { body: project } = await user.call('POST', '/api/projects', { name: 'P' });
  const { body: branches } = await user.call('GET', `/api/projects/${project.id}/branches`);
  const branch: string = branches.items[0].id;
  const task = uuidv7();
  await server.isolation.withUser(user.caller, (scope) =>
    scope.run(scope.db.insertInto('tasks').values({ id: task, git_branch_id: branch, title: 'T', description: 'x' })),
  );
  return { project: project.id, branch, task };
}

describe.each([
  ['isolated', 'on'],
  ['isolated', 'off'],
  ['before_isolation', 'ownerless'],
] as const)('on a schema %s with isolation %s', (template, enforcement) => {
  let server: TestServer;
  let ann: TestUser;
  let ids: Ids;

  beforeAll(async () => {
    server = await startTestServer({ template, enforcement });
    ann = await server.user();
    ids = await workOf(server, ann);
  });
  afterAll(() => server?.close());

  test('a new project has its context, below the global one', async () => {
    expect(await ann.call('GET', `/api/contexts/project/${ids.project}`)).toMatchObject({
      status: 200,
      body: { id: ids.project, level: 'project', project_id: ids.project, parent_global_id: ann.id, version: 1 },
    });
    const mine = await ann.call('GET', '/api/contexts/global/me');
    expect(mine).toMatchObject({ status: 200, body: { id: ann.id, level: 'global', organization_id: '' } });
    expect((await ann.call('GET', `/api/contexts/global/${ann.id}`)).text).toBe(mine.text);
  });

  test('a context of a task brings those above it into being', async () => {
    const { task, branch, project } = await workOf(server, ann);
    expect((await ann.call('GET', `/api/contexts/task/${task}`)).status).toBe(404);
    await ann.call('DELETE', `/api/contexts/project/${project}`);
    const made = await ann.call('PUT', `/api/contexts/task/${task}`, { task_data: { goal: 'ship' } });
    expect(made).toMatchObject({
      status: 201,
      body: {
        id: task,
        level: 'task',
        task_id: task,
        parent_branch_id: branch,
        parent_branch_context_id: branch,
        task_data: { goal: 'ship' },
        data: {},
        version: 1,
      },
    });
    expect(made.headers.get('etag')).toBe('"1"');
    expect(await ann.call('GET', `/api/contexts/branch/${branch}`)).toMatchObject({
      status: 200,
      body: { branch_id: branch, parent_project_id: project },
    });
    expect(await ann.call('GET', `/api/contexts/project/${project}`)).toMatchObject({
      status: 200,
      body: { parent_global_id: ann.id },
    });
  });

  test('PUT replaces, PATCH merges, both at the version that was seen', async () => {
    const path = `/api/contexts/branch/${ids.branch}`;
    const made = await ann.call('PATCH', path, { feature_flags: { dark: true, beta: true } });
    expect(made.status).toBe(201);
    const merged = await ann.call(
      'PATCH',
      path,
      { feature_flags: { beta: null, fast: 1 }, branch_info: { owner: 'ann' }, inheritance_disabled: true },
      { 'if-match': '"1"' },
    );
    expect(merged).toMatchObject({ status: 200, body: { branch_info: { owner: 'ann' }, version: 2 } });
    expect(merged.body.feature_flags).toEqual({ dark: true, fast: 1 });
    expect(merged.body.inheritance_disabled).toBe(true);

    for (const method of ['PUT', 'PATCH']) {
      expect(await ann.call(method, path, { data: { x: 1 } }, { 'if-match': '"1"' })).toMatchObject({
        status: 412,
        body: { code: 'version_mismatch', current_version: 2 },
      });
    }
    const emptied = await ann.call('PATCH', path, { feature_flags: null, inheritance_disabled: null });
    expect(emptied.body).toMatchObject({ feature_flags: {}, inheritance_disabled: false, version: 3 });
    const replaced = await ann.call('PUT', path, { data: { x: 1 } }, { 'if-match': '"3"' });
    expect(replaced).toMatchObject({ status: 200, body: { data: { x: 1 }, branch_info: {}, version: 4 } });
  });

  test('what was read can be sent back', async () => {
    await ann.call('PUT', '/api/contexts/global/me', { organization_id: 'acme', security_policies: { mfa: true } });
    for (const [level, id] of [['global', 'me'], ...Object.entries(ids)]) {
      const path = `/api/contexts/${level}/${id}`;
      await ann.call('PATCH', path, { anything: { n: 1 } });
      const { body: before } = await ann.call('GET', path);
      const { body: after } = await ann.call('PUT', path, before);
      const { version: _v, updated_at: _u, ...same } = before;
      expect(after).toMatchObject(same);
      expect(after.version).toBe(before.version + 1);
    }
  });

  test('lists hold the contexts of their tier', async () => {
    for (const level of contextLevels) {
      const { status, body } = await ann.call('GET', `/api/contexts/${level}?limit=1`);
      expect(status).toBe(200);
      expect(body.items).toHaveLength(1);
      expect(body.items[0].level).toBe(level);
    }
  });
});

describe('with isolation on', () => {
  let server: TestServer;
  let ann: TestUser;
  let bob: TestUser;
  let ids: Ids;

  beforeAll(async () => {
    server = await startTestServer();
    [ann, bob] = await Promise.all([server.user(), server.user()]);
    ids = await workOf(server, ann);
    for (const level of ['project', 'branch', 'task'] as const) {
      await ann.call('PUT', `/api/contexts/${level}/${ids[level]}`, { data: { secret: level } });
    }
  });
  afterAll(() => server?.close());

  test('another user’s context answers like one of nothing', async () => {
    const theirs = [['global', ann.id], ...Object.entries(ids)];
    for (const [level, id] of theirs) {
      const before = await ann.call('GET', `/api/contexts/${level}/${id}`);
      expect(before.status).toBe(200);
      for (const [method, body] of [
        ['GET'],
        ['PUT', { data: {} }],
        ['PATCH', { data: { a: 1 } }],
        ['DELETE'],
      ] as const) {
        const hidden = await bob.call(method, `/api/contexts/${level}/${id}`, body, { 'x-request-id': 'same-request' });
        const missing = await bob.call(method, `/api/contexts/${level}/${nobody}`, body, {
          'x-request-id': 'same-request',
        });
        expect(hidden.status, `${method} ${level}`).toBe(404);
        expect(hidden.body).toEqual(missing.body);
      }
      expect((await bob.call('GET', `/api/contexts/${level}`)).body.items).toEqual([]);
      expect((await ann.call('GET', `/api/contexts/${level}/${id}`)).text).toBe(before.text);
    }
  });

  test('unknown fields are kept in the open field', async () => {
    const path = `/api/contexts/project/${ids.project}`;
    const put = await ann.call('PUT', path, { data: { a: 1 }, sprint: { n: 7 }, note: 'x', nothing: null });
    expect(put.body.data).toEqual({ a: 1, sprint: { n: 7 }, note: 'x', nothing: null });
    const patched = await ann.call('PATCH', path, { sprint: { goal: 'g' }, note: null });
    expect(patched.body.data).toEqual({ a: 1, sprint: { n: 7, goal: 'g' }, nothing: null });
    const mine = await ann.call('PATCH', '/api/contexts/global/me', { motto: 'slow is smooth' });
    expect(mine.body.nested_structure).toEqual({ motto: 'slow is smooth' });
  });

  test('at the same time, every change survives', async () => {
    const path = `/api/contexts/task/${ids.task}`;
    await ann.call('PUT', path, {});
    const keys = Array.from({ length: 10 }, (_, n) => `k${n}`);
    const answers = await Promise.all(keys.map((key) => ann.call('PATCH', path, { data: { [key]: 1 } })));
    expect(answers.map((answer) => answer.status)).toEqual(keys.map(() => 200));
    expect(Object.keys((await ann.call('GET', path)).body.data).sort()).toEqual(keys);
  });

  test('at the same time, one makes it and the others change it', async () => {
    const { task } = await workOf(server, ann);
    const keys = Array.from({ length: 6 }, (_, n) => `k${n}`);
    const answers = await Promise.all(
      keys.map((key) => ann.call('PATCH', `/api/contexts/task/${task}`, { data: { [key]: 1 } })),
    );
    expect(answers.map((answer) => answer.status).sort()).toEqual([200, 200, 200, 200, 200, 201]);
    expect(Object.keys((await ann.call('GET', `/api/contexts/task/${task}`)).body.data).sort()).toEqual(keys);
  });

  test('a context that is not there yet is at no version', async () => {
    const { task } = await workOf(server, ann);
    const path = `/api/contexts/task/${task}`;
    expect(await ann.call('PUT', path, {}, { 'if-match': '"1"' })).toMatchObject({
      status: 412,
      body: { current_version: null },
    });
    expect((await ann.call('GET', path)).status).toBe(404);
  });

  test('a removed parent is missed until the next write below it', async () => {
    const { project, branch, task } = await workOf(server, ann);
    await ann.call('PUT', `/api/contexts/task/${task}`, {});
    expect((await ann.call('DELETE', `/api/contexts/project/${project}`)).status).toBe(204);
    expect((await ann.call('GET', `/api/contexts/branch/${branch}`)).body.parent_project_id).toBeNull();
    await ann.call('PATCH', `/api/contexts/task/${task}`, { data: { a: 1 } });
    expect((await ann.call('GET', `/api/contexts/branch/${branch}`)).body.parent_project_id).toBe(project);
  });

  test('a task that moved has its context below the branch it is in', async () => {
    const { project, task } = await workOf(server, ann);
    await ann.call('PUT', `/api/contexts/task/${task}`, {});
    const { body: other } = await ann.call('POST', '/api/branches', { project_id: project, name: 'other' });
    await server.isolation.withUser(ann.caller, (scope) =>
      scope.run(scope.db.updateTable('tasks').set({ git_branch_id: other.id }).where('id', '=', task)),
    );
    expect((await ann.call('GET', `/api/contexts/task/${task}`)).body).toMatchObject({
      parent_branch_id: other.id,
      parent_branch_context_id: null,
    });
    const written = await ann.call('PATCH', `/api/contexts/task/${task}`, { data: { a: 1 } });
    expect(written.body).toMatchObject({ parent_branch_id: other.id, parent_branch_context_id: other.id });
  });

  test('bad bodies name the field', async () => {
    const path = `/api/contexts/task/${ids.task}`;
    for (const [method, body, field] of [
      ['PUT', { data: [] }, 'data'],
      ['PUT', { data: null }, 'data'],
      ['PUT', { inheritance_disabled: 'yes' }, 'inheritance_disabled'],
      ['PUT', { user_id: bob.id }, 'user_id'],
      ['PATCH', {}, 'body'],
      ['PATCH', { blockers: 'none' }, 'blockers'],
    ] as const) {
      const answer = await ann.call(method, path, body);
      expect(answer, JSON.stringify(body)).toMatchObject({ status: 400, body: { code: 'validation_failed' } });
      expect(answer.body.errors[0].field).toBe(field);
    }
    expect(await ann.call('PUT', '/api/contexts/task/me', {})).toMatchObject({ status: 400 });
    expect(await ann.call('PUT', '/api/contexts/galaxy/me', {})).toMatchObject({ status: 404 });
    const deep = `{"data":${'{"a":'.repeat(80)}1${'}'.repeat(80)}}`;
    const tooDeep = await ann.call('PUT', path, deep);
    expect(tooDeep).toMatchObject({ status: 400, body: { code: 'validation_failed' } });
    expect(tooDeep.body.detail).toMatch(/levels deep/);
  });

  test('patches cannot make a context grow without end', async () => {
    const path = `/api/contexts/branch/${ids.branch}`;
    const half = 'x'.repeat(600_000);
    expect((await ann.call('PUT', path, { data: { a: half } })).status).toBe(200);
    const grown = await ann.call('PATCH', path, { data: { b: half } });
    expect(grown).toMatchObject({ status: 413, body: { code: 'payload_too_large' } });
    expect((await ann.call('PATCH', path, { data: { a: null, b: half } })).status).toBe(200);
  });
});

test('while isolation is off, a context of another user’s project belongs to that user', async () => {
  const server = await startTestServer({ enforcement: 'off' });
  try {
    const [ann, bob] = await Promise.all([server.user(), server.user()]);
    const ids = await workOf(server, ann);
    await ann.call('DELETE', '/api/contexts/global/me');
    await ann.call('DELETE', `/api/contexts/project/${ids.project}`);
    const made = await bob.call('PUT', `/api/contexts/task/${ids.task}`, { data: { by: 'bob' } });
    expect(made.status).toBe(201);
    const { rows } = await statement(
      server.database.url,
      `select user_id from task_contexts_unified union all select user_id from branch_contexts
       union all select user_id from project_contexts`,
    );
    expect(rows).toEqual([{ user_id: ann.id }, { user_id: ann.id }, { user_id: ann.id }]);
    const project = await bob.call('GET', `/api/contexts/project/${ids.project}`);
    expect(project.body.parent_global_id).toBeNull();
    await ann.call('PATCH', `/api/contexts/task/${ids.task}`, { data: { by: 'ann' } });
    const filled = await ann.call('GET', `/api/contexts/project/${ids.project}`);
    expect(filled.body.parent_global_id).toBe(ann.id);
  } finally {
    await server.close();
  }
});

test('the tiers are those of the database', async () => {
  const server = await startTestServer();
  try {
    const { rows } = await statement(
      server.database.url,
      `select table_name, array_agg(column_name::text) as columns from information_schema.columns
       where table_name in ('global_contexts', 'project_contexts', 'branch_contexts', 'task_contexts_unified')
       group by table_name`,
    );
    const expected = contextLevels.map((level) => {
      const { objects, flags, texts, links } = contextTiers[level];
      const common = ['id', 'user_id', 'version', 'created_at', 'updated_at'];
      return [...common, ...objects, ...flags, ...Object.keys(texts), ...links].sort().join();
    });
    expect(rows.map((row) => row.columns.sort().join()).sort()).toEqual(expected.sort());
  } finally {
    await server.close();
  }
});
