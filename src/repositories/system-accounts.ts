/** Who there is and who did what, for administrators. Never a password hash, never a token. */
import { sql } from 'kysely';
import type { ProductAccountsScope, ProductSystemScope } from '../database/isolation.ts';
import type { Caller } from '../isolation/scope.ts';
import { type Page, type PageRequest, page, type Sort } from './page.ts';

const byId: Sort = { name: 'id', key: 'v.id', type: 'uuid', direction: 'desc' };
const latestFirst: Sort = { name: 'at', key: 'v.at', type: 'timestamptz', direction: 'desc' };

export interface UserFilter {
  readonly status?: string | undefined;
  readonly email?: string | undefined;
}

export interface AccessLogFilter {
  readonly user_id?: string | undefined;
  readonly outcome?: string | undefined;
  readonly operation?: string | undefined;
}

export class SystemAccounts {
  readonly #scope: ProductSystemScope;

  constructor(scope: ProductSystemScope) {
    if (!scope?.use) throw new TypeError('system mode is required');
    this.#scope = scope;
  }

  users(request: PageRequest, { status, email }: UserFilter): Promise<Page> {
    const users = this.#scope.db
      .selectFrom('users')
      .select([
        'id',
        'email',
        'name',
        'roles',
        'status',
        'external_issuer',
        'last_login_at',
        'failed_login_attempts',
        'locked_until',
        'version',
        'created_at',
        'updated_at',
      ])
      .$if(status !== undefined, (query) => query.where('status', '=', status ?? ''))
      .$if(email !== undefined, (query) => query.where(sql`lower(email)`, '=', (email ?? '').toLowerCase()));
    return page(this.#scope, users, byId, request);
  }

  accessLog(request: PageRequest, filter: AccessLogFilter): Promise<Page> {
    const { user_id: userId, outcome, operation } = filter;
    const lines = this.#scope.db
      .selectFrom('user_access_log')
      .selectAll()
      .$if(userId !== undefined, (query) => query.where('user_id', '=', userId ?? ''))
      .$if(outcome !== undefined, (query) => query.where('outcome', '=', outcome ?? ''))
      .$if(operation !== undefined, (query) => query.where('operation', '=', operation ?? ''));
    return page(this.#scope, lines, latestFirst, request);
  }

  /** Whether the actor is an administrator now, whatever the token said when it was issued. */
  async isAdministrator(): Promise<boolean> {
    const row = await this.#scope.first<{ id: string }>(
      this.#scope.db
        .selectFrom('users')
        .select('id')
        .where('id', '=', this.#scope.use.actor.userId)
        .where('status', '=', 'active')
        .where(sql<boolean>`'admin' = any (roles)`),
    );
    return row !== undefined;
  }
}

/** Somebody who is no administrator asked for system mode. */
export async function recordRefusal(scope: ProductAccountsScope, actor: Caller, reason: string): Promise<void> {
  await scope.run(
    scope.db.insertInto('user_access_log').values({
      user_id: actor.userId,
      actor: actor.actor,
      operation: 'system_mode',
      outcome: 'refused',
      reason,
      request_id: actor.requestId,
    }),
  );
}
