import { pino } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { statement } from '../../../test/support/postgres.ts';
import { startTestServer, type TestServer, type TestUser } from '../../../test/support/server.ts';
import { testSecret } from '../../../test/support/templates.ts';
import { createAccess } from '../../access/wiring.ts';
import { systemClock } from '../../clock.ts';
import { ownedTables } from '../../isolation/owned-tables.ts';
import type { SecurityLog } from '../../log.ts';
import { systemNames } from '../../repositories/system-rows.ts';
import { createApp } from '../app.ts';

let server: TestServer;
let ann: TestUser;
let bob: TestUser;
let root: TestUser;
let rowsOfAnn: Record<string, string>;

beforeAll(async () => {
  server = await startTestServer();
  [ann, bob, root] = await Promise.all([server.user(), server.user(), server.user({ roles: ['user', 'admin'] })]);
  rowsOfAnn = await fillEveryTable(server, ann.id);
  await fillEveryTable(server, bob.id);
});
afterAll(() => server?.close());

/** One row in each owned table, made as the database's owner. @returns table → id */
async function fillEveryTable({ database }: TestServer, userId: string | undefined): Promise<Record<string, string>> {
  const id = Object.fromEntries(ownedTables.map(({ table }) => [table, uuidv7()]));
  const other = uuidv7();
  const rows: [string, string, string][] = [
    ['projects', 'id, name', `'${id.projects}', 'P'`],
    ['agents', 'id, name', `'${id.agents}', 'A ${id.agents}'`],
    ['project_git_branchs', 'id, project_id, name', `'${id.project_git_branchs}', '${id.projects}', 'main'`],
    ['tasks', 'id, git_branch_id, title, description', `'${id.tasks}', '${id.project_git_branchs}', 'T', 'd'`],
    ['tasks', 'id, git_branch_id, title, description', `'${other}', '${id.project_git_branchs}', 'U', 'd'`],
    ['task_subtasks', 'id, task_id, title', `'${id.task_subtasks}', '${id.tasks}', 'S'`],
    ['task_dependencies', 'id, task_id, depends_on_task_id', `'${id.task_dependencies}', '${id.tasks}', '${other}'`],
    ['task_assignees', 'id, task_id, assignee_id', `'${id.task_assignees}', '${id.tasks}', 'me'`],
    ['labels', 'id, name', `'${id.labels}', 'L ${id.labels}'`],
    ['task_labels', 'id, task_id, label_id', `'${id.task_labels}', '${id.tasks}', '${id.labels}'`],
    ['rules', 'id, name, content', `'${id.rules}', 'R', 'c'`],
    ['global_contexts', 'id', `'${id.global_contexts}'`],
    ['project_contexts', 'id, project_id', `'${id.project_contexts}', '${id.projects}'`],
    ['branch_contexts', 'id, branch_id', `'${id.branch_contexts}', '${id.project_git_branchs}'`],
    ['task_contexts_unified', 'id, task_id', `'${id.task_contexts_unified}', '${id.tasks}'`],
  ];
  const [column, value] = userId === undefined ? ['', ''] : [', user_id', `, '${userId}'`];
  await statement(
    database.url,
    rows
      .map(([table, columns, values]) => `insert into ${table} (${columns}${column}) values (${values}${value})`)
      .join(';'),
  );
  return id;
}

test('every owned table has a name of its own', () => {
  const names = ownedTables.map(({ table }) => systemNames[table]);
  expect(names.every((name) => /^[a-z-]+$/.test(name))).toBe(true);
  expect(new Set(names).size).toBe(ownedTables.length);
});

describe.each(ownedTables.map(({ table }) => [systemNames[table], table] as const))(
  '/admin/system/%s',
  (name, table) => {
    const path = `/admin/system/${name}`;

    test('shows an administrator the rows of all users', async () => {
      const all = await root.call('GET', `${path}?limit=100`);
      expect(all.status).toBe(200);
      const owners = new Set(all.body.items.map((row: { user_id: string }) => row.user_id));
      expect(owners).toEqual(new Set([ann.id, bob.id]));

      const hers = await root.call('GET', `${path}?user_id=${ann.id}`);
      expect(hers.body.items.map((row: { user_id: string }) => row.user_id)).toContain(ann.id);
      expect(hers.text).not.toContain(bob.id);

      const one = await root.call('GET', `${path}/${rowsOfAnn[table]}`);
      expect(one).toMatchObject({ status: 200, body: { id: rowsOfAnn[table], user_id: ann.id } });
      expect((await root.call('GET', `${path}/${uuidv7()}`)).status).toBe(404);
      expect((await root.call('GET', `${path}/${rowsOfAnn[table]}?user_id=${bob.id}`)).status).toBe(404);
    });

    test('goes through all pages without gap or repetition', async () => {
      const all = (await root.call('GET', `${path}?limit=100`)).body.items.map((row: { id: string }) => row.id);
      const seen: string[] = [];
      let cursor: string | null = null;
      do {
        const { body } = await root.call('GET', `${path}?limit=1${cursor === null ? '' : `&cursor=${cursor}`}`);
        seen.push(...body.items.map((row: { id: string }) => row.id));
        cursor = body.next_cursor;
      } while (cursor !== null);
      expect(seen).toEqual(all);
    });

    test('is closed to users and to nobody', async () => {
      for (const address of [path, `${path}/${rowsOfAnn[table]}`]) {
        expect(await ann.call('GET', address)).toMatchObject({ status: 403, body: { code: 'admin_required' } });
        expect(await server.call('GET', address)).toMatchObject({ status: 401, body: { code: 'unauthenticated' } });
      }
    });
  },
);

test('accounts are shown without their secrets', async () => {
  const { status, body, text } = await root.call('GET', `/admin/users?email=${ann.email.toUpperCase()}`);
  expect(status).toBe(200);
  expect(body.items).toMatchObject([{ id: ann.id, email: ann.email, roles: ['user'], status: 'active' }]);
  expect(text).not.toMatch(/password|hash/);
  expect((await root.call('GET', '/admin/users?status=quarantine')).body.items).toHaveLength(1);
  expect((await ann.call('GET', '/admin/users')).status).toBe(403);
  expect((await server.call('GET', '/admin/users')).status).toBe(401);
});

test('each use of system mode is on the record, with its reason', async () => {
  const headers = { 'x-request-id': 'on-the-record', 'x-system-reason': 'ticket 7' };
  await root.call('GET', `/admin/system/tasks?user_id=${ann.id}`, undefined, headers);
  const log = await root.call('GET', `/admin/access-log?user_id=${root.id}&outcome=system&limit=100`);
  expect(log.body.items).toContainEqual(
    expect.objectContaining({
      user_id: root.id,
      actor: 'session',
      operation: 'system_mode',
      outcome: 'system',
      reason: `GET /admin/system/tasks: user_id=${ann.id}; ticket 7`,
      request_id: 'on-the-record',
    }),
  );
  expect(server.securityEvents).toContainEqual({
    name: 'SYSTEM_MODE',
    fields: expect.objectContaining({ req_id: 'on-the-record', user_id: root.id, outcome: 'used' }),
  });
  // The look at the log is itself on the record.
  expect(log.body.items[0].reason).toBe(`GET /admin/access-log: user_id=${root.id}`);
});

test('so is each refusal', async () => {
  await bob.call('GET', '/admin/system/tasks', undefined, { 'x-request-id': 'refused-once' });
  const log = await root.call('GET', `/admin/access-log?user_id=${bob.id}&outcome=refused&operation=system_mode`);
  expect(log.body.items).toContainEqual(
    expect.objectContaining({ request_id: 'refused-once', reason: 'GET /admin/system/tasks' }),
  );
  expect(server.securityEvents).toContainEqual({
    name: 'SYSTEM_MODE',
    fields: expect.objectContaining({ req_id: 'refused-once', user_id: bob.id, outcome: 'refused' }),
  });
});

test('the refusal of a token that has outlived its account is no error of the server', async () => {
  const lines: string[] = [];
  const events: unknown[] = [];
  const { config, isolation } = server;
  const securityLog: SecurityLog = { event: (name, fields) => events.push([name, fields.req_id, fields.outcome]) };
  const access = createAccess({ config, secret: testSecret, isolation, securityLog, clock: systemClock });
  const log = pino({ level: 'error' }, { write: (line) => void lines.push(line) });
  const app = await createApp({ config, log, securityLog, isolation, ...access });
  const gone = await server.user();
  expect((await gone.call('DELETE', '/api/user', {})).status).toBe(204);
  const headers = { authorization: `Bearer ${gone.token}`, 'x-request-id': 'refused-and-gone' };
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  const answer = await fetch(`${url}/admin/system/tasks`, { headers });
  expect(await answer.json()).toMatchObject({ status: 403, code: 'admin_required' });
  expect(events).toEqual([['SYSTEM_MODE', 'refused-and-gone', 'refused']]);
  await app.close();
  expect(lines).toEqual([]);
});

test('the role counts as it is now, not as the token has it', async () => {
  const former = await server.user({ roles: ['user', 'admin'] });
  expect((await former.call('GET', '/admin/system/tasks')).status).toBe(200);
  await statement(server.database.url, `update users set roles = '{user}' where id = '${former.id}'`);
  expect(await former.call('GET', '/admin/system/tasks')).toMatchObject({
    status: 403,
    body: { code: 'admin_required' },
  });
});

test('rows of one id under two owners are told apart by user_id', async () => {
  const id = uuidv7();
  const insert = (user: TestUser) =>
    `insert into rules (user_id, id, name, content) values ('${user.id}', '${id}', 'r', 'c')`;
  await statement(server.database.url, `${insert(ann)};${insert(bob)}`);
  const both = await root.call('GET', `/admin/system/rules/${id}`);
  expect(both).toMatchObject({ status: 409, body: { code: 'conflict' } });
  expect(both.body.user_ids.toSorted()).toEqual([ann.id, bob.id].toSorted());
  expect(await root.call('GET', `/admin/system/rules/${id}?user_id=${bob.id}`)).toMatchObject({
    status: 200,
    body: { user_id: bob.id },
  });
});

test.each(['off', 'ownerless'] as const)('with isolation %s it still answers', async (enforcement) => {
  const template = enforcement === 'ownerless' ? 'before_isolation' : 'isolated';
  const open = await startTestServer({ enforcement, template });
  try {
    const [user, admin] = await Promise.all([open.user(), open.user({ roles: ['user', 'admin'] })]);
    const ids = await fillEveryTable(open, enforcement === 'ownerless' ? undefined : user.id);
    for (const { table } of ownedTables) {
      const path = `/admin/system/${systemNames[table]}`;
      const list = await admin.call('GET', path);
      expect(list.body.items.map((row: { id: string }) => row.id)).toContain(ids[table]);
      expect((await admin.call('GET', `${path}/${ids[table]}`)).body.id).toBe(ids[table]);
      expect((await user.call('GET', path)).status).toBe(403);
    }
    const filtered = await admin.call('GET', `/admin/system/tasks?user_id=${user.id}`);
    expect(filtered.status).toBe(enforcement === 'ownerless' ? 400 : 200);
  } finally {
    await open.close();
  }
});
