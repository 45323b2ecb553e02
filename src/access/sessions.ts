/**
 * Sessions. One session is one family of refresh tokens (RFC 9700 §4.14.2): each exchange gives a new one, and a token
 * that was exchanged already ends the family, for either its user or a thief has the other copy. A token that was never
 * given out ends nothing.
 */
import { v7 as uuidv7 } from 'uuid';
import type { ProductAccountsScope, ProductIsolation } from '../database/isolation.ts';
import type { SecurityLog } from '../log.ts';
import { recordAccountEvent } from '../repositories/access-log.ts';
import { AccountRepository } from '../repositories/accounts.ts';
import type { JsonDocument } from '../repositories/base-user-scoped-repository.ts';
import { type RefreshableSession, RefreshTokenRepository } from '../repositories/sessions.ts';
import { rolesOf } from './caller.ts';
import type { AccessTokenSubject, MintedAccessToken } from './local-token.ts';
import { hashesEqual, type MintedOpaqueToken, type ParsedOpaqueToken } from './opaque-token.ts';
import { type RefreshTokenSecrets, RefreshTokens } from './refresh-token.ts';
import type { RequestOrigin } from './request-origin.ts';
import { tokenFault } from './token-fault.ts';

/** What a client gets when it signs in. */
export interface SignedIn {
  readonly user: JsonDocument;
  readonly accessToken: string;
  /** Seconds. */
  readonly expiresIn: number;
  readonly refreshToken: string;
}

/** A session in the database whose access token is not made yet. */
export interface OpenedSession {
  readonly user: JsonDocument;
  readonly subject: AccessTokenSubject;
  readonly refreshToken: string;
}

export interface SessionsOptions extends RefreshTokenSecrets {
  readonly isolation: ProductIsolation;
  readonly mintAccessToken: (subject: AccessTokenSubject) => Promise<MintedAccessToken>;
  /** Life of a refresh token, and so of a session that is not used. */
  readonly refreshTokenSeconds: number;
  readonly securityLog: SecurityLog;
}

export class Sessions {
  readonly #options: SessionsOptions;
  readonly #tokens: RefreshTokens;

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#tokens = new RefreshTokens(options);
  }

  /** Opens a session for a user who has proved who it is. `complete` makes the access token, after the commit. */
  async open(
    scope: ProductAccountsScope,
    account: { readonly id: string; readonly email: string; readonly roles: readonly string[] },
    origin: RequestOrigin,
  ): Promise<OpenedSession> {
    const sessionId = uuidv7();
    const { token, hash } = this.#tokens.mint(account.id, sessionId);
    const lifeSeconds = this.#options.refreshTokenSeconds;
    await new RefreshTokenRepository(scope).open(account.id, sessionId, hash, lifeSeconds, origin.userAgent);
    const user = await new AccountRepository(scope).profile(account.id);
    if (!user) throw tokenFault('invalid');
    const subject = { userId: account.id, email: account.email, roles: rolesOf(account.roles), sessionId };
    return { user, subject, refreshToken: token };
  }

  async complete({ user, subject, refreshToken }: OpenedSession): Promise<SignedIn> {
    const { token, expiresIn } = await this.#options.mintAccessToken(subject);
    return { user, accessToken: token, expiresIn, refreshToken };
  }

  /**
   * Exchanges a refresh token. For 30 seconds the same token gives the same successor again, for clients that lost the
   * answer or asked from two windows at once.
   *
   * @throws Problem `unauthenticated`: "Invalid token", or "Token expired"
   */
  async refresh(refreshToken: string, origin: RequestOrigin): Promise<SignedIn> {
    const parsed = this.#tokens.parse(refreshToken);
    if (parsed === null) throw tokenFault('invalid');
    const { userId, rowId } = parsed;
    // A refusal is returned, not thrown: what it writes has to be committed.
    const outcome = await this.#options.isolation.withAccounts('refresh session', async (scope) => {
      const sessions = new RefreshTokenRepository(scope);
      const session = await sessions.find(userId, rowId);
      if (!session || session.ended || session.status !== 'active') return 'invalid';
      const exchange = this.#exchange(session, parsed);
      if (exchange === 'reused') {
        await sessions.end(userId, rowId, 'reuse');
        const event = { operation: 'refresh', outcome: 'refused', reason: 'refresh token used twice' } as const;
        await recordAccountEvent(scope, { ...event, userId, requestId: origin.requestId });
        return 'reused';
      }
      if (session.expired) return 'expired';
      const { next, stored } = exchange;
      if (!stored) {
        await sessions.rotate(userId, rowId, parsed.secretHash, next.hash, this.#options.refreshTokenSeconds);
      }
      const user = await new AccountRepository(scope).profile(userId);
      if (!user) return 'invalid';
      const subject = { userId, email: session.email, roles: rolesOf(session.roles), sessionId: rowId };
      return { user, subject, refreshToken: next.token };
    });
    if (outcome === 'reused') {
      this.#options.securityLog.event('REFRESH_TOKEN_REUSED', {
        user_id: userId,
        session_id: rowId,
        request_id: origin.requestId,
        address: origin.address,
      });
      throw tokenFault('invalid');
    }
    if (outcome === 'invalid' || outcome === 'expired') throw tokenFault(outcome);
    return this.complete(outcome);
  }

  /** `stored`: the exchange was made already, and its result is the session's present token. */
  #exchange(
    session: RefreshableSession,
    presented: ParsedOpaqueToken,
  ): 'reused' | { readonly next: MintedOpaqueToken; readonly stored: boolean } {
    const next = this.#tokens.succeed(presented);
    if (hashesEqual(session.token_hash, presented.secretHash)) return { next, stored: false };
    const previous = session.previous_token_hash;
    if (!session.in_grace || !previous || !hashesEqual(previous, presented.secretHash)) return 'reused';
    // The server's secret was replaced in between: the successor that was given out cannot be told any more.
    if (!hashesEqual(session.token_hash, next.hash)) {
      return { next: this.#tokens.mint(presented.userId, presented.rowId), stored: false };
    }
    return { next, stored: true };
  }
}
