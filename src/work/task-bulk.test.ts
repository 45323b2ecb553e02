import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestServer, type TestServer, type TestUser } from '../../test/support/server.ts';

let server: TestServer;
let ann: TestUser;
beforeAll(async () => {
  server = await startTestServer();
  ann = await server.user();
});
afterAll(() => server?.close());

test('a creation that fails is told as what it is each time, and takes nothing else along', async () => {
  const nowhere = '01900000-0000-7000-8000-000000000000';
  const task = { title: 'T', description: 'D' };
  const operations = [
    { op: 'create', task },
    { op: 'create', task: { ...task, git_branch_id: nowhere } },
  ];
  const answers = await Promise.all(
    Array.from({ length: 150 }, () => ann.call('POST', '/api/tasks/bulk', { operations })),
  );
  const seen = answers.map(({ status, body }) =>
    [status, body.results?.map((result: { status: number }) => result.status) ?? body.detail].join(' '),
  );
  expect([...new Set(seen)]).toEqual(['200 201,404']);
});
