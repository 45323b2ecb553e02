import { sql } from 'kysely';
import type { ProductAccountsScope } from '../database/isolation.ts';
import { BaseUserScopedRepository } from './base-user-scoped-repository.ts';
import type { Page, PageRequest, Sort } from './page.ts';

const newestFirst: Sort = { name: 'created_at', key: 'v.created_at', type: 'timestamptz', direction: 'desc' };

/** A user's own sessions. Their secrets are out of this scope's reach. */
export class SessionRepository extends BaseUserScopedRepository {
  protected readonly table = 'sessions';

  /** @param current the session that asks */
  list(request: PageRequest, current: string | undefined): Promise<Page> {
    const isCurrent = sql<boolean>`sessions.id is not distinct from ${current ?? null}::uuid`;
    return this.page(
      this.db
        .selectFrom('sessions')
        .select(['id', 'user_agent', isCurrent.as('current'), 'created_at', 'rotated_at as refreshed_at', 'expires_at'])
        .where('revoked_at', 'is', null)
        .where(sql<boolean>`expires_at > now()`),
      newestFirst,
      request,
    );
  }

  /** @returns whether there was such a session and it had not ended */
  async end(id: string): Promise<boolean> {
    return (await this.write('logout', this.#ending().where('id', '=', id).returning('id'))) > 0;
  }

  endAll(): Promise<number> {
    return this.write('logout', this.#ending().returning('id'));
  }

  #ending() {
    return this.db
      .updateTable('sessions')
      .set({ revoked_at: sql<Date>`now()`, revoked_reason: 'logout' })
      .where('revoked_at', 'is', null)
      .where(sql<boolean>`expires_at > now()`);
  }
}

export interface RefreshableSession {
  readonly token_hash: Buffer;
  readonly previous_token_hash: Buffer | null;
  /** Whether the token before this one is still good, for clients that lost the answer. */
  readonly in_grace: boolean;
  readonly ended: boolean;
  readonly expired: boolean;
  readonly email: string;
  readonly roles: string[];
  readonly status: string;
}

/** Seconds for which an exchanged refresh token may be presented again. */
const graceSeconds = 30;

/** Sessions before anybody is known: they are looked up by both ids, which a refresh token carries. */
export class RefreshTokenRepository {
  readonly #scope: ProductAccountsScope;

  constructor(scope: ProductAccountsScope) {
    if (!scope?.purpose) throw new TypeError('the accounts scope is required');
    this.#scope = scope;
  }

  async open(userId: string, id: string, tokenHash: Buffer, lifeSeconds: number, userAgent: string): Promise<void> {
    const { db } = this.#scope;
    await this.#scope.run(
      db.insertInto('sessions').values({
        user_id: userId,
        id,
        token_hash: tokenHash,
        expires_at: expiry(lifeSeconds),
        user_agent: userAgent,
      }),
    );
  }

  /** Locks the session, so that two exchanges of one token come one after the other. */
  find(userId: string, id: string): Promise<RefreshableSession | undefined> {
    return this.#scope.first(
      this.#scope.db
        .selectFrom('sessions')
        .innerJoin('users', 'users.id', 'sessions.user_id')
        .where('sessions.user_id', '=', userId)
        .where('sessions.id', '=', id)
        .select([
          'sessions.token_hash',
          'sessions.previous_token_hash',
          sql<boolean>`sessions.rotated_at > now() - make_interval(secs => ${graceSeconds}::int)`.as('in_grace'),
          sql<boolean>`sessions.revoked_at is not null`.as('ended'),
          sql<boolean>`sessions.expires_at <= now()`.as('expired'),
          'users.email',
          'users.roles',
          'users.status',
        ])
        .forUpdate('sessions'),
    );
  }

  async rotate(userId: string, id: string, previous: Buffer, next: Buffer, lifeSeconds: number): Promise<void> {
    await this.#scope.run(
      this.#scope.db
        .updateTable('sessions')
        .set({
          previous_token_hash: previous,
          token_hash: next,
          rotated_at: sql<Date>`now()`,
          expires_at: expiry(lifeSeconds),
        })
        .where('user_id', '=', userId)
        .where('id', '=', id),
    );
  }

  /** Locks the session until the transaction's end. */
  async isLive(userId: string, id: string): Promise<boolean> {
    const row = await this.#scope.first(
      this.#scope.db
        .selectFrom('sessions')
        .select('id')
        .where('user_id', '=', userId)
        .where('id', '=', id)
        .where('revoked_at', 'is', null)
        .where(sql<boolean>`expires_at > now()`)
        .forUpdate(),
    );
    return row !== undefined;
  }

  async end(userId: string, id: string, reason: 'reuse'): Promise<void> {
    await this.#scope.run(this.#ending(userId, reason).where('id', '=', id));
  }

  async endAll(userId: string, reason: 'password_changed'): Promise<void> {
    await this.#scope.run(this.#ending(userId, reason));
  }

  #ending(userId: string, reason: 'reuse' | 'password_changed') {
    return this.#scope.db
      .updateTable('sessions')
      .set({ revoked_at: sql<Date>`now()`, revoked_reason: reason })
      .where('user_id', '=', userId)
      .where('revoked_at', 'is', null);
  }
}

/** By the database's clock, which also decides when the session has ended. */
function expiry(lifeSeconds: number) {
  return sql<Date>`now() + make_interval(secs => ${lifeSeconds}::int)`;
}
