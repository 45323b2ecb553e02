import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { statement } from '../../test/support/postgres.ts';
import { startTestServer, type TestServer } from '../../test/support/server.ts';
import { systemClock } from '../clock.ts';
import { createApiTokenCheck } from './api-token-check.ts';
import { mintOpaqueToken } from './opaque-token.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server?.close());

test('uses that nobody follows are written when the interval is over, and do not lengthen the next', async () => {
  const ann = await server.user();
  const id = uuidv7();
  const { token, hash } = mintOpaqueToken('api', ann.id, id);
  await statement(
    server.database.url,
    `insert into api_tokens (user_id, id, name, token_hash, scopes)
     values ('${ann.id}', '${id}', 'x', decode('${hash.toString('hex')}', 'hex'), '{read,admin}')`,
  );
  const check = createApiTokenCheck(server.isolation, systemClock, 300);
  const usage = async () => {
    const { rows } = await statement(
      server.database.url,
      `select usage_count::int as n from api_tokens where id = '${id}'`,
    );
    return rows[0].n;
  };
  for (let i = 0; i < 4; i += 1) {
    expect(await check(token, 'request')).toMatchObject({
      userId: ann.id,
      actor: 'token',
      scopes: ['read'],
      credentialId: id,
    });
  }
  await expect.poll(() => usage()).toBe(4);
  await check(token, 'request');
  await expect.poll(() => usage()).toBe(5);
});

test('uses are counted by user and token: another user’s token may have the same id', async () => {
  const [ann, bob] = await Promise.all([server.user(), server.user()]);
  const id = uuidv7();
  const tokens = [ann, bob].map((user) => ({ user, ...mintOpaqueToken('api', user.id, id) }));
  for (const { user, hash } of tokens) {
    await statement(
      server.database.url,
      `insert into api_tokens (user_id, id, name, token_hash, scopes)
       values ('${user.id}', '${id}', 'x', decode('${hash.toString('hex')}', 'hex'), '{read}')`,
    );
  }
  const check = createApiTokenCheck(server.isolation, systemClock, 300);
  const [hers, his] = tokens.map(
    ({ token }) =>
      () =>
        check(token, 'request'),
  );
  await hers?.();
  for (let i = 0; i < 3; i += 1) await his?.();
  const usage = async () => {
    const { rows } = await statement(
      server.database.url,
      `select user_id, usage_count::int as n from api_tokens where id = '${id}'`,
    );
    return Object.fromEntries(rows.map(({ user_id, n }) => [user_id, n]));
  };
  await expect.poll(() => usage()).toEqual({ [ann.id]: 1, [bob.id]: 3 });
});
