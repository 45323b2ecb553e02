/** Accounts before anybody is known: statements here name the user themselves, for no scope does it for them. */
import { sql } from 'kysely';
import type { ProductAccountsScope } from '../database/isolation.ts';
import type { JsonDocument } from './base-user-scoped-repository.ts';
import { profileColumns } from './profiles.ts';

export interface Account {
  readonly id: string;
  readonly email: string;
  readonly roles: string[];
  readonly status: string;
  /** Null for accounts of an outside identity provider. */
  readonly password_hash: string | null;
  /** Seconds until the account may be tried again; 0 when it is not locked. */
  readonly locked_seconds: number;
}

export interface NewAccount {
  readonly id: string;
  readonly email: string;
  readonly name: string;
  readonly passwordHash?: string;
  readonly external?: { readonly issuer: string; readonly subject: string };
}

/** Failed attempts from which on an account is locked, and for how long: 30 s, doubled each time, up to 15 minutes. */
export const lockOut = { attempts: 5, firstSeconds: 30, maxSeconds: 900 } as const;

const notLocked = sql<boolean>`coalesce(locked_until <= now(), true)`;
const lockedSeconds = sql<number>`ceil(greatest(0, coalesce(extract(epoch from locked_until - now()), 0)))::int`;

export class AccountRepository {
  readonly #scope: ProductAccountsScope;

  constructor(scope: ProductAccountsScope) {
    if (!scope?.purpose) throw new TypeError('the accounts scope is required');
    this.#scope = scope;
  }

  findByEmail(email: string): Promise<Account | undefined> {
    // lower() of Postgres on both sides: JavaScript folds some letters differently than the unique index does.
    return this.#scope.first(this.#accounts().where(sql<boolean>`lower(email) = lower(${email}::text)`));
  }

  findById(id: string): Promise<Account | undefined> {
    return this.#scope.first(this.#accounts().where('id', '=', id));
  }

  findByProvider(issuer: string, subject: string): Promise<Account | undefined> {
    // As the unique index has it; an issuer, being a URL, has no blank in it.
    const outside = sql`external_issuer || ' ' || external_subject`;
    return this.#scope.first(this.#accounts().where(outside, '=', `${issuer} ${subject}`));
  }

  /** @returns false when the e-mail address or the outside identity has an account already */
  async create(account: NewAccount): Promise<boolean> {
    const { db } = this.#scope;
    const created = await this.#scope.run(
      db
        .insertInto('users')
        .values({
          id: account.id,
          email: account.email,
          name: account.name,
          password_hash: account.passwordHash ?? null,
          external_issuer: account.external?.issuer ?? null,
          external_subject: account.external?.subject ?? null,
        })
        .onConflict((oc) => oc.doNothing()),
    );
    return created === 1;
  }

  /** The account as its user sees it. */
  profile(id: string): Promise<JsonDocument | undefined> {
    const { db } = this.#scope;
    return this.#scope.first<JsonDocument>(
      db
        .selectFrom(db.selectFrom('users').where('id', '=', id).select(profileColumns).as('r'))
        .select([sql<string>`row_to_json(r)::text`.as('json'), sql<number>`r.version`.as('version')]),
    );
  }

  /**
   * Counts a failed attempt, unless the account is locked already: whoever goes on guessing does not lengthen the lock.
   * An id that has no account takes the same way.
   *
   * @returns the seconds for which the account is locked now, 0 when it is not
   */
  async countFailure(id: string): Promise<number> {
    const seconds = sql`least(
      ${lockOut.maxSeconds}::int,
      ${lockOut.firstSeconds}::int * power(2, least(failed_login_attempts + 1 - ${lockOut.attempts}::int, 20))
    )`;
    // Losing the last failures in a crash is harmless; waiting for the disk would tell an account from none most plainly.
    await this.#scope.all(
      this.#scope.db.selectNoFrom(sql`set_config('synchronous_commit', 'off', true)`.as('synchronous_commit')),
    );
    const row = await this.#scope.first<{ locked_seconds: number }>(
      this.#scope.db
        .updateTable('users')
        .set({
          failed_login_attempts: sql<number>`failed_login_attempts + 1`,
          locked_until: sql<Date | null>`case when failed_login_attempts + 1 >= ${lockOut.attempts}::int
            then now() + make_interval(secs => ${seconds}) end`,
        })
        .where('id', '=', id)
        .where(notLocked)
        .returning(lockedSeconds.as('locked_seconds')),
    );
    return row?.locked_seconds ?? 0;
  }

  /**
   * A password was right: forget the failures.
   *
   * @param verified the hash that it was checked against; if it has changed meanwhile, the attempt does not count
   * @param rehashed a new hash of the same password
   * @returns false when the account was locked, suspended or given another password meanwhile
   */
  async confirmPassword(id: string, verified: string, rehashed?: string): Promise<boolean> {
    const confirmed = await this.#scope.run(
      this.#scope.db
        .updateTable('users')
        .set({
          failed_login_attempts: 0,
          locked_until: null,
          ...(rehashed === undefined ? {} : { password_hash: rehashed }),
        })
        .where('id', '=', id)
        .where('status', '=', 'active')
        .where('password_hash', '=', verified)
        .where(notLocked),
    );
    return confirmed === 1;
  }

  async noteLogin(id: string): Promise<void> {
    await this.#scope.run(
      this.#scope.db.updateTable('users').set({ last_login_at: sql<Date>`now()` }).where('id', '=', id),
    );
  }

  /** @param since tokens from before are refused from now on */
  async changePassword(id: string, verified: string, passwordHash: string, since: Date): Promise<boolean> {
    if (!(await this.confirmPassword(id, verified, passwordHash))) return false;
    await this.refuseTokensBefore(id, since);
    return true;
  }

  async refuseTokensBefore(id: string, since: Date): Promise<void> {
    await this.#scope.run(
      this.#scope.db
        .updateTable('users')
        .set({
          tokens_valid_after: sql<Date>`greatest(tokens_valid_after, ${since}::timestamptz)`,
          updated_at: sql<Date>`now()`,
        })
        .where('id', '=', id),
    );
  }

  #accounts() {
    return this.#scope.db
      .selectFrom('users')
      .select(['id', 'email', 'roles', 'status', 'password_hash', lockedSeconds.as('locked_seconds')]);
  }
}
