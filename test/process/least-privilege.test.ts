/** DATABASE_APP_URL and DATABASE_SYSTEM_URL: the server never sees the owner, changes nothing and checks everything. */
import { randomBytes } from 'node:crypto';
import { expect, test, vi } from 'vitest';
import { withOwner } from '../../src/database/owner.ts';
import { closeDatabase, roleUrl } from '../../src/database/provision.ts';
import { createDatabase, statement } from '../support/postgres.ts';
import { ringfence, serving, temporaryDirectory } from '../support/ringfence.ts';
import { testSecret } from '../support/templates.ts';

// A dozen processes one after the other, on a machine that may be doing other things.
vi.setConfig({ testTimeout: 120_000 });

const dataDir = temporaryDirectory();

function envOf(ownerUrl: string) {
  return {
    DATABASE_APP_URL: roleUrl(ownerUrl, 'ringfence_app', testSecret),
    DATABASE_SYSTEM_URL: roleUrl(ownerUrl, 'ringfence_system', testSecret),
    JWT_SECRET_KEY: testSecret,
    DATA_DIR: dataDir,
    PORT: '0',
  };
}

test('it serves through the two log-ins alone', async () => {
  const database = await createDatabase('isolated');
  await withOwner(database.url, closeDatabase);
  const server = await serving(envOf(database.url));
  expect(await (await fetch(`${server.url}/health`)).json()).toMatchObject({ status: 'ok', isolation: 'enforced' });
  expect(await server.end()).toMatchObject({ code: 0 });
  await database.drop();
});

test('a secret whose key is not installed is refused, with what to do', async () => {
  const database = await createDatabase('isolated');
  await withOwner(database.url, closeDatabase);
  const env = { ...envOf(database.url), JWT_SECRET_KEY: randomBytes(48).toString('base64url') };
  const refused = await ringfence(['serve'], { env });
  expect(refused).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^ringfence: JWT_SECRET_KEY: .*migrate up/m),
  });
  await database.drop();
});

test('a log-in above the policies is refused, by name and reason', async () => {
  const database = await createDatabase('isolated');
  await withOwner(database.url, closeDatabase);
  const refused = await ringfence(['serve'], { env: { ...envOf(database.url), DATABASE_APP_URL: database.url } });
  expect(refused).toMatchObject({ code: 3, stderr: expect.stringMatching(/^ringfence: \w+ is a superuser/m) });
  await statement(database.url, 'alter table tasks no force row level security');
  const unforced = await ringfence(['serve'], { env: envOf(database.url) });
  expect(unforced).toMatchObject({ code: 3, stderr: expect.stringMatching(/tasks does not force row-level security/) });
  await database.drop();
});

test('a schema before isolation is refused, and left as it is', async () => {
  const database = await createDatabase('before_isolation');
  const owner = { DATABASE_APP_URL: database.url, DATABASE_SYSTEM_URL: database.url };
  const refused = await ringfence(['serve'], { env: { ...envOf(database.url), ...owner } });
  expect(refused).toMatchObject({ code: 3, stderr: expect.stringMatching(/schema is at version 2 .*migrate up/) });
  const { rows } = await statement(database.url, 'select max(version) as version from ringfence_migrations');
  expect(rows[0].version).toBe(2);
  await database.drop();
});
