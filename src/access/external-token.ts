/**
 * Tokens of an outside identity provider, verified with the keys it publishes (JWKS). Asymmetric algorithms alone, the
 * keys from the configured address alone: nothing in a token says where its key is.
 */

import { createRemoteJWKSet, errors, type JWTPayload, jwtVerify } from 'jose';
import { z } from 'zod';
import type { Clock } from '../clock.ts';
import { Problem, problem } from '../errors.ts';
import { asTokenFault } from './local-token.ts';
import { tokenFault } from './token-fault.ts';
import type { TokenForm } from './token-form.ts';

/** `config.jwks` satisfies this. */
export interface ExternalIssuer {
  /** Address of the provider's key set. */
  readonly url: string;
  readonly issuer: string;
  readonly audience: string;
}

export interface ExternalToken {
  readonly kind: 'external';
  readonly issuer: string;
  /** Unique within the issuer; (issuer, subject) is the identity, never the e-mail. */
  readonly subject: string;
  readonly email: string | undefined;
  /** True only when the provider says so; an unverified e-mail must not join an account. */
  readonly emailVerified: boolean;
  readonly name: string | undefined;
  /** Seconds since the Unix epoch; not every provider says. */
  readonly issuedAt: number | undefined;
  /** Seconds since the Unix epoch. */
  readonly expiresAt: number;
}

const externalAlgorithms = ['RS256', 'ES256', 'EdDSA'] as const;

/** RFC 9068 says at+jwt; most providers still say JWT or nothing. Logout, DPoP and other tokens have types of their own. */
const acceptedTypes = new Set([undefined, 'jwt', 'at+jwt', 'application/at+jwt']);
const clockSkewSeconds = 30;
const numericDate = z.number().nonnegative().max(1e11);

const timing = {
  /** Milliseconds until a fetch is given up. */
  timeoutDuration: 3000,
  /** Milliseconds between two fetches because of a key that is not in the set: unknown kids cannot make us hammer. */
  cooldownDuration: 30_000,
  /** Milliseconds after which the set is fetched anew, so that a withdrawn key dies. */
  cacheMaxAge: 600_000,
} as const;
/** Milliseconds during which, after a failed fetch, tokens are refused without another one. */
const failureCooldown = 5000;

const externalClaims = z.object({
  exp: numericDate,
  iat: numericDate.optional(),
  // Bound to a key of the client (RFC 9449 §6, RFC 8705 §3.1); accepting it as a bearer would undo that.
  cnf: z.undefined().optional(),
});
const email = z
  .string()
  .min(3)
  .max(320)
  .regex(/^[^\s@\0]+@[^\s@\0]+$/);
const displayName = z.string().trim().min(1).max(200);

function wellFormed(text: unknown): text is string {
  return typeof text === 'string' && text.isWellFormed() && !text.includes('\0');
}

function readClaims(payload: JWTPayload, issuer: string, now: number): ExternalToken {
  const { sub } = payload;
  if (!wellFormed(sub) || sub.trim() === '') throw tokenFault('noUser');
  const claims = externalClaims.safeParse(payload);
  // OpenID Connect Core §2: a subject has at most 255 characters.
  if (!claims.success || sub.length > 255 || (claims.data.iat ?? 0) > now + clockSkewSeconds) {
    throw tokenFault('invalid', claims.error);
  }
  const address = email.safeParse(payload.email);
  const name = displayName.safeParse(payload.name);
  return {
    kind: 'external',
    issuer,
    subject: sub,
    email: address.success && wellFormed(address.data) ? address.data : undefined,
    emailVerified: address.success && payload.email_verified === true,
    name: name.success && wellFormed(name.data) ? name.data : undefined,
    issuedAt: claims.data.iat,
    expiresAt: claims.data.exp,
  };
}

/** The published keys, with faults told apart: no such key is the token's, everything else is the provider's. */
function createKeySource(url: string, clock: Clock) {
  const published = createRemoteJWKSet(new URL(url), timing);
  let failedAt = Number.NEGATIVE_INFINITY;
  return async (...parameters: Parameters<typeof published>) => {
    const unavailable = (cause?: unknown) =>
      problem('unavailable', 'The identity provider does not answer; try again', undefined, { cause });
    if (!published.fresh && clock.now() - failedAt < failureCooldown) throw unavailable();
    try {
      return await published(...parameters);
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) throw error;
      if (error instanceof errors.JOSENotSupported) throw error; // a header that no key can serve
      failedAt = clock.now();
      throw unavailable(error);
    }
  };
}

/** Verifies tokens of one outside provider; the form has been read and claims that issuer. */
export function createExternalVerifier(external: ExternalIssuer, clock: Clock) {
  const keys = createKeySource(external.url, clock);

  return async (token: string, form: TokenForm): Promise<ExternalToken> => {
    if (!acceptedTypes.has(form.type?.toLowerCase())) throw tokenFault('invalid');
    const currentDate = new Date(clock.now());
    try {
      const { payload } = await jwtVerify(token, keys, {
        algorithms: [...externalAlgorithms], // checked before any key is fetched
        issuer: external.issuer,
        audience: external.audience,
        requiredClaims: ['exp'],
        clockTolerance: clockSkewSeconds,
        currentDate,
      });
      return readClaims(payload, external.issuer, currentDate.getTime() / 1000);
    } catch (error) {
      if (error instanceof Problem) throw error;
      // A published key that cannot be used (an RSA key below 2048 bits, say) is a TypeError of the library.
      throw error instanceof TypeError ? tokenFault('invalid', error) : asTokenFault(error);
    }
  };
}
