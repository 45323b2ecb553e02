import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestServer, type TestServer, type TestUser } from '../../test/support/server.ts';
import { withOwner } from '../database/owner.ts';

let server: TestServer;
let user: TestUser;
beforeAll(async () => {
  server = await startTestServer();
  user = await server.user();
});
afterAll(() => server?.close());

test('of a fault of ours the answer has the request’s id, and nothing of what it is', async () => {
  await withOwner(server.database.url, (owner) => owner.query('alter table labels rename to elsewhere'));
  const answer = await user.call('GET', '/api/labels', undefined, { 'x-request-id': 'to-be-looked-up' });
  expect(answer).toMatchObject({ status: 500, body: { code: 'internal_error', request_id: 'to-be-looked-up' } });
  expect(answer.text).not.toMatch(/labels|relation|42P01|select/);
});
