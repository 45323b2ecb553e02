/** How the identity gets to Postgres: as a value, for one transaction, on one connection, and looked at before all else. */
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { startTestServer, type TestServer, type TestUser } from '../../test/support/server.ts';
import { testSecret } from '../../test/support/templates.ts';
import { openIsolation, type ProductUserScope } from '../database/isolation.ts';
import { appRole, roleUrl, systemRole } from '../database/provision.ts';

let server: TestServer;
let user: TestUser;

beforeAll(async () => {
  server = await startTestServer();
  user = await server.user();
});
afterEach(() => vi.restoreAllMocks());
afterAll(() => server?.close());

const labels = (scope: ProductUserScope) => scope.all(scope.db.selectFrom('labels').select('name'));
const mine = "select current_setting('ringfence.identity', true) as identity";

/** The user's identity as a statement finds it, and where. */
async function identity(): Promise<string> {
  const { rows } = await server.isolation.sqlAs(user.caller, mine, { write: false });
  return String(rows[0]?.identity);
}

/** Looks on: what is sent still goes to Postgres. */
function watch() {
  const sent = vi.spyOn(pg.Client.prototype, 'query');
  return {
    clients: () => new Set(sent.mock.contexts as pg.Client[]),
    texts: () =>
      sent.mock.calls.map(([config]) =>
        typeof config === 'string' ? config : String(Reflect.get(Object(config), 'text')),
      ),
  };
}

test('it stands in no statement’s text', async () => {
  const { texts } = watch();
  await server.isolation.readAsUser(user.caller, labels);
  await server.isolation.withUser(user.caller, labels);
  const all = texts();
  expect(all.filter((text) => text.includes('ringfence.identity'))).toHaveLength(2);
  expect(all.filter((text) => /[0-9a-f]{64}/.test(text))).toEqual([]);
});

test('it is over with its transaction, also before the next one forgets what was left', async () => {
  const { clients } = watch();
  await server.isolation.readAsUser(user.caller, labels);
  await server.isolation.withUser(user.caller, labels);
  const used = [...clients()];
  expect(used.length).toBeGreaterThan(0);
  for (const client of used) expect((await client.query(mine)).rows).toEqual([{ identity: '' }]);
});

test('on another connection it is nobody’s', async () => {
  const stolen = await identity();
  const thief = new pg.Client({ connectionString: roleUrl(server.database.url, appRole, testSecret) });
  await thief.connect();
  try {
    await thief.query('begin');
    const use = thief.query("select set_config('ringfence.identity', $1, true), ringfence.current_user_id()", [stolen]);
    await expect(use).rejects.toMatchObject({ code: 'RF004' });
  } finally {
    await thief.end();
  }
});

describe('one that Postgres does not accept is an error, whatever the statements look at', () => {
  const looks: Record<string, (scope: ProductUserScope) => Promise<unknown>> = {
    'at rows': labels,
    'at nothing': async () => 'served',
  };
  test.each(Object.keys(looks))('%s', async (name) => {
    const { isolation, close } = openIsolation({
      appUrl: roleUrl(server.database.url, appRole, testSecret),
      systemUrl: roleUrl(server.database.url, systemRole, testSecret),
      poolSize: 1,
      secret: 'a secret that this database has never heard of',
      enforcement: 'on',
    });
    const work = looks[name] ?? labels;
    await expect(isolation.readAsUser(user.caller, work)).rejects.toMatchObject({ code: 'RF002' });
    await expect(isolation.withUser(user.caller, work)).rejects.toMatchObject({ code: 'RF002' });
    await close();
  });
});
