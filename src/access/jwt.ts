/**
 * Verifies access tokens. The issuer that a token claims decides who verifies it, and nothing else: each issuer has its
 * own key, algorithms and audience, and a token that lies about its issuer fails there.
 */

import { type Clock, systemClock } from '../clock.ts';
import { createExternalVerifier, type ExternalIssuer, type ExternalToken } from './external-token.ts';
import { createLocalVerifier, type LocalIssuer, type LocalToken } from './local-token.ts';
import { tokenFault } from './token-fault.ts';
import { readTokenForm } from './token-form.ts';

export type VerifiedToken = LocalToken | ExternalToken;

/**
 * @throws Problem `unauthenticated` with one of the guide's texts (G64, G68): "Invalid token", "Token expired",
 *   "User ID not found in request"
 * @throws Problem `unavailable` when the outside provider's keys are needed and cannot be had
 */
export type VerifyToken = (token: string) => Promise<VerifiedToken>;

export interface TokenVerifierOptions {
  readonly local: LocalIssuer;
  readonly external?: ExternalIssuer | undefined;
  readonly clock?: Clock;
}

/**
 * Makes the one function that verifies an access token.
 *
 * @throws TypeError when both issuers have the same name, for then one could speak for the other
 */
export function createTokenVerifier({ local, external, clock = systemClock }: TokenVerifierOptions): VerifyToken {
  if (external?.issuer === local.issuer) throw new TypeError('The two issuers must have different names');
  const verifyLocal = createLocalVerifier(local, clock);
  const verifyExternal = external && createExternalVerifier(external, clock);

  return async (token) => {
    const form = readTokenForm(token);
    if (form === null) throw tokenFault('invalid');
    if (form.claimedIssuer === local.issuer) return verifyLocal(token, form);
    if (verifyExternal && form.claimedIssuer === external.issuer) return verifyExternal(token, form);
    throw tokenFault('invalid');
  };
}
