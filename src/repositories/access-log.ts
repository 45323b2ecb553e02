import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import type { ProductAccountsScope } from '../database/isolation.ts';
import { BaseUserScopedRepository } from './base-user-scoped-repository.ts';
import type { Page, PageRequest, Sort } from './page.ts';

const newestFirst: Sort = { name: 'at', key: 'v.at', type: 'timestamptz', direction: 'desc' };

/** What was done to the user's rows, by whom. It can be read and added to, and nothing else. */
export class AccessLogRepository extends BaseUserScopedRepository {
  protected readonly table = 'user_access_log';

  list(request: PageRequest): Promise<Page> {
    return this.page(
      this.db
        .selectFrom('user_access_log')
        .select(['id', 'at', 'actor', 'operation', 'entity_type', 'entity_id', 'outcome', 'reason', 'request_id']),
      newestFirst,
      request,
    );
  }
}

export interface AccountEvent {
  readonly userId: string;
  /** `register`, `login`, `refresh`, `change_password` */
  readonly operation: string;
  readonly outcome: 'ok' | 'refused';
  readonly reason?: string;
  readonly requestId: string;
  readonly actor?: string;
}

/** Writes down what happened to an account. Nothing is written for an account that does not exist. */
export async function recordAccountEvent(scope: ProductAccountsScope, event: AccountEvent): Promise<void> {
  await scope.run(
    scope.db
      .insertInto('user_access_log')
      .columns(['user_id', 'id', 'actor', 'operation', 'entity_type', 'outcome', 'reason', 'request_id'])
      .expression((eb) =>
        eb
          .selectFrom('users')
          .where('users.id', '=', event.userId)
          .select([
            'users.id as user_id',
            sql<string>`${uuidv7()}::uuid`.as('id'),
            sql<string>`${event.actor ?? 'session'}::text`.as('actor'),
            sql<string>`${event.operation}::text`.as('operation'),
            sql<string>`'account'`.as('entity_type'),
            sql<string>`${event.outcome}::text`.as('outcome'),
            sql<string>`${event.reason ?? ''}::text`.as('reason'),
            sql<string>`${event.requestId}::text`.as('request_id'),
          ]),
      ),
  );
}
