import { sql } from 'kysely';
import type { TokenScope } from '../contract/accounts.ts';
import type { ProductAccountsScope } from '../database/isolation.ts';
import { BaseUserScopedRepository, type JsonDocument } from './base-user-scoped-repository.ts';
import type { Page, PageRequest, Sort } from './page.ts';

const newestFirst: Sort = { name: 'created_at', key: 'v.created_at', type: 'timestamptz', direction: 'desc' };

export interface NewApiToken {
  readonly id: string;
  readonly name: string;
  readonly hash: Buffer;
  readonly scopes: readonly TokenScope[];
  readonly expiresAt: Date | null;
}

/** A user's own API tokens. Their hashes are out of this scope's reach, once they are written. */
export class ApiTokenRepository extends BaseUserScopedRepository {
  protected readonly table = 'api_tokens';

  list(request: PageRequest): Promise<Page> {
    return this.page(this.#view(), newestFirst, request);
  }

  /** The token as JSON. Tokens have no version: they are made and revoked. */
  async get(id: string): Promise<string | undefined> {
    const row = await this.scope.first<Pick<JsonDocument, 'json'>>(
      this.db
        .selectFrom(this.#view().where('api_tokens.id', '=', id).as('r'))
        .select(sql<string>`row_to_json(r)::text`.as('json')),
    );
    return row?.json;
  }

  async countUsable(): Promise<number> {
    const row = await this.scope.first<{ count: number }>(
      this.db
        .selectFrom('api_tokens')
        .select(sql<number>`count(*)`.as('count'))
        .where('revoked_at', 'is', null)
        .where(sql<boolean>`coalesce(expires_at > now(), true)`),
    );
    return row?.count ?? 0;
  }

  async create(token: NewApiToken): Promise<void> {
    await this.write(
      'create',
      this.db
        .insertInto('api_tokens')
        .values({
          id: token.id,
          name: token.name,
          token_hash: token.hash,
          scopes: [...token.scopes],
          expires_at: token.expiresAt,
        })
        .returning('id'),
    );
  }

  /** @returns whether there was such a token; one that is revoked already counts */
  async revoke(id: string): Promise<boolean> {
    const query = this.db
      .updateTable('api_tokens')
      .set({ revoked_at: sql<Date>`coalesce(revoked_at, now())` })
      .where('id', '=', id);
    return (await this.write('revoke', query.returning('id'))) > 0;
  }

  #view() {
    return this.db
      .selectFrom('api_tokens')
      .select(['id', 'name', 'scopes', 'created_at', 'expires_at', 'revoked_at', 'last_used_at', 'usage_count']);
  }
}

export interface PresentedApiToken {
  readonly token_hash: Buffer;
  readonly scopes: string[];
  readonly revoked: boolean;
  readonly expired: boolean;
  readonly roles: string[];
  readonly status: string;
}

/** API tokens before anybody is known: they are looked up by both ids, which a token carries. */
export class ApiTokenCheckRepository {
  readonly #scope: ProductAccountsScope;

  constructor(scope: ProductAccountsScope) {
    if (!scope?.purpose) throw new TypeError('the accounts scope is required');
    this.#scope = scope;
  }

  find(userId: string, id: string): Promise<PresentedApiToken | undefined> {
    return this.#scope.first(
      this.#scope.db
        .selectFrom('api_tokens')
        .innerJoin('users', 'users.id', 'api_tokens.user_id')
        .where('api_tokens.user_id', '=', userId)
        .where('api_tokens.id', '=', id)
        .select([
          'api_tokens.token_hash',
          'api_tokens.scopes',
          sql<boolean>`api_tokens.revoked_at is not null`.as('revoked'),
          sql<boolean>`coalesce(api_tokens.expires_at <= now(), false)`.as('expired'),
          'users.roles',
          'users.status',
        ]),
    );
  }

  /** @param uses how often it was used since the last time this was written */
  async noteUse(userId: string, id: string, uses: number, lastUsed: Date): Promise<void> {
    await this.#scope.run(
      this.#scope.db
        .updateTable('api_tokens')
        .set({
          usage_count: sql<number>`usage_count + ${uses}::bigint`,
          last_used_at: sql<Date>`greatest(last_used_at, ${lastUsed}::timestamptz)`,
        })
        .where('user_id', '=', userId)
        .where('id', '=', id),
    );
  }
}
