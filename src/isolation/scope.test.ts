import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { startTestServer, type TestServer, type TestUser } from '../../test/support/server.ts';
import { testSecret } from '../../test/support/templates.ts';
import { openIsolation, type ProductUserScope } from '../database/isolation.ts';
import { appRole, roleUrl, systemRole } from '../database/provision.ts';
import { DeadHandleError } from './connection.ts';
import { deriveIdentityKey, identityLifetimeMs, mintIdentity } from './identity.ts';
import type { Caller } from './scope.ts';

let server: TestServer;
let ann: TestUser;
let bob: TestUser;

beforeAll(async () => {
  server = await startTestServer();
  [ann, bob] = await Promise.all([server.user(), server.user()]);
  await ann.call('POST', '/api/projects', { name: 'Ann’s' });
  await bob.call('POST', '/api/projects', { name: 'Bob’s' });
});
afterAll(() => server?.close());

const names = (scope: ProductUserScope) => scope.all(scope.db.selectFrom('projects').select('name'));

async function owner<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: server.database.url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** An isolation with connections of its own, one each, so that every scope meets the same one. */
function narrow() {
  return openIsolation({
    appUrl: roleUrl(server.database.url, appRole, testSecret),
    systemUrl: roleUrl(server.database.url, systemRole, testSecret),
    poolSize: 1,
    secret: testSecret,
    enforcement: 'on',
  });
}

describe('no user is never system mode (I2)', () => {
  test.each([null, undefined, '', 'nobody', '00000000', {}])('a caller whose user is %j', async (userId) => {
    const caller = { ...ann.caller, userId } as unknown as Caller;
    await expect(server.isolation.withUser(caller, names)).rejects.toThrow(TypeError);
    await expect(server.isolation.readAsUser(caller, names)).rejects.toThrow(TypeError);
    await expect(server.isolation.asSystem({ actor: caller, reason: 'x' }, async () => 1)).rejects.toThrow(TypeError);
    await expect(server.isolation.sqlAs(caller, 'select 1', { write: false })).rejects.toThrow(TypeError);
  });

  test.each([null, undefined])('no caller at all: %j', async (caller) => {
    await expect(server.isolation.withUser(caller as unknown as Caller, names)).rejects.toThrow(TypeError);
  });
});

test('a transaction that outlives its identity gets another: what expires is nobody’s, in silence', async () => {
  const { isolation, close } = narrow();
  const now = performance.now.bind(performance);
  const seen = await isolation.withUser(ann.caller, async (scope) => {
    const backend = await scope.first<{ pid: number; now: number }>(
      scope.db.selectNoFrom([
        sql<number>`pg_backend_pid()`.as('pid'),
        sql<number>`extract(epoch from clock_timestamp())::float8 * 1000`.as('now'),
      ]),
    );
    if (!backend) throw new Error('no answer');
    const key = deriveIdentityKey(testSecret);
    const expired = mintIdentity(key, ann.id, backend.pid, backend.now - identityLifetimeMs - 1);
    await scope.first(scope.db.selectNoFrom(sql`set_config('ringfence.identity', ${expired}, true)`.as('identity')));
    const silent = await names(scope);
    const later = vi.spyOn(performance, 'now').mockImplementation(() => now() + identityLifetimeMs / 2 + 1);
    try {
      return [silent, await names(scope)];
    } finally {
      later.mockRestore();
    }
  });
  expect(seen).toEqual([[], [{ name: 'Ann’s' }]]);
  await close();
});

describe('a transaction’s end is the handle’s end (I6)', () => {
  test('after commit, rollback and seal', async () => {
    const kept: ProductUserScope[] = [];
    const keep = async (scope: ProductUserScope) => {
      kept.push(scope);
      return names(scope);
    };
    await server.isolation.withUser(ann.caller, keep);
    await server.isolation.readAsUser(ann.caller, keep);
    await server.isolation
      .withUser(ann.caller, async (scope) => {
        await keep(scope);
        throw new Error('on purpose');
      })
      .catch(() => {});
    expect(kept).toHaveLength(3);
    for (const scope of kept) await expect(names(scope)).rejects.toThrow(DeadHandleError);
  });

  test('a read that waits before its last statement is refused, not run elsewhere', async () => {
    const late = server.isolation.readAsUser(ann.caller, async (scope) => {
      await names(scope);
      return names(scope);
    });
    await expect(late).rejects.toThrow(DeadHandleError);
  });

  test('a read may not write', async () => {
    const write = server.isolation.readAsUser(ann.caller, (scope) =>
      scope.run(scope.db.updateTable('projects').set({ name: 'changed' })),
    );
    await expect(write).rejects.toMatchObject({ code: '25006' });
  });

  test('what threw is rolled back, and the connection goes on to serve the next', async () => {
    const { isolation, close } = narrow();
    await isolation
      .withUser(ann.caller, async (scope) => {
        await scope.run(scope.db.updateTable('projects').set({ name: 'gone' }));
        throw new Error('on purpose');
      })
      .catch(() => {});
    expect(await isolation.readAsUser(bob.caller, names)).toEqual([{ name: 'Bob’s' }]);
    expect(await isolation.readAsUser(ann.caller, names)).toEqual([{ name: 'Ann’s' }]);
    await close();
  });

  test('a failed statement whose error was swallowed cannot commit in silence', async () => {
    const attempt = server.isolation.withUser(ann.caller, async (scope) => {
      await scope.run(scope.db.updateTable('projects').set({ name: 'half' }));
      await scope.all(scope.db.selectFrom('projects').select(sql`1 / 0`.as('n'))).catch(() => {});
    });
    await expect(attempt).rejects.toThrow('the transaction was rolled back');
    expect(await server.isolation.readAsUser(ann.caller, names)).toEqual([{ name: 'Ann’s' }]);
  });
});

describe('a pool of one, and two users', () => {
  test('interleaved scopes never see each other’s rows', async () => {
    const { isolation, close } = narrow();
    const seen = await Promise.all(
      Array.from({ length: 60 }, (_, i) => isolation.readAsUser(i % 2 ? ann.caller : bob.caller, names)),
    );
    seen.forEach((rows, i) => {
      expect(rows).toEqual([{ name: i % 2 ? 'Ann’s' : 'Bob’s' }]);
    });
    await close();
  });

  test('a backend that is killed in the middle poisons the handle; the next user gets a fresh connection', async () => {
    const { isolation, close } = narrow();
    let dead: ProductUserScope | undefined;
    const killed = isolation.withUser(ann.caller, async (scope) => {
      dead = scope;
      const rows = await scope.all<{ pid: number }>(
        scope.db.selectFrom('projects').select(sql<number>`pg_backend_pid()`.as('pid')),
      );
      await owner((client) => client.query('select pg_terminate_backend($1, 5000)', [rows[0]?.pid]));
      return names(scope);
    });
    await expect(killed).rejects.toThrow();
    expect(await isolation.readAsUser(bob.caller, names)).toEqual([{ name: 'Bob’s' }]);
    if (!dead) throw new Error('never ran');
    await expect(names(dead)).rejects.toThrow(DeadHandleError);
    await close();
  });

  test.each(['readAsUser', 'withUser'] as const)('a clock that stood still costs a connection one %s', async (how) => {
    const { isolation, close } = narrow();
    await isolation[how](ann.caller, names);
    const now = performance.now.bind(performance);
    // As after a suspended machine: identities look an hour old to the database.
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() - 3_600_000);
    await expect(isolation[how](ann.caller, names)).rejects.toMatchObject({ code: 'RF003' });
    expect(await isolation[how](ann.caller, names)).toEqual([{ name: 'Ann’s' }]);
    clock.mockRestore();
    await close();
  });

  test('a setting that a statement left behind on the connection changes nobody’s identity', async () => {
    const { isolation, close } = narrow();
    const spoil = `select set_config('ringfence.identity', '${ann.id}', false)`;
    await isolation.sqlAs(bob.caller, spoil, { write: true });
    expect(await isolation.readAsUser(ann.caller, names)).toEqual([{ name: 'Ann’s' }]);
    expect(await isolation.readAsUser(bob.caller, names)).toEqual([{ name: 'Bob’s' }]);
    await close();
  });
});

describe('what a statement leaves on its connection', () => {
  const settings = {
    client_encoding: 'LATIN1',
    search_path: 'pg_catalog',
    row_security: 'off',
    default_transaction_read_only: 'on',
    // Longer than a COMMIT or a BEGIN takes on a busy machine: a shorter one cancels these now and then.
    statement_timeout: '5000',
    TimeZone: 'Asia/Tokyo',
  };

  test.each(Object.entries(settings))('%s = %s is forgotten before the next user', async (name, value) => {
    const { isolation, close } = narrow();
    const fresh = await isolation.sqlAs(bob.caller, `select current_setting('${name}') as v`, { write: false });
    await isolation.sqlAs(ann.caller, `select set_config('${name}', '${value}', false)`, { write: true });
    const seen = await isolation.sqlAs(bob.caller, `select current_setting('${name}') as v`, { write: false });
    expect(seen.rows).toEqual(fresh.rows);
    expect(await isolation.readAsUser(bob.caller, names)).toEqual([{ name: 'Bob’s' }]);
    // What BEGIN takes from the session's defaults is not taken from these.
    await isolation.sqlAs(ann.caller, `select set_config('${name}', '${value}', false)`, { write: true });
    const write = isolation.sqlAs(bob.caller, 'update projects set name = name', { write: true });
    expect(await write).toMatchObject({ count: 1 });
    await close();
  });

  test('it is forgotten in one message with BEGIN: a pooler could do two messages on two backends', async () => {
    const { isolation, close } = narrow();
    await isolation.readAsUser(bob.caller, names);
    const query = vi.spyOn(pg.Client.prototype, 'query');
    await isolation.readAsUser(bob.caller, names);
    expect(query.mock.calls[0]).toEqual([
      expect.objectContaining({ text: expect.stringMatching(/^begin .*; reset all; close all; .*unlisten/) }),
    ]);
    query.mockRestore();
    await close();
  });

  test('a transaction that cannot begin says why, and its connection is not used again', async () => {
    const { isolation, close } = narrow();
    const backend = () => isolation.sqlAs(bob.caller, 'select pg_backend_pid() as pid', { write: false });
    const { rows } = await backend();
    const original = pg.Client.prototype.query;
    const query = vi.spyOn(pg.Client.prototype, 'query').mockImplementationOnce(function (this: pg.Client) {
      return Reflect.apply(original, this, [{ text: 'begin; select 1 / 0' }]);
    });
    await expect(isolation.readAsUser(bob.caller, names)).rejects.toMatchObject({ code: '22012' });
    query.mockRestore();
    expect((await backend()).rows).not.toEqual(rows);
    await close();
  });

  test('session locks are let go', async () => {
    const { isolation, close } = narrow();
    await isolation.sqlAs(ann.caller, 'select pg_advisory_lock(4711)', { write: true });
    await isolation.readAsUser(bob.caller, names);
    expect((await owner((client) => client.query('select pg_try_advisory_lock(4711) as free'))).rows).toEqual([
      { free: true },
    ]);
    await close();
  });
});

test('a statement is one statement, also without parameters', async () => {
  const two = server.isolation.withAccounts('two in one', (scope) =>
    scope.all(scope.db.selectFrom('users').select(sql<number>`1; select 2`.as('n'))),
  );
  await expect(two).rejects.toMatchObject({ code: '42601' });
});

describe('faults that end nothing', () => {
  test('work that throws before it returns a promise, for somebody who may not act', async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown) => unhandled.push(error);
    process.on('unhandledRejection', note);
    const caller = { ...ann.caller, sessionId: bob.id };
    const thrower = () => {
      throw new Error('at once');
    };
    await expect(server.isolation.withUser(caller, thrower)).rejects.toThrow('at once');
    await expect(server.isolation.readAsUser(caller, thrower)).rejects.toThrow('at once');
    await expect(server.isolation.asSystem({ actor: caller, reason: 'x' }, thrower)).rejects.toThrow('at once');
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
  });

  test('backends that are terminated while requests run: an error each, and the server goes on', async () => {
    const uncaught: unknown[] = [];
    const note = (error: unknown) => uncaught.push(error);
    process.on('uncaughtException', note);
    let running = true;
    const loops = Array.from({ length: 8 }, async () => {
      while (running) await server.isolation.readAsUser(ann.caller, names).catch(() => {});
    });
    await owner(async (client) => {
      for (let round = 0; round < 20; round += 1) {
        await client.query(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where usename = 'ringfence_app' and datname = current_database()`,
        );
      }
    });
    running = false;
    await Promise.all(loops);
    process.off('uncaughtException', note);
    expect(uncaught).toEqual([]);
    expect(await server.isolation.readAsUser(ann.caller, names)).toEqual([{ name: 'Ann’s' }]);
  });
});

describe('who may act at all', () => {
  test('a suspended account, an ended session and an older token are refused at once, for reads and writes', async () => {
    const cases: [change: string, restore: string][] = [
      ["update users set status = 'suspended' where id = $1", "update users set status = 'active' where id = $1"],
      [
        'update sessions set revoked_at = now() where user_id = $1',
        'update sessions set revoked_at = null where user_id = $1',
      ],
      [
        'update users set tokens_valid_after = now() where id = $1',
        "update users set tokens_valid_after = '-infinity' where id = $1",
      ],
    ];
    const dora = await server.user();
    await dora.call('POST', '/api/projects', { name: 'Dora’s' });
    const caller = { ...dora.caller, issuedAt: Date.now() - 60_000 };
    for (const [change, restore] of cases) {
      await owner((client) => client.query(change, [dora.id]));
      await expect(server.isolation.readAsUser(caller, names), change).rejects.toMatchObject({
        code: 'unauthenticated',
      });
      await expect(
        server.isolation.withUser(caller, (scope) => scope.run(scope.db.updateTable('projects').set({ name: 'no' }))),
      ).rejects.toMatchObject({ code: 'unauthenticated' });
      await owner((client) => client.query(restore, [dora.id]));
      expect(await server.isolation.readAsUser(caller, names)).toEqual([{ name: 'Dora’s' }]);
    }
  });
});

describe('system mode', () => {
  test('sees everybody, says why in every statement, and is written down', async () => {
    const admin = await server.user({ roles: ['user', 'admin'] });
    const reason = 'looking /* for */ trouble';
    const count = await server.isolation.asSystem({ actor: admin.caller, reason }, (scope) =>
      scope.all(scope.db.selectFrom('projects').select(['name', 'user_id'])),
    );
    expect(count.length).toBeGreaterThanOrEqual(2);
    const { statements, log } = await owner(async (client) => ({
      statements: await client.query(`select query from pg_stat_statements where query like '%SYSTEM: looking%'`),
      log: await client.query(`select outcome, reason, actor from user_access_log where user_id = $1`, [admin.id]),
    }));
    expect(statements.rowCount).toBeGreaterThan(0);
    for (const { query } of statements.rows)
      expect(query).toMatch(/^(select|with|insert) \/\* SYSTEM: looking {4}for {4}trouble \*\//);
    expect(log.rows).toEqual([{ outcome: 'system', reason, actor: 'session' }]);
  });

  test('is rolled back, and leaves no trace of success, when its work fails', async () => {
    const admin = await server.user({ roles: ['user', 'admin'] });
    await expect(
      server.isolation.asSystem({ actor: admin.caller, reason: 'x' }, async (scope) => {
        await scope.run(scope.db.updateTable('projects').set({ name: 'all mine' }));
        throw new Error('on purpose');
      }),
    ).rejects.toThrow('on purpose');
    expect(await server.isolation.readAsUser(ann.caller, names)).toEqual([{ name: 'Ann’s' }]);
  });

  test('the accounts scope reaches no owned table, in the database neither by filter', async () => {
    await expect(
      server.isolation.withAccounts('login', (scope) => scope.all(scope.db.selectFrom('tasks').select('id'))),
    ).rejects.toThrow('the accounts scope cannot reach tasks');
  });
});

test('sqlAs runs as the user and rolls back unless told to write', async () => {
  const rename = `update projects set name = 'renamed'`;
  expect(await server.isolation.sqlAs(ann.caller, rename, { write: false })).toMatchObject({
    command: 'UPDATE',
    count: 1,
  });
  expect(await server.isolation.readAsUser(ann.caller, names)).toEqual([{ name: 'Ann’s' }]);
  await server.isolation.sqlAs(ann.caller, rename, { write: true });
  expect(await server.isolation.readAsUser(ann.caller, names)).toEqual([{ name: 'renamed' }]);
  expect(await server.isolation.readAsUser(bob.caller, names)).toEqual([{ name: 'Bob’s' }]);
  await server.isolation.sqlAs(ann.caller, `update projects set name = 'Ann’s'`, { write: true });
});

describe('statements that leave together', () => {
  const duplicate = (scope: ProductUserScope) =>
    scope.run(
      scope.db.insertInto('labels').values([
        { id: bob.id, name: 'twice' },
        { id: ann.id, name: 'twice' },
      ]),
    );

  test('the failure that is told is the first one’s, whichever is met first', async () => {
    for (const order of [0, 1]) {
      const attempt = server.isolation.withUser(ann.caller, async (scope) => {
        const both = [duplicate(scope), names(scope)];
        if (order === 1) both.reverse();
        for (const answer of both) await answer;
      });
      await expect(attempt).rejects.toMatchObject({ code: '23505' });
    }
  });

  test('an answer that nobody waits for ends nothing but its transaction', async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown) => unhandled.push(error);
    process.on('unhandledRejection', note);
    await server.isolation
      .withUser(ann.caller, async (scope) => {
        const first = duplicate(scope);
        void names(scope);
        await first;
      })
      .catch(() => {});
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
    expect(await server.isolation.readAsUser(ann.caller, names)).toHaveLength(1);
  });
});
