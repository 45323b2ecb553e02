/**
 * Requests of different users share connections, and with them prepared statements. A hostile statement that put one of
 * its own under a name of ours would be run by the next user's request, with that user's identity.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openIsolation, type ProductIsolation, type ProductUserScope } from '../../src/database/isolation.ts';
import { withOwner } from '../../src/database/owner.ts';
import { appRole, roleUrl, systemRole } from '../../src/database/provision.ts';
import { startTestServer, type TestServer, type TestUser } from '../support/server.ts';
import { testSecret } from '../support/templates.ts';

let server: TestServer;
let victim: TestUser;
let attacker: TestUser;
let opened: { isolation: ProductIsolation; close(): Promise<void> } | undefined;

beforeEach(async () => {
  server = await startTestServer();
  [victim, attacker] = await Promise.all([server.user(), server.user()]);
  await victim.call('POST', '/api/labels', { name: 'kept' });
});
afterEach(async () => {
  await opened?.close();
  opened = undefined;
  await server?.close();
});

/** One connection for both, so that each meets what the other left. */
function narrow(): ProductIsolation {
  opened = openIsolation({
    appUrl: roleUrl(server.database.url, appRole, testSecret),
    systemUrl: roleUrl(server.database.url, systemRole, testSecret),
    poolSize: 1,
    secret: testSecret,
    enforcement: 'on',
  });
  return opened.isolation;
}

/** By a parameter, so that it is a prepared statement. */
const labels = (scope: ProductUserScope) =>
  scope.all(scope.db.selectFrom('labels').select('name').where('name', '<>', 'another'));
const hostile = (isolation: ProductIsolation, sql: string) => isolation.sqlAs(attacker.caller, sql, { write: true });

async function namesOf(isolation: ProductIsolation): Promise<{ name: string; types: string }[]> {
  const { rows } = await hostile(
    isolation,
    `select name, translate(parameter_types::text, '{}', '()') as types from pg_prepared_statements
     where statement ~ '"labels"' and not from_sql`,
  );
  return rows.map((row) => ({ name: String(row.name), types: String(row.types) }));
}

test('the names are out of the application’s sight', async () => {
  const isolation = narrow();
  expect(await isolation.withUser(victim.caller, labels)).toEqual([{ name: 'kept' }]);
  await expect(namesOf(isolation)).rejects.toMatchObject({ code: '42501' });
});

test('the names are of one connection, and cannot be guessed', async () => {
  await withOwner(server.database.url, (owner) =>
    owner.query(`grant execute on function pg_prepared_statement() to ${appRole}`),
  );
  const names: string[] = [];
  for (let connection = 0; connection < 2; connection += 1) {
    const isolation = narrow();
    await isolation.withUser(victim.caller, labels);
    names.push(...(await namesOf(isolation)).map(({ name }) => name));
    await opened?.close();
    opened = undefined;
  }
  expect(names).toEqual([expect.stringMatching(/^rf[0-9a-f]{24}_\d+$/), expect.stringMatching(/^rf/)]);
  expect(names[0]).not.toBe(names[1]);
});

describe('where an owner who is no superuser cannot hide the names', () => {
  beforeEach(() =>
    withOwner(server.database.url, (owner) =>
      owner.query(`grant execute on function pg_prepared_statement() to ${appRole}`),
    ),
  );

  test.each(['withUser', 'readAsUser'] as const)('a statement under one of them is not run: %s', async (verb) => {
    const isolation = narrow();
    expect(await isolation[verb](victim.caller, labels)).toEqual([{ name: 'kept' }]);
    const [target] = await namesOf(isolation);
    if (target === undefined) throw new Error('no prepared statement to take the place of');
    await hostile(isolation, `deallocate ${target.name}`);
    await hostile(isolation, `prepare ${target.name} ${target.types} as delete from labels returning name`).catch(
      () => {},
    );
    // At worst the request fails; the connection is given up, and the next one is answered.
    await isolation[verb](victim.caller, labels).catch(() => {});
    expect(await isolation[verb](victim.caller, labels)).toEqual([{ name: 'kept' }]);
  });
});

test('taking all prepared statements away costs one request, not the connection for good', async () => {
  const isolation = narrow();
  await isolation.withUser(victim.caller, labels);
  await hostile(isolation, 'deallocate all');
  await isolation.withUser(victim.caller, labels).catch(() => {});
  expect(await isolation.withUser(victim.caller, labels)).toEqual([{ name: 'kept' }]);
});
