/** USER_ISOLATION_ENABLED=false, the guide's immediate rollback (G59), on the schema with owners and on the one before. */
import { expect, test, vi } from 'vitest';
import { createDatabase, statement } from '../support/postgres.ts';
import { type ServingProcess, serving, temporaryDirectory } from '../support/ringfence.ts';
import { testSecret } from '../support/templates.ts';

// A dozen processes one after the other, on a machine that may be doing other things.
vi.setConfig({ testTimeout: 120_000 });

const dataDir = temporaryDirectory();

interface Person {
  readonly id: string;
  // biome-ignore lint/suspicious/noExplicitAny: answers of every shape
  call(method: string, path: string, body?: unknown): Promise<{ status: number; body: any }>;
}

async function person(server: ServingProcess, name: string, verb: 'register' | 'login'): Promise<Person> {
  const account = { email: `${name}@example.com`, password: `${name} has a pass phrase` };
  const response = await fetch(`${server.url}/api/auth/${verb}`, {
    method: 'POST',
    body: JSON.stringify(verb === 'register' ? { ...account, name } : account),
  });
  // biome-ignore lint/suspicious/noExplicitAny: answers of every shape
  const { user, access_token: token }: any = await response.json();
  return {
    id: user.id,
    async call(method, path, body) {
      const answer = await fetch(`${server.url}${path}`, {
        method,
        headers: { authorization: `Bearer ${token}` },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await answer.text();
      return { status: answer.status, body: text === '' ? undefined : JSON.parse(text) };
    },
  };
}

const titles = async (someone: Person) =>
  (await someone.call('GET', '/api/tasks?sort=created_at')).body.items.map((task: { title: string }) => task.title);

test('on the schema with owners: everybody sees everything, owners are recorded, and on again loses nothing', async () => {
  const database = await createDatabase('isolated');
  const env = { DATABASE_URL: database.url, JWT_SECRET_KEY: testSecret, DATA_DIR: dataDir };
  let server = await serving(env);
  const ann = await person(server, 'ann', 'register');
  const bob = await person(server, 'bob', 'register');
  await ann.call('POST', '/api/tasks', { title: 'of Ann', description: 'a test' });
  await bob.call('POST', '/api/tasks', { title: 'of Bob', description: 'a test' });
  expect([await titles(ann), await titles(bob)]).toEqual([['of Ann'], ['of Bob']]);
  const project = await ann.call('POST', '/api/projects', { name: 'Apollo' });
  await server.end();

  server = await serving({ ...env, USER_ISOLATION_ENABLED: 'false' });
  expect(server.welcome).toContain('USER ISOLATION IS OFF');
  expect(await (await fetch(`${server.url}/health`)).json()).toMatchObject({ status: 'ok', isolation: 'disabled' });
  expect((await fetch(`${server.url}/api/tasks`)).status).toBe(401);
  const openBob = await person(server, 'bob', 'login');
  expect(await titles(openBob)).toEqual(['of Ann', 'of Bob']);
  await openBob.call('POST', '/api/tasks', { title: 'made by Bob while off', description: 'a test' });
  // A branch in Ann's project is Ann's, whoever makes it.
  const branch = await openBob.call('POST', '/api/branches', { project_id: project.body.id, name: 'side' });
  expect(branch.status).toBe(201);
  expect(await server.end()).toMatchObject({ code: 0, stdout: expect.stringContaining('ISOLATION_DISABLED') });
  const { rows } = await statement(
    database.url,
    `select user_id from project_git_branchs where id = '${branch.body.id}'`,
  );
  expect(rows).toEqual([{ user_id: ann.id }]);

  server = await serving(env);
  const again = [await person(server, 'ann', 'login'), await person(server, 'bob', 'login')] as const;
  expect(await titles(again[0])).toEqual(['of Ann']);
  expect(await titles(again[1])).toEqual(['of Bob', 'made by Bob while off']);
  await server.end();
  await database.drop();
});

test('on the schema before: it is served as it is, and 003 is not applied by itself', async () => {
  const database = await createDatabase('before_isolation');
  const env = { DATABASE_URL: database.url, JWT_SECRET_KEY: testSecret, DATA_DIR: dataDir };
  const version = async () =>
    (await statement(database.url, 'select max(version) as version from ringfence_migrations')).rows[0].version;

  let server = await serving({ ...env, USER_ISOLATION_ENABLED: 'false' });
  expect(server.welcome).toContain('USER ISOLATION IS OFF');
  expect(await version()).toBe(2);
  const ann = await person(server, 'ann', 'register');
  const bob = await person(server, 'bob', 'register');
  await ann.call('POST', '/api/projects', { name: 'Apollo' });
  await ann.call('POST', '/api/tasks', { title: 'of Ann', description: 'a test' });
  expect(await titles(bob)).toEqual(['of Ann']);
  expect(await (await fetch(`${server.url}/health`)).json()).toMatchObject({
    isolation: 'disabled',
    migration: { version: 2 },
  });
  await server.end();

  // Switching it on brings the owners; whose the rows of before are, nobody knows.
  server = await serving(env);
  expect(await version()).toBe(3);
  expect(await titles(await person(server, 'ann', 'login'))).toEqual([]);
  await server.end();
  const { rows } = await statement(database.url, 'select count(*)::int as n from tasks');
  expect(rows[0].n).toBe(1);
  await database.drop();
});
