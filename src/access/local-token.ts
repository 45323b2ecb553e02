/**
 * Our own access tokens: JWT signed with the local secret (RFC 9068 form). One verifier, one algorithm, one audience;
 * keys of outside providers never meet this list (CVE-2026-22818: HS256 and RS256 in one list lets a published public
 * key sign tokens).
 */

import { createSecretKey, randomUUID } from 'node:crypto';
import { errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { validate as isUuid } from 'uuid';
import { z } from 'zod';
import type { Clock } from '../clock.ts';
import { tokenFault } from './token-fault.ts';
import type { TokenForm } from './token-form.ts';

export const roles = ['user', 'admin'] as const;
export type Role = (typeof roles)[number];

/** `config.jwt` with its secret filled in satisfies this. */
export interface LocalIssuer {
  /** Taken as UTF-8 bytes. */
  readonly secretKey: string;
  /** Tokens signed with it are still accepted, while the secret is being replaced. */
  readonly previousSecretKey?: string | undefined;
  readonly algorithm: 'HS256' | 'HS384' | 'HS512';
  readonly issuer: string;
  readonly audience: string;
}

export interface AccessTokenSubject {
  readonly userId: string;
  readonly email: string;
  readonly roles: readonly Role[];
  /** The session that the token belongs to; when it ends, the token is refused. */
  readonly sessionId: string;
}

export interface MintedAccessToken {
  readonly token: string;
  readonly tokenId: string;
  /** Seconds. */
  readonly expiresIn: number;
}

export interface LocalToken {
  readonly kind: 'local';
  readonly userId: string;
  readonly sessionId: string;
  readonly email: string;
  /** As they were when the token was minted. */
  readonly roles: readonly Role[];
  readonly tokenId: string;
  /** Seconds since the Unix epoch. */
  readonly issuedAt: number;
  /** Seconds since the Unix epoch. */
  readonly expiresAt: number;
}

/** RFC 9068 §2.1. An ID token, a logout token or a plain JWT signed with the same secret is not an access token. */
const accessTokenType = 'at+jwt';
/** Servers that share a secret may disagree about the time by so much; further in the future is a forgery or a fault. */
const clockSkewSeconds = 60;
// Beyond the year 5138; refuses Infinity, which JSON.parse makes of 1e999 and which would never expire.
const numericDate = z.number().nonnegative().max(1e11);

const localClaims = z.object({
  aud: z.string(),
  exp: numericDate,
  iat: numericDate,
  jti: z.string().min(1).max(128),
  sid: z.uuid(),
  email: z.string().min(1).max(320),
  roles: z.array(z.enum(roles)).min(1).max(roles.length),
});

function keyOf(secret: string) {
  return createSecretKey(Buffer.from(secret, 'utf8'));
}

/**
 * @param lifetimeSeconds how long a token is good
 * @returns a function that mints a token for a subject
 */
export function createTokenMinter(issuer: LocalIssuer, lifetimeSeconds: number, clock: Clock) {
  const key = keyOf(issuer.secretKey);
  return async (subject: AccessTokenSubject): Promise<MintedAccessToken> => {
    const issuedAt = Math.floor(clock.now() / 1000);
    const tokenId = randomUUID();
    const token = await new SignJWT({ email: subject.email, roles: [...subject.roles], sid: subject.sessionId })
      .setProtectedHeader({ alg: issuer.algorithm, typ: accessTokenType })
      .setSubject(subject.userId)
      .setIssuer(issuer.issuer)
      .setAudience(issuer.audience)
      .setIssuedAt(issuedAt)
      .setExpirationTime(issuedAt + lifetimeSeconds)
      .setJti(tokenId)
      .sign(key);
    return { token, tokenId, expiresIn: lifetimeSeconds };
  };
}

function readClaims(payload: JWTPayload, now: number): LocalToken {
  const { sub } = payload;
  if (typeof sub !== 'string' || !isUuid(sub)) throw tokenFault('noUser');
  const claims = localClaims.safeParse(payload);
  if (!claims.success || claims.data.iat > now + clockSkewSeconds) throw tokenFault('invalid', claims.error);
  const { iat: issuedAt, exp: expiresAt, jti: tokenId, sid, email, roles } = claims.data;
  return {
    kind: 'local',
    userId: sub.toLowerCase(),
    sessionId: sid.toLowerCase(),
    email,
    roles,
    tokenId,
    issuedAt,
    expiresAt,
  };
}

/** Verifies tokens of one local issuer; the form has been read and claims that issuer. */
export function createLocalVerifier(issuer: LocalIssuer, clock: Clock) {
  const secrets = [issuer.secretKey, issuer.previousSecretKey].filter((secret) => secret !== undefined);
  const keys = secrets.map(keyOf);

  return async (token: string, form: TokenForm): Promise<LocalToken> => {
    // We write "alg" and "typ", which are checked below; a token with a "kid" or anything else is not ours.
    if (form.headerNames.length !== 2) throw tokenFault('invalid');
    const currentDate = new Date(clock.now());
    const { issuer: iss, audience, algorithm } = issuer;
    let failure: unknown;
    for (const key of keys) {
      try {
        const { payload } = await jwtVerify(token, key, {
          algorithms: [algorithm],
          issuer: iss,
          audience,
          typ: accessTokenType,
          requiredClaims: ['exp', 'iat'],
          currentDate,
        });
        return readClaims(payload, currentDate.getTime() / 1000);
      } catch (error) {
        failure = error;
        // Only a signature that does not fit leaves hope for the other key.
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) break;
      }
    }
    throw asTokenFault(failure);
  };
}

/** Turns what the library says into one of the fixed texts; what is none of its refusals stays what it is. */
export function asTokenFault(error: unknown): unknown {
  if (error instanceof errors.JWTExpired) return tokenFault('expired', error);
  if (error instanceof errors.JOSEError) return tokenFault('invalid', error);
  return error;
}
