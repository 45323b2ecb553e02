/** From an Authorization header to a caller. */

import { parseUserId } from '../isolation/identity.ts';
import type { Caller } from '../isolation/scope.ts';
import { parseBearer } from './bearer.ts';
import type { VerifyToken } from './jwt.ts';
import type { Role } from './local-token.ts';
import { tokenFault } from './token-fault.ts';

export const tokenScopes = ['read', 'write', 'admin'] as const;
export type TokenScope = (typeof tokenScopes)[number];

export interface AuthenticatedCaller extends Caller {
  readonly roles: readonly Role[];
  /** What the credential allows; `admin` only for administrators. */
  readonly scopes: readonly TokenScope[];
  /** The session or API token that the caller came in with. */
  readonly credentialId: string;
}

/** @throws Problem `unauthenticated` with the guide's texts */
export type Authenticate = (authorization: string | undefined, requestId: string) => Promise<AuthenticatedCaller>;

/** Makes the function that every request goes through. */
export function createAuthenticate(verifyToken: VerifyToken): Authenticate {
  return async (authorization, requestId) => {
    const bearer = parseBearer(authorization);
    if (bearer.kind !== 'token') throw tokenFault(bearer.kind === 'none' ? 'noUser' : 'invalid');
    const token = await verifyToken(bearer.token);
    if (token.kind !== 'local') throw tokenFault('invalid');
    const userId = parseUserId(token.userId);
    if (userId === null) throw tokenFault('noUser');
    return {
      userId,
      issuedAt: token.issuedAt * 1000,
      sessionId: token.sessionId,
      actor: 'session',
      requestId,
      roles: token.roles,
      scopes: token.roles.includes('admin') ? ['read', 'write', 'admin'] : ['read', 'write'],
      credentialId: token.sessionId,
    };
  };
}
