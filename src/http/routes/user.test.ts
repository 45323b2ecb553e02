import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { statement } from '../../../test/support/postgres.ts';
import { type Answer, startTestServer, type TestServer, type TestUser } from '../../../test/support/server.ts';
import { accountTables, ownedTables, quarantineUserId } from '../../isolation/owned-tables.ts';

const password = 'correct horse battery';
let server: TestServer;
let ann: TestUser;
let bob: TestUser;

beforeAll(async () => {
  server = await startTestServer();
  [ann, bob] = await Promise.all([server.user(), server.user()]);
});
afterAll(() => server?.close());

const sql = (text: string) => statement(server.database.url, text);
const as = (token: string, method = 'GET', path = '/api/user/profile', body?: unknown) =>
  server.call(method, path, body, { authorization: `Bearer ${token}` });
const register = (): Promise<Answer> =>
  server.call('POST', '/api/auth/register', { email: `${randomUUID()}@example.test`, password, name: 'Dan' });

/** One row in every owned table, for one user. */
async function fill(userId: string, label: string, url = server.database.url): Promise<void> {
  const id = () => `'${randomUUID()}'`;
  const [project, branch, agent, task, other, tag] = [id(), id(), id(), id(), id(), id()];
  const [projectContext, branchContext] = [id(), id()];
  const u = `'${userId}'`;
  await statement(
    url,
    `insert into projects (user_id, id, name) values (${u}, ${project}, '${label}');
    insert into agents (user_id, id, name) values (${u}, ${agent}, '${label}');
    insert into project_git_branchs (user_id, id, project_id, name, assigned_agent_id)
      values (${u}, ${branch}, ${project}, 'main', ${agent});
    insert into tasks (user_id, id, git_branch_id, title, description)
      values (${u}, ${task}, ${branch}, '${label}', 'x'), (${u}, ${other}, ${branch}, '${label} “2”', 'x');
    insert into task_subtasks (user_id, id, task_id, title) values (${u}, ${id()}, ${task}, '${label}');
    insert into task_dependencies (user_id, id, task_id, depends_on_task_id) values (${u}, ${id()}, ${task}, ${other});
    insert into task_assignees (user_id, id, task_id, assignee_id, agent_id)
      values (${u}, ${id()}, ${task}, '@${label}', ${agent});
    insert into labels (user_id, id, name) values (${u}, ${tag}, '${label}');
    insert into task_labels (user_id, id, task_id, label_id) values (${u}, ${id()}, ${task}, ${tag});
    insert into rules (user_id, id, name, content, scope, project_id)
      values (${u}, ${id()}, '${label}', 'x', 'project', ${project});
    insert into global_contexts (user_id, id) values (${u}, ${u});
    insert into project_contexts (user_id, id, project_id, parent_global_id)
      values (${u}, ${projectContext}, ${project}, ${u});
    insert into branch_contexts (user_id, id, branch_id, parent_project_id)
      values (${u}, ${branchContext}, ${branch}, ${projectContext});
    insert into task_contexts_unified (user_id, id, task_id, parent_branch_context_id)
      values (${u}, ${id()}, ${task}, ${branchContext});
    insert into idempotency_keys (user_id, id, key, request_hash, response_body)
      values (${u}, ${id()}, '${label}', decode(repeat('00', 32), 'hex'), 'kept answer');`,
  );
}

async function rowsOf(userId: string, url = server.database.url): Promise<Record<string, number>> {
  const tables = [
    ...ownedTables.map(({ table }) => ({ table, column: 'user_id' })),
    ...accountTables.map(({ table, column }) => ({ table, column })),
  ];
  const counts = tables.map(
    (t) => `(select count(*)::int from ${t.table} where ${t.column} = '${userId}') as ${t.table}`,
  );
  const { rows } = await statement(url, `select ${counts.join(', ')}`);
  return rows[0];
}

test('the profile is the user’s own, and only the name can be changed', async () => {
  const read = await ann.call('GET', '/api/user/profile');
  expect(Object.keys(read.body).sort()).toEqual(
    ['created_at', 'email', 'id', 'last_login_at', 'name', 'roles', 'status', 'updated_at', 'version'].sort(),
  );
  expect(read.headers.get('etag')).toBe('"1"');
  const changed = await ann.call('PATCH', '/api/user/profile', { name: ' Ann ' }, { 'if-match': '"1"' });
  expect(changed).toMatchObject({ status: 200, body: { id: ann.id, name: 'Ann', version: 2 } });
  const stale = await ann.call('PATCH', '/api/user/profile', { name: 'An' }, { 'if-match': '"1"' });
  expect(stale).toMatchObject({ status: 412, body: { code: 'version_mismatch', current_version: 2 } });
  for (const body of [
    { name: 'x', roles: ['user', 'admin'] },
    { roles: ['admin'] },
    { status: 'active' },
    { id: bob.id },
    { user_id: bob.id },
    { email: 'other@example.test' },
    { password_hash: 'x' },
    { version: 9 },
    {},
  ]) {
    expect(await ann.call('PATCH', '/api/user/profile', body)).toMatchObject({ status: 400 });
  }
  expect((await ann.call('GET', '/api/user/profile')).body).toMatchObject({ name: 'Ann', roles: ['user'], version: 2 });
  expect((await bob.call('GET', '/api/user/profile')).body).toMatchObject({ id: bob.id, version: 1 });
});

test('sessions are listed and ended by their user alone', async () => {
  const { body: here } = await register();
  const { body: there } = await server.call(
    'POST',
    '/api/auth/login',
    { email: here.user.email, password },
    { 'user-agent': 'the other one' },
  );
  const { body: list } = await as(here.access_token, 'GET', '/api/user/sessions');
  expect(list).toMatchObject({
    items: [
      { user_agent: 'the other one', current: false },
      { user_agent: expect.any(String), current: true },
    ],
    next_cursor: null,
  });
  expect(JSON.stringify(list)).not.toMatch(/hash|user_id/);
  const { id } = list.items[0];
  const headers = { 'x-request-id': 'same-request' };
  const hidden = await ann.call('DELETE', `/api/user/sessions/${id}`, undefined, headers);
  const missing = await ann.call('DELETE', `/api/user/sessions/${randomUUID()}`, undefined, headers);
  expect(hidden).toMatchObject({ status: 404, body: missing.body });
  expect((await ann.call('GET', '/api/user/sessions')).text).not.toContain(id);
  expect((await as(there.access_token)).status).toBe(200);
  expect((await as(here.access_token, 'DELETE', `/api/user/sessions/${id}`)).status).toBe(204);
  expect((await as(there.access_token)).status).toBe(401);
  expect((await as(here.access_token, 'DELETE', `/api/user/sessions/${id}`)).status).toBe(404);
  expect((await as(here.access_token, 'GET', '/api/user/sessions')).body.items).toHaveLength(1);
});

test('the access log comes in pages, newest first, and holds nobody else’s lines', async () => {
  const cleo = await server.user();
  for (let i = 0; i < 5; i += 1) await cleo.call('POST', '/api/projects', { name: `P${i}` });
  const seen: { id: string; at: string; entity_type: string }[] = [];
  let cursor: string | null = null;
  do {
    const query: string = cursor === null ? '' : `&cursor=${cursor}`;
    const { body } = await cleo.call('GET', `/api/user/access-log?limit=2${query}`);
    seen.push(...body.items);
    cursor = body.next_cursor;
  } while (cursor !== null);
  expect(seen).toHaveLength((await rowsOf(cleo.id)).user_access_log ?? 0);
  expect(new Set(seen.map((line) => line.id)).size).toBe(seen.length);
  expect(seen.filter((line) => line.entity_type === 'projects')).toHaveLength(5);
  expect(seen.map((line) => line.at)).toEqual(
    seen
      .map((line) => line.at)
      .sort()
      .reverse(),
  );
  expect((await cleo.call('GET', '/api/user/access-log?limit=0')).status).toBe(400);
  const { text } = await bob.call('GET', '/api/user/access-log?limit=100');
  for (const line of seen) expect(text).not.toContain(line.id);
});

test('an export holds every row of every table of the user, counted, and nobody else’s, and no secret', async () => {
  const [dan, eve] = await Promise.all([server.user(), server.user()]);
  await Promise.all([fill(dan.id, 'Dan'), fill(eve.id, 'Eve')]);
  const made = await dan.call('POST', '/api/user/tokens', { name: 'Dan' });
  const { body, headers, text, status } = await dan.call('GET', '/api/user/export');
  expect(status).toBe(200);
  expect(headers.get('content-disposition')).toContain('attachment');
  expect(body).toMatchObject({ format: 'ringfence export', format_version: 1 });
  const expected = await rowsOf(dan.id);
  expect(body.counts).toEqual(expected);
  for (const [table, count] of Object.entries(expected)) {
    expect(count).toBeGreaterThan(0);
    expect(body.tables[table]).toHaveLength(count);
  }
  expect(body.tables.tasks.map((task: { title: string }) => task.title).sort()).toEqual(['Dan', 'Dan “2”']);
  expect(body.tables.users).toMatchObject([{ id: dan.id, email: dan.email }]);
  expect(text).not.toContain(eve.id);
  expect(text).not.toContain('Eve');
  expect(text).not.toContain(made.body.token);
  expect(text).not.toMatch(/_hash|kept answer/);
});

test('an export of many large rows is whole, valid JSON', async () => {
  const dan = await server.user();
  await sql(`insert into projects (user_id, id, name, description)
    select '${dan.id}', gen_random_uuid(), 'P' || n, repeat('ü"', 1000) from generate_series(1, 1234) n`);
  const { body } = await dan.call('GET', '/api/user/export');
  expect(body.counts).toMatchObject({ projects: 1234, tasks: 0, users: 1 });
  expect(new Set(body.tables.projects.map((row: { id: string }) => row.id)).size).toBe(1234);
  expect(body.tables.tasks).toEqual([]);
});

test('erasing takes everything of the user’s and nothing of anybody else’s', async () => {
  const { body } = await register();
  const { id, email } = body.user;
  await Promise.all([fill(id, 'Dan'), fill(bob.id, 'Bob')]);
  const token = await as(body.access_token, 'POST', '/api/user/tokens', { name: 'agent' });
  const before = await rowsOf(bob.id);

  for (const [sent, message] of [
    [undefined, 'password: is required.'],
    [{}, 'password: is required.'],
    [{ password: 'a wrong password' }, 'password: is wrong.'],
  ] as const) {
    const answer = await as(body.access_token, 'DELETE', '/api/user', sent);
    expect(answer).toMatchObject({ status: 400, body: { code: 'validation_failed', detail: message } });
  }
  expect((await rowsOf(id)).users).toBe(1);

  expect((await as(body.access_token, 'DELETE', '/api/user', { password })).status).toBe(204);
  expect(Object.values(await rowsOf(id)).every((count) => count === 0)).toBe(true);
  expect(await rowsOf(bob.id)).toEqual(before);
  expect(await as(body.access_token)).toMatchObject({ status: 401, body: { detail: 'Invalid token' } });
  expect((await as(token.body.token)).status).toBe(401);
  const refreshed = await server.call('POST', '/api/auth/refresh', { refresh_token: body.refresh_token });
  expect(refreshed.status).toBe(401);
  expect((await server.call('POST', '/api/auth/login', { email, password })).status).toBe(401);
  expect(server.securityEvents.filter((event) => event.name === 'ACCOUNT_ERASED')).toMatchObject([
    { fields: { user_id: id } },
  ]);
  const again = await server.call('POST', '/api/auth/register', { email, password, name: 'Dan again' });
  expect(again.status).toBe(201);
});

test('rows that arrive while an account is erased are gone too, or refused', async () => {
  const { body } = await register();
  const { id } = body.user;
  const create = () => as(body.access_token, 'POST', '/api/projects', { name: 'late' });
  const creations = Array.from({ length: 10 }, create);
  const erased = as(body.access_token, 'DELETE', '/api/user', { password });
  const late = Array.from({ length: 10 }, create);
  const answers = await Promise.all([...creations, ...late]);
  for (const answer of answers) expect([201, 401, 404, 409]).toContain(answer.status);
  expect([204, 409]).toContain((await erased).status);
  if ((await erased).status === 204) {
    expect(Object.values(await rowsOf(id)).every((count) => count === 0)).toBe(true);
  }
});

test('the quarantine user can do none of it', async () => {
  const { rows } = await sql(`select email, status from users where id = '${quarantineUserId}'`);
  expect(rows[0].status).toBe('quarantine');
  const sessionId = randomUUID();
  await sql(`insert into sessions (user_id, id, token_hash, expires_at)
    values ('${quarantineUserId}', '${sessionId}', decode(repeat('00', 32), 'hex'), now() + interval '1 hour')`);
  const { token } = await server.mint({
    userId: quarantineUserId,
    email: rows[0].email,
    roles: ['user'],
    sessionId,
  });
  for (const [method, path] of [
    ['GET', '/api/user/profile'],
    ['GET', '/api/user/export'],
    ['GET', '/api/user/tokens'],
    ['POST', '/api/user/tokens'],
    ['DELETE', '/api/user'],
    ['POST', '/api/auth/logout'],
  ] as const) {
    const body = method === 'POST' && path.endsWith('tokens') ? { name: 'x' } : undefined;
    expect((await as(token, method, path, body)).status).toBe(401);
  }
});

test('with isolation off, an account takes its own rows alone', async () => {
  const off = await startTestServer({ enforcement: 'off' });
  try {
    const [dan, eve] = await Promise.all([off.user(), off.user()]);
    await fill(dan.id, 'Dan', off.database.url);
    await fill(eve.id, 'Eve', off.database.url);
    const { body, text } = await dan.call('GET', '/api/user/export');
    expect(body.counts).toEqual(await rowsOf(dan.id, off.database.url));
    expect(text).not.toContain('Eve');
    for (const path of ['/api/user/sessions', '/api/user/access-log', '/api/user/tokens']) {
      expect((await dan.call('GET', path)).text).not.toContain(eve.caller.sessionId);
    }
    const before = await rowsOf(eve.id, off.database.url);
    // Made without a password, like an account of an outside provider.
    expect((await dan.call('DELETE', '/api/user')).status).toBe(204);
    expect(await rowsOf(eve.id, off.database.url)).toEqual(before);
    expect(Object.values(await rowsOf(dan.id, off.database.url)).every((count) => count === 0)).toBe(true);
  } finally {
    await off.close();
  }
});

test('where owners are not recorded, nothing is erased and nothing exported', async () => {
  const bare = await startTestServer({ template: 'before_isolation', enforcement: 'ownerless' });
  try {
    const dan = await bare.user();
    expect((await dan.call('GET', '/api/user/profile')).body.id).toBe(dan.id);
    for (const [method, path] of [
      ['DELETE', '/api/user'],
      ['GET', '/api/user/export'],
    ] as const) {
      const answer = await dan.call(method, path);
      expect(answer).toMatchObject({ status: 409, body: { code: 'conflict' } });
      expect(answer.body.detail).toMatch(/not recorded/);
    }
    expect((await dan.call('GET', '/api/user/profile')).status).toBe(200);
  } finally {
    await bare.close();
  }
});
