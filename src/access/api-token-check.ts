/** Personal API tokens: checked in the database with each request, so that a revoked one is refused at once. */
import type { Clock } from '../clock.ts';
import type { ProductIsolation } from '../database/isolation.ts';
import { ApiTokenCheckRepository } from '../repositories/api-tokens.ts';
import { type AuthenticatedCaller, rolesOf, scopesOf, userIdOf } from './caller.ts';
import { hashesEqual, parseOpaqueToken } from './opaque-token.ts';
import { tokenFault } from './token-fault.ts';

/** Milliseconds between two writes of a token's use: a read must not cost a write. */
const noteInterval = 60_000;
/** Tokens whose use is remembered at a time; beyond that it is written more often. */
const tokensMax = 10_000;

interface Use {
  readonly userId: string;
  readonly id: string;
  count: number;
  lastUsed: number;
  readonly notedAt: number;
}

/** @param noteIntervalMs between two writes of one token's use */
export function createApiTokenCheck(isolation: ProductIsolation, clock: Clock, noteIntervalMs = noteInterval) {
  const uses = createUseCounter(isolation, clock, noteIntervalMs);

  return async (text: string, requestId: string): Promise<AuthenticatedCaller> => {
    const parsed = parseOpaqueToken('api', text);
    if (parsed === null) throw tokenFault('invalid');
    const { userId, rowId, secretHash } = parsed;
    const token = await isolation.withAccounts('check API token', async (scope) => {
      const tokens = new ApiTokenCheckRepository(scope);
      const found = await tokens.find(userId, rowId);
      if (!found || !hashesEqual(found.token_hash, secretHash)) return undefined;
      if (found.revoked || found.expired || found.status !== 'active') return found;
      const due = uses.note(userId, rowId);
      if (due) await tokens.noteUse(userId, rowId, due.count, new Date(due.lastUsed));
      return found;
    });
    if (!token || token.revoked || token.status !== 'active') throw tokenFault('invalid');
    if (token.expired) throw tokenFault('expired');
    const held = rolesOf(token.roles);
    return {
      userId: userIdOf(userId),
      actor: 'token',
      requestId,
      roles: held,
      scopes: scopesOf(held, token.scopes),
      credentialId: rowId,
    };
  };
}

/**
 * Counts uses between two writes. The first use is written at once, those that follow within a minute together; what is
 * left after the last one is written when the minute is over. A crash costs the counts of a minute and nothing else.
 */
function createUseCounter(isolation: ProductIsolation, clock: Clock, noteIntervalMs: number) {
  /** By user and token: two users may have tokens of one id, since keys begin with the owner (I5). */
  const pending = new Map<string, Use>();
  let timer: NodeJS.Timeout | undefined;

  async function writeWaiting(): Promise<void> {
    timer = undefined;
    const waiting = [...pending.values()].filter(({ count }) => count > 0);
    pending.clear();
    await isolation.withAccounts('note use of API tokens', async (scope) => {
      const tokens = new ApiTokenCheckRepository(scope);
      for (const { userId, id, count, lastUsed } of waiting)
        await tokens.noteUse(userId, id, count, new Date(lastUsed));
    });
  }

  return {
    /** @returns the uses to be written now, if it is time */
    note(userId: string, id: string): Use | undefined {
      const now = clock.now();
      const key = `${userId} ${id}`;
      const known = pending.get(key);
      if (known && now - known.notedAt < noteIntervalMs) {
        known.count += 1;
        known.lastUsed = now;
        // Counts are for the user to look at: a server that goes down does not wait for them, nor fail because of them.
        if (timer === undefined) timer = setTimeout(() => writeWaiting().catch(() => {}), noteIntervalMs).unref();
        return undefined;
      }
      const [oldest] = pending.keys();
      if (pending.size >= tokensMax && oldest !== undefined) pending.delete(oldest);
      pending.delete(key);
      pending.set(key, { userId, id, count: 0, lastUsed: now, notedAt: now });
      return { userId, id, count: (known?.count ?? 0) + 1, lastUsed: now, notedAt: now };
    },
  };
}
