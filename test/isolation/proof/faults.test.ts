import pg from 'pg';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { ProductUserScope } from '../../../src/database/isolation.ts';
import { strikeEverywhere } from './faults/cuts.ts';
import type { Found } from './faults/disturb.ts';
import { leaveThings, type Reading, useDeadHandles } from './faults/handles.ts';
import { type Message, replaced, sqlOf } from './faults/messages.ts';
import { openStage, type Stage, type StageOptions } from './faults/stage.ts';
import type { StrikeKind } from './faults/strike.ts';
import { jumpInTime } from './faults/time-and-keys.ts';
import { part } from './faults.ts';
import { contextInVitest } from './model/in-vitest.ts';
import type { ProofContext } from './part.ts';

const minutes = 60_000;
let context: ProofContext;

beforeAll(() => {
  context = contextInVitest();
});
afterEach(() => {
  vi.restoreAllMocks();
});

test(
  'whatever breaks, and wherever, nobody meets anything of another’s',
  async () => {
    const { figures, faults } = await part.run({ ...context, say: (line) => console.log(line) });
    expect(faults.join('\n')).toBe('');
    expect(figures['pool of 1: places in the conversations']).toBeGreaterThan(250);
    expect(figures['running statements disturbed']).toBeGreaterThan(0);
    expect(figures['server killed']).toBe(1);
    expect(figures['Postgres killed']).toBe(1);
  },
  5 * minutes,
);

async function staged(options: Partial<StageOptions>, check: (stage: Stage) => Promise<Found>): Promise<string> {
  const stage = await openStage(context, { poolSize: 1, ...options });
  try {
    return (await check(stage)).faults.join('\n');
  } finally {
    await stage.close();
  }
}

/** Goes on until something is found. */
async function struck(kind: StrikeKind, prepare?: NonNullable<StageOptions['prepare']>): Promise<string> {
  const size = { requests: 'short', strikes: Number.POSITIVE_INFINITY, milliseconds: 60_000 } as const;
  const { faults } = await strikeEverywhere(context, size, { poolSize: 1, ...(prepare ? { prepare } : {}) }, [kind]);
  return faults.join('\n');
}

describe('it can fail', () => {
  test('a scope that goes on, in whatever transaction there is, after its own', { timeout: 2 * minutes }, async () => {
    let current: ProductUserScope | undefined;
    const revived = (scope: ProductUserScope): ProductUserScope => {
      current = scope;
      return { ...scope, all: (query) => scope.all(query).catch(() => current?.all(query) ?? []) };
    };
    const faults = await staged({}, (stage) => {
      const { isolation } = stage.world.server;
      const careless: Reading = {
        withUser: (caller, work) => isolation.withUser(caller, (scope) => work(revived(scope))),
        readAsUser: (caller, work) => isolation.readAsUser(caller, (scope) => work(revived(scope))),
      };
      return useDeadHandles(stage, careless);
    });
    expect(faults).toMatch(/a scope that was committed read .*canary-other.* in another's transaction/);
  });

  test('an identity set for the session, which nobody forgets', { timeout: 2 * minutes }, async () => {
    const rewrite = (message: Message) => {
      const { bytes } = message;
      if (sqlOf(message).startsWith('begin')) return replaced(bytes, 'reset all', 'select 1 ');
      return message.type === 'P'
        ? replaced(bytes, "'ringfence.identity', $1, true)", "'ringfence.identity', $1,false)")
        : bytes;
    };
    expect(await staged({ rewrite }, leaveThings)).toMatch(/somebody read .*is aborted/);
  });

  test('cursors that nobody closes', { timeout: 2 * minutes }, async () => {
    const rewrite = (message: Message) => replaced(message.bytes, 'close all', 'select 12');
    expect(await staged({ rewrite }, leaveThings)).toMatch(/the cursor is open for the next: .*canary-one/);
  });

  test('a connection whose identities are refused, given back as good', { timeout: 2 * minutes }, async () => {
    const connect = pg.Pool.prototype.connect;
    vi.spyOn(pg.Pool.prototype, 'connect').mockImplementation(async function (this: pg.Pool) {
      const client: pg.PoolClient = await Reflect.apply(connect, this, []);
      const { release } = client;
      client.release = () => Reflect.apply(release, client, []);
      return client;
    });
    expect(await staged({}, jumpInTime)).toContain('once the clock was learnt anew');
  });

  test('a COMMIT that is believed whatever Postgres says', { timeout: 2 * minutes }, async () => {
    const { query } = pg.Client.prototype;
    vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: pg.Client, ...given: unknown[]) {
      const sent: unknown = Reflect.apply(query, this, given);
      const [statement] = given;
      const commits =
        typeof statement === 'object' && statement !== null && 'text' in statement && statement.text === 'commit';
      return commits && sent instanceof Promise ? sent.then((result) => ({ ...result, command: 'COMMIT' })) : sent;
    });
    expect(await struck('abort')).toMatch(/was told that it is done, and it is not|answered\n2/);
  });

  test('idempotency keys that are not looked at', { timeout: 2 * minutes }, async () => {
    const faults = await struck('gone', (app) => {
      app.addHook('onRequest', async (request) => {
        delete request.headers['idempotency-key'];
      });
    });
    expect(faults).toMatch(/POST \/api\/tasks.*(?:has half of it|leaves other rows)/s);
  });

  test('an answer that is kept without whose it is', { timeout: 2 * minutes }, async () => {
    const kept = new Map<string, unknown>();
    const faults = await struck('stall', (app) => {
      app.addHook('onSend', async (request, reply, payload) => {
        if (request.method !== 'GET' || reply.statusCode !== 200 || typeof payload !== 'string') return payload;
        const path = request.url.split('?', 1)[0] ?? '';
        if (!kept.has(path)) kept.set(path, payload);
        return kept.get(path);
      });
    });
    expect(faults).toMatch(/an answer with what is another's/);
  });
});
