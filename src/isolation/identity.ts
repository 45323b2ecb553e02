/**
 * The signed identity (I4). The application mints it, `ringfence.current_user_id()` in Postgres verifies it, and the
 * policies believe nothing else. See database/isolation/identity.sql for the other half.
 */
import { createHash, createHmac, hkdfSync } from 'node:crypto';

declare const userIdBrand: unique symbol;

/** A user's UUID in canonical lower-case form. Made by `parseUserId` alone. */
export type UserId = string & { readonly [userIdBrand]: true };

const canonicalUuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** @returns the user id, or null when the text is not a UUID in canonical lower-case form */
export function parseUserId(text: unknown): UserId | null {
  return typeof text === 'string' && canonicalUuid.test(text) ? (text as UserId) : null;
}

/** How long a minted identity is good for. It is bound to one connection and one transaction begins at once. */
export const identityLifetimeMs = 120_000;

const blockBytes = 64;
const innerPad = 0x36;
const outerPad = 0x5c;

/** An HMAC-SHA256 key (RFC 2104) derived from the server's secret, so that several servers agree on it. */
export interface IdentityKey {
  readonly keyId: string;
  readonly key: Buffer;
}

/**
 * @param secret JWT_SECRET_KEY; the label keeps this key apart from every other use of the secret (RFC 5869 §3.2)
 */
export function deriveIdentityKey(secret: string): IdentityKey {
  const key = Buffer.from(hkdfSync('sha256', secret, '', 'ringfence identity key v1', 32));
  const keyId = createHash('sha256').update('ringfence identity key id').update(key).digest('hex').slice(0, 16);
  return { keyId, key };
}

/** The key combined with the two pads, as ringfence.identity_keys stores it. */
export function identityKeyPads(identityKey: IdentityKey): { inner: Buffer; outer: Buffer } {
  const padded = Buffer.alloc(blockBytes);
  identityKey.key.copy(padded);
  return {
    inner: padded.map((byte) => byte ^ innerPad) as Buffer,
    outer: padded.map((byte) => byte ^ outerPad) as Buffer,
  };
}

/**
 * @param pid the backend the identity is good for; 0 when a pooler hides it
 * @param now the database's time in milliseconds since 1970
 */
export function mintIdentity(identityKey: IdentityKey, userId: UserId, pid: number, now: number): string {
  const message = `${userId}.${Math.floor(now) + identityLifetimeMs}.${pid}.${identityKey.keyId}`;
  return `${message}.${createHmac('sha256', identityKey.key).update(message).digest('hex')}`;
}
