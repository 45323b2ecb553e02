import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { statement } from '../../test/support/postgres.ts';
import { startTestServer, type TestServer } from '../../test/support/server.ts';
import { testSecret } from '../../test/support/templates.ts';
import { plantWorld } from '../../test/support/world.ts';
import type { ProductUserScope } from '../database/isolation.ts';
import { deriveIdentityKey, identityLifetimeMs, mintIdentity } from '../isolation/identity.ts';
import { OwnedDataRepository } from './owned-data.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server?.close());

interface Backend {
  readonly pid: number;
  readonly now: number;
}

async function backend(scope: ProductUserScope): Promise<Backend> {
  const found = await scope.first<Backend>(
    scope.db.selectNoFrom([
      sql<number>`pg_backend_pid()`.as('pid'),
      sql<number>`extract(epoch from clock_timestamp())::float8 * 1000`.as('now'),
    ]),
  );
  if (!found) throw new Error('no answer');
  return found;
}

/** Replaces the identity of the open transaction by one that expires so many milliseconds from now. */
async function shorten(scope: ProductUserScope, lifeMs: number): Promise<number> {
  const { pid, now } = await backend(scope);
  const expiry = Math.floor(now) + lifeMs;
  const key = deriveIdentityKey(testSecret);
  const identity = mintIdentity(key, scope.caller.userId, pid, expiry - identityLifetimeMs);
  await scope.first(scope.db.selectNoFrom(sql`set_config('ringfence.identity', ${identity}, true)`.as('identity')));
  return expiry;
}

test('an export that takes longer than its identity lives is whole', async () => {
  const user = await server.user();
  await plantWorld(server.database.url, user.id);
  // More than one fetch, in the first table of all that can hold many rows and in the last but one.
  for (const table of ['sessions', 'labels']) {
    const columns = table === 'labels' ? 'name' : 'token_hash, expires_at';
    const values = table === 'labels' ? `'label ' || n` : `decode(repeat('00', 32), 'hex'), now() + interval '1 day'`;
    await statement(
      server.database.url,
      `insert into ${table} (user_id, id, ${columns})
       select '${user.id}', gen_random_uuid(), ${values} from generate_series(1, 120) n`,
    );
  }
  const rows = await server.isolation.withUser(user.caller, async (scope) => {
    const data = new OwnedDataRepository(scope);
    const expiry = await shorten(scope, 800);
    await data.openExport();
    while ((await backend(scope)).now <= expiry);
    const read = [];
    for (let some = await data.nextRows(); some.length > 0; some = await data.nextRows()) read.push(...some);
    return read;
  });
  const counts = Map.groupBy(rows, (row) => row.table_name);
  expect(rows.every(({ row }) => typeof JSON.parse(row) === 'object')).toBe(true);
  expect(counts.get('users')).toHaveLength(1);
  expect(counts.get('sessions')).toHaveLength(122);
  expect(counts.get('labels')).toHaveLength(121);
  expect(counts.get('task_contexts_unified')).toHaveLength(1);
});

test('rows come in the order of their ids, wherever they lie in their table', async () => {
  const user = await server.user();
  const place = (n: number) => `0190abcd-0000-7000-8000-00000000000${n}`;
  for (const n of [3, 1, 2]) {
    await statement(
      server.database.url,
      `insert into labels (user_id, id, name) values ('${user.id}', '${place(n)}', 'label ${n}');
       insert into user_access_log (user_id, id, at, actor, operation, outcome)
         values ('${user.id}', gen_random_uuid(), now() + interval '${n} hours', 'test', 'label ${n}', 'ok')`,
    );
  }
  const rows = await server.isolation.withUser(user.caller, async (scope) => {
    const data = new OwnedDataRepository(scope);
    await data.openExport();
    return data.nextRows();
  });
  const of = (table: string) => rows.filter(({ table_name }) => table_name === table).map(({ row }) => JSON.parse(row));
  expect(of('labels').map(({ id }) => id)).toEqual([place(1), place(2), place(3)]);
  expect(of('user_access_log').map(({ operation }) => operation)).toEqual(['label 1', 'label 2', 'label 3']);
});
