import { afterAll, beforeAll, expect, test } from 'vitest';
import { statement } from '../../../test/support/postgres.ts';
import { startTestServer, type TestServer, type TestUser } from '../../../test/support/server.ts';
import { addDependency } from '../../work/task-dependencies.ts';

let server: TestServer;
let ann: TestUser;
let bob: TestUser;

beforeAll(async () => {
  server = await startTestServer();
  [ann, bob] = await Promise.all([server.user(), server.user()]);
});
afterAll(() => server?.close());

async function make(user: TestUser, title: string, dependencies: string[] = []): Promise<string> {
  const made = await user.call('POST', '/api/tasks', { title, description: 'D', dependencies });
  expect(made).toMatchObject({ status: 201 });
  return made.body.id;
}

const link = (id: string, on: string) => ann.call('POST', `/api/tasks/${id}/dependencies`, { depends_on_task_id: on });

test('a dependency is added, listed from both ends and taken away', async () => {
  const [first, second] = [await make(ann, 'First'), await make(ann, 'Second')];
  const added = await link(second, first);
  expect(added).toMatchObject({
    status: 201,
    body: { id: second, dependencies: [first], is_blocked: true, version: 2 },
  });
  expect(await link(second, first)).toMatchObject({ status: 409, body: { code: 'already_exists' } });

  const needs = await ann.call('GET', `/api/tasks/${second}/dependencies`);
  expect(needs.body).toMatchObject({
    items: [{ task_id: second, depends_on_task_id: first, title: 'First', status: 'todo', is_done: false }],
    next_cursor: null,
  });
  const needed = await ann.call('GET', `/api/tasks/${first}/dependencies?direction=dependents`);
  expect(needed.body.items).toMatchObject([{ task_id: second, title: 'Second' }]);

  await ann.call('PATCH', `/api/tasks/${second}`, { status: 'blocked' });
  const path = `/api/tasks/${second}/dependencies/${first}`;
  expect((await ann.call('DELETE', path, undefined, { 'if-match': '"1"' })).status).toBe(412);
  expect(await ann.call('DELETE', path)).toMatchObject({
    status: 200,
    body: { dependencies: [], status: 'todo', version: 4 },
  });
  expect((await ann.call('DELETE', path)).status).toBe(404);
});

test('cycles of any length are refused and named', async () => {
  const ids = [await make(ann, 'T0')];
  for (let i = 1; i < 12; i += 1) ids.push(await make(ann, `T${i}`, [ids[i - 1] ?? '']));
  const [first = '', second = ''] = ids;
  const last = ids.at(-1) ?? '';

  expect(await link(first, first)).toMatchObject({
    status: 409,
    body: { code: 'dependency_cycle', cycle: [{ id: first, title: 'T0' }] },
  });
  expect((await link(first, second)).body).toMatchObject({
    code: 'dependency_cycle',
    detail: `The dependency would close a cycle: "T0" (${first}), "T1" (${second}) and back.`,
    cycle_length: 2,
  });
  const long = await link(first, last);
  expect(long).toMatchObject({ status: 409, body: { code: 'dependency_cycle', cycle_length: 12 } });
  expect(long.body.cycle.map((task: { title: string }) => task.title)).toEqual([
    'T0',
    ...Array.from({ length: 11 }, (_, i) => `T${11 - i}`),
  ]);
  expect((await link(last, first)).status, 'the other way round is none').toBe(201);
});

test('a graph with a great many ways through it is walked once', async () => {
  // Every layer doubles the ways: of the 2^30 from the top to the bottom nobody comes to the end by trying each.
  let [left, right] = [await make(ann, 'bottom'), await make(ann, 'bottom')];
  const bottom = left;
  for (let layer = 0; layer < 30; layer += 1) {
    [left, right] = [await make(ann, 'l', [left, right]), await make(ann, 'r', [left, right])];
  }
  expect(await link(bottom, left)).toMatchObject({ status: 409, body: { cycle_length: 31 } });
});

test('two dependencies that close a cycle together cannot both be added, whichever transaction is first', async () => {
  // b → c and d → a are there; a → b and c → d have no task in common.
  const [a, c] = [await make(ann, 'a'), await make(ann, 'c')];
  const [b, d] = [await make(ann, 'b', [c]), await make(ann, 'd', [a])];
  let other: ReturnType<typeof link> | undefined;
  await server.isolation.withUser(ann.caller, async (scope) => {
    await addDependency(scope, a, b, undefined);
    other = link(c, d);
    await expect.poll(() => lockWaits(), { interval: 20 }).toBe(1);
  });
  expect(await other).toMatchObject({ status: 409, body: { code: 'dependency_cycle', cycle_length: 4 } });
});

async function lockWaits(): Promise<number> {
  const { rows } = await statement(
    server.database.url,
    "select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
  );
  return rows[0].n;
}

test('many at once: what is accepted has no cycle, and nobody deadlocks', async () => {
  const ids = await Promise.all(Array.from({ length: 5 }, (_, i) => make(ann, `n${i}`)));
  const pairs = ids.flatMap((from) => ids.filter((to) => to !== from).map((to) => [from, to] as const));
  const answers = await Promise.all(pairs.map(([from, to]) => link(from, to)));
  expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([201, 409]));
  for (const answer of answers) {
    if (answer.status === 409) expect(answer.body.code).toBe('dependency_cycle');
  }
  // Every pair is joined one way or the other: the most that five tasks can have without a cycle.
  expect(answers.filter((answer) => answer.status === 201)).toHaveLength(10);
});

test('another user’s task is as good as none, at both ends', async () => {
  const [mine, theirs] = [await make(ann, 'mine'), await make(bob, 'theirs')];
  const absent = '01900000-0000-7000-8000-000000000000';
  const headers = { 'x-request-id': 'same-request' };
  const at = (id: string, on: string) =>
    ann.call('POST', `/api/tasks/${id}/dependencies`, { depends_on_task_id: on }, headers);
  const [hidden, missing] = [await at(mine, theirs), await at(mine, absent)];
  expect(hidden).toMatchObject({ status: 404, body: { detail: 'depends_on_task_id: there is no such task.' } });
  expect(hidden.body).toEqual(missing.body);
  expect((await at(theirs, mine)).body).toEqual((await at(absent, mine)).body);
  expect((await ann.call('DELETE', `/api/tasks/${mine}/dependencies/${theirs}`)).status).toBe(404);
});

test('bad input names the field', async () => {
  const id = await make(ann, 'x');
  expect((await ann.call('POST', `/api/tasks/${id}/dependencies`, {})).body.errors[0].field).toBe('depends_on_task_id');
  expect((await ann.call('POST', '/api/tasks/x/dependencies', { depends_on_task_id: id })).body.errors[0].field).toBe(
    'id',
  );
  expect((await ann.call('DELETE', `/api/tasks/${id}/dependencies/x`)).body.errors[0].field).toBe('depends_on_task_id');
  expect((await ann.call('GET', `/api/tasks/${id}/dependencies?direction=up`)).body.errors[0].field).toBe('direction');
});
