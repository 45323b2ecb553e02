/** Accounts as the command line administers them: whoever holds the data directory or the log-ins is trusted. */
import { sql } from 'kysely';
import type { ProductAccountsScope } from '../database/isolation.ts';
import { quarantineUserId } from '../isolation/owned-tables.ts';

export interface ListedAccount {
  readonly id: string;
  readonly email: string;
  readonly name: string;
  readonly roles: string[];
  readonly status: string;
  readonly created_at: Date;
  readonly last_login_at: Date | null;
}

const columns = ['id', 'email', 'name', 'roles', 'status', 'created_at', 'last_login_at'] as const;

export class AccountAdministration {
  readonly #scope: ProductAccountsScope;

  constructor(scope: ProductAccountsScope) {
    if (!scope?.purpose) throw new TypeError('the accounts scope is required');
    this.#scope = scope;
  }

  /** Everybody but the quarantine user, oldest first. */
  list(): Promise<ListedAccount[]> {
    return this.#scope.all<ListedAccount>(
      this.#scope.db
        .selectFrom('users')
        .select(columns)
        .where('id', '<>', quarantineUserId)
        .orderBy('created_at')
        .orderBy('id'),
    );
  }

  /** @returns the account as it is now, undefined when there is none with this address */
  setRoles(email: string, roles: readonly ('user' | 'admin')[]): Promise<ListedAccount | undefined> {
    return this.#scope.first<ListedAccount>(
      this.#scope.db
        .updateTable('users')
        .set({ roles: [...roles], version: sql<number>`version + 1`, updated_at: sql<Date>`now()` })
        .where(sql<boolean>`lower(email) = lower(${email}::text)`)
        .where('id', '<>', quarantineUserId)
        .returning(columns),
    );
  }
}
