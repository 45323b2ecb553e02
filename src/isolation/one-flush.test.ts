/** How often isolation makes a request wait for Postgres (I6), counted between the two. */
import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { startTestServer, type TestServer, type TestUser } from '../../test/support/server.ts';
import { testSecret } from '../../test/support/templates.ts';
import { openIsolation, type ProductIsolation, type ProductUserScope } from '../database/isolation.ts';
import { appRole, roleUrl, systemRole } from '../database/provision.ts';

let server: TestServer;
let user: TestUser;
let opened: { isolation: ProductIsolation; close(): Promise<void> };
let isolation: ProductIsolation;
/** How often the client has sent something after it had got something. */
let turns = 0;
const closers: (() => unknown)[] = [];

/** Stands between the client and Postgres and counts. @returns the port to go to instead */
async function counter(port: number): Promise<number> {
  const relay = createServer((client) => {
    const postgres = dial(port, '127.0.0.1');
    let heard = true;
    client.on('data', (sent) => {
      if (heard) turns += 1;
      heard = false;
      postgres.write(sent);
    });
    postgres.on('data', (answer) => {
      heard = true;
      client.write(answer);
    });
    for (const [one, other] of [
      [client, postgres],
      [postgres, client],
    ] as const) {
      one.on('error', () => {});
      one.on('close', () => other.destroy());
    }
  }).listen(0, '127.0.0.1');
  closers.push(() => relay.close());
  await once(relay, 'listening');
  return (relay.address() as AddressInfo).port;
}

beforeAll(async () => {
  server = await startTestServer();
  user = await server.user();
  const through = new URL(server.database.url);
  through.port = String(await counter(Number(through.port)));
  opened = openIsolation({
    appUrl: roleUrl(through.href, appRole, testSecret),
    systemUrl: roleUrl(through.href, systemRole, testSecret),
    poolSize: 1,
    secret: testSecret,
    enforcement: 'on',
  });
  ({ isolation } = opened);
  await isolation.readAsUser(user.caller, several);
});
beforeEach(() => {
  turns = 0;
});
afterAll(async () => {
  await opened?.close();
  for (const close of closers) close();
  await server?.close();
});

const labels = (scope: ProductUserScope) => scope.all(scope.db.selectFrom('labels').select('name'));
const several = (scope: ProductUserScope) => Promise.all([labels(scope), labels(scope), labels(scope)]);

test('a read waits once, from BEGIN to COMMIT, however many statements it has', async () => {
  expect(await isolation.readAsUser(user.caller, several)).toEqual([[], [], []]);
  expect(turns).toBe(1);
});

test('a write waits once for its statements, and once for its COMMIT', async () => {
  await isolation.withUser(user.caller, several);
  expect(turns).toBe(2);
});
