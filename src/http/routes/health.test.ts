import { afterAll, beforeAll, expect, test } from 'vitest';
import { statement } from '../../../test/support/postgres.ts';
import { startTestServer, type TestServer } from '../../../test/support/server.ts';
import { version } from '../../version.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server?.close());

test('health tells the state and no secret, without a token', async () => {
  for (const path of ['/health', '/health/ready']) {
    const { status, body } = await server.call('GET', path);
    expect(status).toBe(200);
    expect(body).toEqual({
      status: 'ok',
      version,
      uptime_seconds: expect.any(Number),
      database: 'reachable',
      migration: { version: 3, latest: 3 },
      isolation: 'enforced',
    });
  }
  expect(await server.call('GET', '/health/live')).toMatchObject({ status: 200, body: { status: 'ok' } });
  const head = await fetch(`${server.url}/health`, { method: 'HEAD' });
  expect([head.status, await head.text()]).toEqual([200, '']);
});

test('however often it is asked, the database is asked once a second', async () => {
  const counted = async () => {
    const { rows } = await statement(
      server.database.url,
      `select coalesce(sum(calls), 0)::int as n from pg_stat_statements s join pg_database d on d.oid = s.dbid
       where d.datname = current_database() and query like '%ringfence_migrations%' and query like '/* SYSTEM: health%'`,
    );
    return rows[0].n;
  };
  await statement(server.database.url, 'create extension if not exists pg_stat_statements');
  const before = await counted();
  const began = performance.now();
  await Promise.all(Array.from({ length: 200 }, () => server.call('GET', '/health')));
  // One at the beginning, one for each second begun since.
  expect((await counted()) - before).toBeLessThanOrEqual(2 + (performance.now() - began) / 1_000);
});

test('on a schema that it cannot serve from, it is not ready but alive', async () => {
  const broken = await startTestServer();
  try {
    await statement(broken.database.url, 'delete from ringfence_migrations where version = 3');
    expect(await broken.call('GET', '/health')).toMatchObject({
      status: 503,
      body: { status: 'unavailable', database: 'reachable', migration: { version: 2 } },
    });
    expect((await broken.call('GET', '/health/live')).status).toBe(200);
  } finally {
    await broken.close();
  }
});

test.each([
  ['off', 'isolated', 3],
  ['ownerless', 'before_isolation', 2],
] as const)('isolation that is %s is shown', async (enforcement, template, schema) => {
  const open = await startTestServer({ enforcement, template });
  try {
    expect(await open.call('GET', '/health')).toMatchObject({
      status: 200,
      body: { isolation: 'disabled', migration: { version: schema } },
    });
  } finally {
    await open.close();
  }
});
