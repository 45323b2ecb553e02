/**
 * Every route, called by another user with ids that exist, by the same user with ids that do not, by nobody, and by the
 * owner. The first two must be answered alike and change nothing; it is asked again with each wall taken away.
 */
import { v7 as uuidv7 } from 'uuid';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { withOwner } from '../../src/database/owner.ts';
import { ownedTables, ownership } from '../../src/isolation/owned-tables.ts';
import { type Answer, startTestServer, type TestServer, type TestUser } from '../support/server.ts';
import { fingerprint, plantWorld, type World } from '../support/world.ts';
import { type Move, moves } from './route-moves.ts';

interface Operation {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly access: 'open' | 'read' | 'write' | 'admin';
}

const catalogue = new Map(ownership);
let server: TestServer;
let operations: Operation[];
let ann: TestUser;
let bob: TestUser;
let hers: World;
let nobodys: World;

beforeAll(async () => {
  server = await startTestServer();
  operations = await listOperations();
  [ann, bob] = await Promise.all([server.user(), server.user()]);
  hers = await plantWorld(server.database.url, ann.id);
  await plantWorld(server.database.url, bob.id);
  nobodys = Object.fromEntries(Object.keys(hers).map((key) => [key, uuidv7()])) as World;
});
afterAll(() => server?.close());

async function listOperations(): Promise<Operation[]> {
  const { body } = await server.call('GET', '/openapi.json');
  return Object.entries<Record<string, { security?: { bearer?: Operation['access'][] }[] }>>(body.paths).flatMap(
    ([path, methods]) =>
      Object.entries(methods).map(([method, { security }]) => ({
        name: `${method.toUpperCase()} ${path}`,
        method: method.toUpperCase(),
        path,
        access: security?.[0]?.bearer?.[0] ?? 'open',
      })),
  );
}

function call(user: TestUser | TestServer, { method, path }: Operation, move: Move, world: World): Promise<Answer> {
  const parameters = move.path?.(world) ?? {};
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => parameters[name] ?? 'missing');
  const query = move.query ? `?${move.query(world)}` : '';
  return user.call(method, filled + query, move.body?.(world), { 'x-request-id': 'matrix-request' });
}

/** What a caller can tell apart: status, the headers that speak of the resource, and the body but for the ids it sent. */
function seen(answer: Answer, world: World): unknown {
  const named = Object.entries(world).reduce((text, [key, id]) => text.replaceAll(id, `<${key}>`), answer.text);
  const headers = Object.fromEntries(
    ['etag', 'content-type', 'location', 'link', 'retry-after'].map((h) => [h, answer.headers.get(h)]),
  );
  return { status: answer.status, headers, body: named };
}

const confined = () => operations.filter((o) => o.access === 'read' || o.access === 'write');

test('every route is known to the matrix, and the matrix knows no other', () => {
  expect(operations.length).toBeGreaterThan(80);
  const known = confined().map((o) => o.name);
  expect(known.filter((name) => !(name in moves))).toEqual([]);
  expect(Object.keys(moves).filter((name) => !known.includes(name))).toEqual([]);
});

test('nobody is let in', async () => {
  for (const operation of operations.filter((o) => o.access !== 'open')) {
    const answer = await call(server, operation, moves[operation.name] ?? {}, hers);
    expect(answer, operation.name).toMatchObject({ status: 401, body: { code: 'unauthenticated' } });
    expect(answer.text).not.toContain('canary');
  }
});

test('the open routes are these', () => {
  expect(
    operations
      .filter((o) => o.access === 'open')
      .map((o) => o.name)
      .sort(),
  ).toEqual([
    'GET /docs',
    'GET /health',
    'GET /health/live',
    'GET /health/ready',
    'GET /openapi.json',
    'POST /api/auth/login',
    'POST /api/auth/refresh',
    'POST /api/auth/register',
  ]);
});

/** Another user, with ids of hers and with ids of nobody's. */
async function hidden(): Promise<void> {
  const before = await fingerprint(server.database.url, ann.id);
  for (const operation of confined()) {
    const move = moves[operation.name];
    if (!move || move.harmless) continue;
    const exists = await call(bob, operation, move, hers);
    const absent = await call(bob, operation, move, nobodys);
    expect(seen(exists, hers), operation.name).toEqual(seen(absent, nobodys));
    expect(exists.status, operation.name).toBeLessThan(500);
  }
  expect(await fingerprint(server.database.url, ann.id)).toEqual(before);
}

/** Lists and the like name nobody's ids: they must not show hers. */
async function unseen(): Promise<void> {
  const user = await server.user();
  for (const operation of confined().filter((o) => o.access === 'read')) {
    const answer = await call(user, operation, moves[operation.name] ?? {}, nobodys);
    expect(answer.text, operation.name).not.toContain('canary');
    for (const id of Object.values(hers)) expect(answer.text, operation.name).not.toContain(id);
  }
}

test('the owner is served, each time on a world of its own', async () => {
  for (const operation of confined()) {
    const move = moves[operation.name] ?? {};
    const owner = await server.user();
    const world = await plantWorld(server.database.url, owner.id);
    const answer = await call(owner, operation, move, world);
    const expected = move.owner ?? (answer.status < 300 ? answer.status : 200);
    expect(answer.status, `${operation.name}: ${answer.text}`).toBe(expected);
    // Nothing on the way may keep it and give it to somebody else.
    if (answer.text !== '') expect(answer.headers.get('cache-control'), operation.name).toContain('no-store');
  }
}, 60_000);

describe('administration', () => {
  test('is refused to users who are no administrators, alike for what exists and what does not', async () => {
    for (const operation of operations.filter((o) => o.access === 'admin')) {
      const answer = await server.call('GET', operation.path.replace('{id}', hers.tasks), undefined, {
        authorization: `Bearer ${bob.token}`,
      });
      expect(answer, operation.name).toMatchObject({ status: 403, body: { code: 'admin_required' } });
      expect(answer.text).not.toContain('canary');
    }
  });

  test('shows administrators the rows of every owned table', async () => {
    const admin = await server.user({ roles: ['user', 'admin'] });
    for (const operation of operations.filter((o) => o.access === 'admin' && !o.path.includes('{'))) {
      const answer = await admin.call('GET', operation.path);
      expect(answer.status, operation.name).toBe(200);
      expect(answer.body.items.length, operation.name).toBeGreaterThan(0);
    }
  });
});

test('another user’s rows look like rows that are not there', async () => {
  await hidden();
  await unseen();
});

test('the guide’s query for statements without a user filter finds nothing of the application’s (G56)', async () => {
  const { rows } = await withOwner(server.database.url, (owner) =>
    owner.query(`
      select s.query, s.calls, s.total_exec_time from pg_stat_statements s
      join pg_database d on d.oid = s.dbid and d.datname = current_database()
      join pg_roles r on r.oid = s.userid and r.rolname in ('ringfence_app', 'ringfence_system', 'ringfence_accounts')
      where s.query like '%tasks%' and s.query not like '%user_id%' and s.query not like '%SYSTEM%'`),
  );
  expect(rows).toEqual([]);
});

describe('and with one wall alone', () => {
  afterEach(() => {
    const emptied: unknown = ownership;
    if (emptied instanceof Map) for (const [table, entry] of catalogue) emptied.set(table, entry);
  });

  test('without the owner filter', async () => {
    const emptied: unknown = ownership;
    if (emptied instanceof Map) emptied.clear();
    await hidden();
    await unseen();
  });

  test('without the policies', async () => {
    const policies = (verb: string) =>
      ownedTables.map(({ table }) => `alter table ${table} ${verb} row level security;`);
    await withOwner(server.database.url, (owner) => owner.query(policies('disable').join('')));
    try {
      await hidden();
      await unseen();
    } finally {
      await withOwner(server.database.url, (owner) => owner.query(policies('enable').join('')));
    }
  });
});
