import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestServer, type TestServer, type TestUser } from '../../test/support/server.ts';
import { once } from './once.ts';

let server: TestServer;
let ann: TestUser;

beforeAll(async () => {
  server = await startTestServer();
  ann = await server.user();
});
afterAll(() => server?.close());

test('who waits for a key gets it when the first one fails', async () => {
  const request = { key: 'waited-for', hash: createHash('sha256').update('same').digest() };
  const failing = Promise.withResolvers<string>();
  const holding = Promise.withResolvers<void>();
  const first = server.isolation.withUser(ann.caller, (scope) =>
    once(scope, request, 201, () => {
      holding.resolve();
      return failing.promise;
    }),
  );
  await holding.promise;
  const second = server.isolation.withUser(ann.caller, (scope) => once(scope, request, 201, async () => '"second"'));
  failing.reject(new Error('the first one fails'));
  await expect(first).rejects.toThrow('the first one fails');
  await expect(second).resolves.toEqual({ status: 201, body: '"second"', replayed: false });
});
