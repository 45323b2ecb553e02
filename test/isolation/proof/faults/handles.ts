/** Scopes that are used in ways nobody should: after their end, out of another's callbacks, with leavings on the session. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { EventEmitter, once } from 'node:events';
import type { ProductIsolation, ProductUserScope } from '../../../../src/database/isolation.ts';
import { parseUserId } from '../../../../src/isolation/identity.ts';
import type { Caller } from '../../../../src/isolation/scope.ts';
import type { Found } from './disturb.ts';
import { sqlOf } from './messages.ts';
import type { Actor, Stage } from './stage.ts';

export type Reading = Pick<ProductIsolation, 'withUser' | 'readAsUser'>;

export function callerOf({ id, sessionId }: Actor): Caller {
  const userId = parseUserId(id);
  if (userId === null) throw new Error(`${id} is no user`);
  return { userId, sessionId, actor: 'session', requestId: 'disturbed' };
}

const titles = async (scope: ProductUserScope) =>
  (await scope.all(scope.db.selectFrom('tasks').select(['title', 'user_id']))).map((row) => JSON.stringify(row));

/** @returns what is wrong with rows that were read on somebody's behalf */
function wrongRows(rows: readonly string[], { id, mark }: Actor): string[] {
  const right = rows.length > 0 && rows.every((row) => row.includes(mark) && row.includes(id));
  return right ? [] : [`somebody read ${rows.join(', ') || 'nothing'}`];
}

/** A pool of one; the dead scope is used while the other's transaction is open on the connection. */
export async function useDeadHandles(stage: Stage, isolation: Reading = stage.world.server.isolation): Promise<Found> {
  const [one, other] = stage.pair;
  const faults: string[] = [];
  let kept: ProductUserScope | undefined;
  const keep = (scope: ProductUserScope) => {
    kept = scope;
    return titles(scope);
  };
  const ends: Record<string, () => Promise<unknown>> = {
    committed: () => isolation.withUser(callerOf(one), keep),
    'rolled back': () =>
      isolation.withUser(callerOf(one), async (scope) => {
        await keep(scope);
        throw new Error('on purpose');
      }),
    sealed: () => isolation.readAsUser(callerOf(one), keep),
    cut: () =>
      isolation.withUser(callerOf(one), async (scope) => {
        await keep(scope);
        for (const wire of stage.relay.wires) if (wire.user === 'ringfence_app') wire.cut();
        return titles(scope);
      }),
  };
  for (const [end, run] of Object.entries(ends)) {
    await run().catch(() => {});
    const dead = kept;
    if (!dead) throw new Error(`no scope was ${end}`);
    await isolation.withUser(callerOf(other), async (scope) => {
      faults.push(...wrongRows(await titles(scope), other));
      const late = await titles(dead).catch((error: Error) => error);
      if (!(late instanceof Error))
        faults.push(`a scope that was ${end} read ${late.join(', ')} in another's transaction`);
      else if (late.name !== 'DeadHandleError') faults.push(`a scope that was ${end} failed with ${late.message}`);
      faults.push(...wrongRows(await titles(scope), other));
    });
  }
  return { figures: { 'dead handles used': Object.keys(ends).length }, faults };
}

/**
 * Statements of two users, each run out of callbacks of the other: no context that follows calls (node-postgres#2533)
 * would know any more whose they are. The scope is passed by hand, so nothing changes.
 */
export async function crossContexts(stage: Stage, rounds: number): Promise<Found> {
  const { isolation } = stage.world.server;
  const [one, other] = stage.pair;
  const context = new AsyncLocalStorage<Actor>();
  const pump = new EventEmitter();
  const faults: string[] = [];
  let strayed = 0;
  const read = (actor: Actor) =>
    context.run(actor, () =>
      isolation.withUser(callerOf(actor), async (scope) => {
        for (let round = 0; round < rounds; round += 1) {
          const done = once(pump, `done ${actor.id}`);
          // Whoever listens runs it, in whatever context that is.
          pump.emit(actor === one ? other.id : one.id, { scope, actor });
          await done;
        }
      }),
    );
  for (const [listener, elsewhere] of [
    [one, one],
    [other, undefined],
  ] as const) {
    pump.on(listener.id, async ({ scope, actor }: { scope: ProductUserScope; actor: Actor }) => {
      const work = async () => {
        const rows = await titles(scope);
        if (context.getStore() !== actor) strayed += 1;
        faults.push(...wrongRows(rows, actor));
        pump.emit(`done ${actor.id}`);
      };
      await (elsewhere ? context.run(elsewhere, work) : context.exit(work));
    });
  }
  await Promise.all([read(one), read(other)]);
  if (strayed !== 2 * rounds) faults.push(`only ${strayed} statements ran in another's context`);
  return { figures: { 'statements in another’s context': strayed }, faults };
}

/** Fails inside the transaction that it is slipped into when the session remembers anything. */
const knowsNobody = `select 1 / (coalesce(current_setting('ringfence.identity', true), '') = ''
  and not exists (select from pg_settings where source = 'session' and name not like 'transaction\\_%')
  and not exists (select from pg_cursors))::int`;

/** What a statement of one's own can leave behind on a session. */
export const leavings = [
  "select set_config('search_path', 'pg_catalog', false)",
  "select set_config('client_encoding', 'LATIN1', false)",
  "select set_config('default_transaction_read_only', 'on', false)",
  "select set_config('statement_timeout', '60000', false)",
  "select set_config('ringfence.identity', current_setting('ringfence.identity'), false)",
  'declare left_open cursor with hold for select title from tasks',
  'prepare left_prepared as select title, user_id from tasks',
  'select pg_advisory_lock(4711)',
  'listen left_listening',
] as const;

async function asOther(stage: Stage, sql: string): Promise<string[] | undefined> {
  const { isolation } = stage.world.server;
  const result = await isolation.sqlAs(callerOf(stage.pair[1]), sql, { write: true }).catch(() => undefined);
  return result?.rows.map((row) => JSON.stringify(row));
}

/** Two users by turns on one connection; each leaves something, and the next transaction begins without it. */
export async function leaveThings(stage: Stage): Promise<Found> {
  const { isolation } = stage.world.server;
  const [one, other] = stage.pair;
  const faults: string[] = [];
  let slipped = 0;
  for (const leaving of leavings) {
    await isolation.sqlAs(callerOf(one), leaving, { write: true }).catch((error: Error) => {
      faults.push(`${leaving} was refused: ${error.message}`);
    });
    let begun = false;
    stage.relay.tap = (message, wire) => {
      if (wire.user !== 'ringfence_app' || message.side !== 'server') return undefined;
      const first = begun;
      begun = /^begin/.test(sqlOf(message));
      if (!first) return undefined;
      slipped += 1;
      return { slipIn: knowsNobody };
    };
    const rows = await isolation.withUser(callerOf(other), titles).catch((error: Error) => [error.message]);
    stage.relay.tap = undefined;
    faults.push(...wrongRows(rows, other).map((fault) => `${leaving}: ${fault}`));
    const fetched = await asOther(stage, 'fetch all from left_open');
    if (fetched !== undefined) faults.push(`${leaving}: the cursor is open for the next: ${fetched.join(', ')}`);
    // Ours are prepared beside it and have to stay, so this one does too: it reads what its caller may read.
    const executed = await asOther(stage, 'execute left_prepared');
    if (executed !== undefined) faults.push(...wrongRows(executed, other).map((fault) => `${leaving}: ${fault}`));
    if (executed !== undefined && stage.pooled) faults.push(`${leaving}: the statement is there for the next`);
  }
  const { rows } = await stage.world.database.query('select pg_try_advisory_lock(4711) as free');
  if (rows[0]?.free !== true) faults.push('a session’s lock is still held');
  await stage.world.database.query('select pg_advisory_unlock_all()');
  if (slipped !== leavings.length) faults.push(`the session was looked at ${slipped} times`);
  return { figures: { 'things left on a session': leavings.length }, faults };
}
