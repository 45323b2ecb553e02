/** From an Authorization header to a caller. */
import type { Clock } from '../clock.ts';
import type { ProductIsolation } from '../database/isolation.ts';
import { createApiTokenCheck } from './api-token-check.ts';
import { parseBearer } from './bearer.ts';
import { type AuthenticatedCaller, scopesOf, userIdOf } from './caller.ts';
import type { VerifyToken } from './jwt.ts';
import type { LocalToken } from './local-token.ts';
import { opaqueTokenKind } from './opaque-token.ts';
import { createProviderAccounts } from './provider-accounts.ts';
import { tokenFault } from './token-fault.ts';

/**
 * @param authorization all values of the field: `request.raw.headersDistinct.authorization`
 * @throws Problem `unauthenticated` with the guide's texts
 */
export type Authenticate = (
  authorization: readonly string[] | undefined,
  requestId: string,
) => Promise<AuthenticatedCaller>;

export interface AuthenticateOptions {
  readonly verifyToken: VerifyToken;
  readonly isolation: ProductIsolation;
  /** Whether somebody known to the outside provider alone gets an account on first use. */
  readonly createUsers: boolean;
  readonly clock: Clock;
}

/**
 * Makes the function that every request goes through. It says who calls and what the credential allows. Whether the
 * account and the session may still act is checked by the isolation core, in the same flush as the request's work.
 */
export function createAuthenticate(options: AuthenticateOptions): Authenticate {
  const { verifyToken, isolation } = options;
  const checkApiToken = createApiTokenCheck(isolation, options.clock);
  const callerOfProvider = createProviderAccounts(isolation, options.createUsers);

  return async (authorization, requestId) => {
    const bearer = parseBearer(authorization);
    if (bearer.kind !== 'token') throw tokenFault(bearer.kind === 'none' ? 'noUser' : 'invalid');
    const kind = opaqueTokenKind(bearer.token);
    if (kind === 'api') return checkApiToken(bearer.token, requestId);
    // A refresh token opens nothing but /api/auth/refresh.
    if (kind === 'refresh') throw tokenFault('invalid');
    const token = await verifyToken(bearer.token);
    return token.kind === 'local' ? callerOfSession(token, requestId) : callerOfProvider(token, requestId);
  };
}

function callerOfSession(token: LocalToken, requestId: string): AuthenticatedCaller {
  return {
    userId: userIdOf(token.userId),
    issuedAt: token.issuedAt * 1000,
    sessionId: token.sessionId,
    actor: 'session',
    requestId,
    roles: token.roles,
    scopes: scopesOf(token.roles),
    credentialId: token.sessionId,
  };
}
