/** Who calls, and what the credential it came with allows. */
import { type TokenScope, tokenScopes } from '../contract/accounts.ts';
import { problem } from '../errors.ts';
import { parseUserId, type UserId } from '../isolation/identity.ts';
import type { Caller } from '../isolation/scope.ts';
import { type Role, roles } from './local-token.ts';
import { tokenFault } from './token-fault.ts';

export interface AuthenticatedCaller extends Caller {
  /** `session`: our own access token. `token`: an API token. `provider`: an outside identity provider's token. */
  readonly actor: 'session' | 'token' | 'provider';
  readonly roles: readonly Role[];
  /** What the credential allows; `admin` only for administrators. */
  readonly scopes: readonly TokenScope[];
  /** The session or API token that the caller came in with; the user's own id for an outside provider's token. */
  readonly credentialId: string;
}

export function userIdOf(text: string): UserId {
  const userId = parseUserId(text);
  if (userId === null) throw tokenFault('noUser');
  return userId;
}

export function rolesOf(stored: readonly string[]): Role[] {
  return roles.filter((role) => stored.includes(role));
}

/** @param granted what the credential was given; everything by default */
export function scopesOf(held: readonly Role[], granted: readonly string[] = tokenScopes): TokenScope[] {
  return tokenScopes.filter((scope) => granted.includes(scope) && (scope !== 'admin' || held.includes('admin')));
}

/**
 * The account itself (its password, its tokens, its end) is not for API tokens: one that leaked must not be able to
 * make more of its kind or to lock its user out.
 *
 * @throws Problem `insufficient_scope`
 */
export function requireLogin(caller: AuthenticatedCaller): void {
  if (caller.actor === 'token') {
    throw problem('insufficient_scope', 'This needs a log-in: an API token cannot change the account itself.');
  }
}
