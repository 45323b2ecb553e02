/**
 * What people do with their accounts: register, sign in, change the password, end it. Hashing a password takes 20 ms
 * and a place in a queue, so it never happens while a transaction is open.
 */
import { createHash } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import type { Clock } from '../clock.ts';
import type { Login, PasswordChange, Registration } from '../contract/accounts.ts';
import type { ProductIsolation } from '../database/isolation.ts';
import { type Problem, problem } from '../errors.ts';
import type { SecurityLog } from '../log.ts';
import { recordAccountEvent } from '../repositories/access-log.ts';
import { type Account, AccountRepository, lockOut } from '../repositories/accounts.ts';
import { OwnedDataRepository } from '../repositories/owned-data.ts';
import { ProfileRepository } from '../repositories/profiles.ts';
import { RefreshTokenRepository } from '../repositories/sessions.ts';
import { type AuthenticatedCaller, requireLogin } from './caller.ts';
import { hashPassword, needsRehash, requireAllowedPassword, verifyPassword } from './password.ts';
import type { RequestOrigin } from './request-origin.ts';
import type { Sessions, SignedIn } from './sessions.ts';
import { tokenFault } from './token-fault.ts';

export interface AccountsOptions {
  readonly isolation: ProductIsolation;
  readonly sessions: Sessions;
  readonly registrationEnabled: boolean;
  readonly securityLog: SecurityLog;
  readonly clock: Clock;
  /** That of password.ts; a test counts its calls. */
  readonly verifyPassword?: typeof verifyPassword;
}

export class Accounts {
  readonly #options: AccountsOptions;
  readonly #verify: typeof verifyPassword;

  constructor(options: AccountsOptions) {
    this.#options = options;
    this.#verify = options.verifyPassword ?? verifyPassword;
  }

  /**
   * Makes an account with the role `user` and signs it in.
   *
   * @throws Problem `already_exists` when the address has an account, `validation_failed` for a bad password,
   *   `admin_required` while registration is closed
   */
  async register(request: Registration, origin: RequestOrigin): Promise<SignedIn> {
    const { isolation, sessions, registrationEnabled } = this.#options;
    if (!registrationEnabled) {
      throw problem('admin_required', 'Registration is closed on this server; ask its administrator for an account.');
    }
    requireAllowedPassword(request.password, request.email);
    const passwordHash = await hashPassword(request.password);
    const opened = await isolation.withAccounts('register', async (scope) => {
      const accounts = new AccountRepository(scope);
      const id = uuidv7();
      const { email, name } = request;
      if (!(await accounts.create({ id, email, name, passwordHash }))) {
        throw problem('already_exists', 'email: an account with this address exists already.');
      }
      await accounts.noteLogin(id);
      await recordAccountEvent(scope, {
        userId: id,
        operation: 'register',
        outcome: 'ok',
        requestId: origin.requestId,
      });
      return sessions.open(scope, { id, email, roles: ['user'] }, origin);
    });
    return sessions.complete(opened);
  }

  /**
   * Signs in. No account, a wrong password, a locked, suspended or quarantined account: the same answer after one
   * verification of a password. The answer does not say who has an account; its time is not promised beyond that.
   *
   * @throws Problem `invalid_credentials`
   */
  async login(request: Login, origin: RequestOrigin): Promise<SignedIn> {
    const { isolation, sessions } = this.#options;
    const account = await isolation.withAccounts('log in', (scope) =>
      new AccountRepository(scope).findByEmail(request.email.trim()),
    );
    const passwordHash = await this.#passes(account, request.password);
    if (account === undefined || passwordHash === undefined) {
      await this.#countFailure(account, request.email, 'login', origin);
      throw wrongCredentials();
    }
    const rehashed = needsRehash(passwordHash) ? await hashPassword(request.password) : undefined;
    const opened = await isolation.withAccounts('log in', async (scope) => {
      const accounts = new AccountRepository(scope);
      if (!(await accounts.confirmPassword(account.id, passwordHash, rehashed))) return undefined;
      await accounts.noteLogin(account.id);
      const event = { operation: 'login', outcome: 'ok', requestId: origin.requestId } as const;
      await recordAccountEvent(scope, { ...event, userId: account.id });
      return sessions.open(scope, account, origin);
    });
    if (!opened) throw wrongCredentials();
    return sessions.complete(opened);
  }

  /**
   * Changes the password and ends every session, with all tokens made before; the one that asks goes on with new
   * tokens. API tokens stay: they are listed and revoked one by one.
   *
   * @throws Problem `validation_failed` for a wrong present password or a bad new one, `account_locked`
   */
  async changePassword(caller: AuthenticatedCaller, change: PasswordChange, origin: RequestOrigin): Promise<SignedIn> {
    const { isolation, sessions, clock } = this.#options;
    const { account, passwordHash } = await this.#prove(caller, change.current_password, 'current_password', origin);
    requireAllowedPassword(change.new_password, account.email, 'new_password');
    const newHash = await hashPassword(change.new_password);
    // Tokens say in whole seconds when they were made; one made right after this must be good. What was made earlier in
    // the same second ends with its session.
    const since = new Date(Math.floor(clock.now() / 1000) * 1000);
    const opened = await isolation.withAccounts('change password', async (scope) => {
      const accounts = new AccountRepository(scope);
      const tokens = new RefreshTokenRepository(scope);
      if (caller.sessionId !== undefined && !(await tokens.isLive(caller.userId, caller.sessionId))) return undefined;
      if (!(await accounts.changePassword(account.id, passwordHash, newHash, since))) return undefined;
      await tokens.endAll(account.id, 'password_changed');
      const event = { operation: 'change_password', outcome: 'ok', requestId: origin.requestId } as const;
      await recordAccountEvent(scope, { ...event, userId: account.id });
      return sessions.open(scope, account, origin);
    });
    // The session was ended or the password changed by another request meanwhile.
    if (!opened) throw tokenFault('invalid');
    this.#event('PASSWORD_CHANGED', account.id, origin);
    return sessions.complete(opened);
  }

  /**
   * Refuses all tokens that an outside provider has issued to the caller so far. Our own end with their sessions.
   */
  async refuseProviderTokens(caller: AuthenticatedCaller): Promise<void> {
    const { isolation, clock } = this.#options;
    // Tokens say in whole seconds when they were made; those of this second go too.
    const since = new Date(Math.ceil(clock.now() / 1000) * 1000);
    await isolation.withAccounts('end all tokens', (scope) =>
      new AccountRepository(scope).refuseTokensBefore(caller.userId, since),
    );
  }

  /**
   * Erases the account and every row it owns.
   *
   * @param password required where the account has one
   * @throws Problem `validation_failed` for a missing or wrong password, `account_locked`, `conflict` while the schema
   *   does not record owners
   */
  async erase(caller: AuthenticatedCaller, password: string | undefined, origin: RequestOrigin): Promise<void> {
    const { isolation } = this.#options;
    if (isolation.enforcement === 'ownerless') {
      throw problem('conflict', 'Who owns what is not recorded while isolation is off on a schema without owners.');
    }
    await this.#prove(caller, password, 'password', origin);
    await isolation.withUser(caller, (scope) => new OwnedDataRepository(scope).erase());
    this.#event('ACCOUNT_ERASED', caller.userId, origin);
  }

  /** Whoever is signed in shows that it also knows the password. */
  async #prove(
    caller: AuthenticatedCaller,
    password: string | undefined,
    field: string,
    origin: RequestOrigin,
  ): Promise<{ account: Account; passwordHash: string }> {
    requireLogin(caller);
    const { isolation } = this.#options;
    await isolation.readAsUser(caller, (scope) => new ProfileRepository(scope).present());
    const account = await isolation.withAccounts('check password', (scope) =>
      new AccountRepository(scope).findById(caller.userId),
    );
    if (!account) throw tokenFault('invalid');
    // Made by an outside identity provider, or on the command line: there is no password to know.
    if (account.password_hash === null && field === 'password') return { account, passwordHash: '' };
    if (account.password_hash === null) {
      throw problem('conflict', 'The account has no password to be changed.');
    }
    if (password === undefined) throw problem('validation_failed', `${field}: is required.`);
    if (account.locked_seconds > 0) throw locked(account.locked_seconds);
    const passwordHash = await this.#passes(account, password);
    if (passwordHash !== undefined) return { account, passwordHash };
    const seconds = await this.#countFailure(account, account.email, 'check_password', origin);
    if (seconds > 0) throw locked(seconds);
    throw problem('validation_failed', `${field}: is wrong.`, { errors: [{ field, message: 'is wrong' }] });
  }

  /** @returns the hash that the password fits, if the account may be signed in to; always after one verification */
  async #passes(account: Account | undefined, password: string): Promise<string | undefined> {
    const stored = account?.password_hash ?? undefined;
    const matches = await this.#verify(stored, password);
    const open = account?.status === 'active' && account.locked_seconds === 0;
    return matches && open ? stored : undefined;
  }

  /** @returns the seconds for which the account is locked by this failure, 0 when it is not */
  async #countFailure(
    account: Account | undefined,
    email: string,
    operation: string,
    origin: RequestOrigin,
  ): Promise<number> {
    const { isolation, securityLog } = this.#options;
    const { requestId, address } = origin;
    // The statements run for an id that nobody has, too: their number, at least, must not tell.
    const userId = account?.id ?? uuidv7();
    const seconds = await isolation.withAccounts('count failed log-in', async (scope) => {
      const lockedFor = await new AccountRepository(scope).countFailure(userId);
      await recordAccountEvent(scope, { userId, operation, outcome: 'refused', reason: 'wrong password', requestId });
      return lockedFor;
    });
    const fields = {
      ...(account ? { user_id: account.id } : {}),
      // Not the address itself: what is typed into this field by mistake is a password.
      email_sha256: createHash('sha256').update(email.trim().toLowerCase()).digest('hex').slice(0, 16),
      request_id: requestId,
      address,
    };
    securityLog.event('LOGIN_FAILED', fields);
    if (seconds > 0) securityLog.event('LOGIN_LOCKED', { ...fields, seconds, attempts: lockOut.attempts });
    return seconds;
  }

  #event(name: 'PASSWORD_CHANGED' | 'ACCOUNT_ERASED', userId: string, { requestId, address }: RequestOrigin): void {
    this.#options.securityLog.event(name, { user_id: userId, request_id: requestId, address });
  }
}

function wrongCredentials(): Problem {
  return problem(
    'invalid_credentials',
    'The e-mail address or the password is wrong. After several failed attempts an account is locked for some minutes.',
  );
}

/** Only for who is signed in: to anybody else it would say that there is such an account. */
function locked(seconds: number): Problem {
  return problem('account_locked', `Too many wrong passwords; try again in ${seconds} seconds.`, {
    retry_after: seconds,
  });
}
