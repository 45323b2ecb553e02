/**
 * The form of refresh tokens (`rfr_…`) and personal API tokens (`rft_…`). They carry the ids of their owner and of their
 * row, so that the look-up is by primary key within one user's rows, and a secret of which only the SHA-256 is stored.
 * The secret has at least 128 random bits, so a plain hash is enough: there is nothing to guess (unlike a password).
 */

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { parse as uuidBytes, stringify as uuidText } from 'uuid';

export type OpaqueTokenKind = 'refresh' | 'api';

const prefixes = { refresh: 'rfr_', api: 'rft_' } as const;
const idBytes = 16;
export const opaqueSecretBytes = 32;
const bodyBytes = 2 * idBytes + opaqueSecretBytes;
/** Length of a token of either kind: 4 + 86 characters. */
export const opaqueTokenLength = 4 + Math.ceil((bodyBytes * 8) / 6);

export interface MintedOpaqueToken {
  /** Given to its owner once and never stored. */
  readonly token: string;
  /** SHA-256 of the secret part, 32 bytes: what is stored. */
  readonly hash: Buffer;
}

export interface ParsedOpaqueToken {
  /** Lower-case UUID; claimed, not proved: compare `secretHash` with the stored one. */
  readonly userId: string;
  /** Lower-case UUID. */
  readonly rowId: string;
  /** The secret part, 32 bytes. */
  readonly secret: Buffer;
  /** SHA-256 of the secret part, 32 bytes. */
  readonly secretHash: Buffer;
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

/**
 * Makes a token.
 *
 * @param userId UUID of the owner
 * @param rowId UUID of the row that will hold the hash
 * @param secret 32 bytes; random ones unless said
 * @throws TypeError when an id is not a UUID
 */
export function mintOpaqueToken(
  kind: OpaqueTokenKind,
  userId: string,
  rowId: string,
  secret: Uint8Array = randomBytes(opaqueSecretBytes),
): MintedOpaqueToken {
  const body = Buffer.concat([uuidBytes(userId), uuidBytes(rowId), secret]);
  return { token: prefixes[kind] + body.toString('base64url'), hash: sha256(secret) };
}

/** Which kind a credential claims to be by its prefix; null for anything else, such as a JWT. */
export function opaqueTokenKind(text: string): OpaqueTokenKind | null {
  if (text.startsWith(prefixes.api)) return 'api';
  return text.startsWith(prefixes.refresh) ? 'refresh' : null;
}

/**
 * Takes a token apart. There is exactly one spelling of each token: padding, other alphabets, white space and unused
 * bits that are set (RFC 4648 §3.5) are refused.
 *
 * @param kind the only kind that is accepted here
 * @returns null when the text is not a token of that kind
 */
export function parseOpaqueToken(kind: OpaqueTokenKind, text: string): ParsedOpaqueToken | null {
  if (text.length !== opaqueTokenLength || !text.startsWith(prefixes[kind])) return null;
  const encoded = text.slice(prefixes[kind].length);
  const body = Buffer.from(encoded, 'base64url');
  if (body.length !== bodyBytes || body.toString('base64url') !== encoded) return null;
  const secret = body.subarray(2 * idBytes);
  try {
    return {
      userId: uuidText(body.subarray(0, idBytes)),
      rowId: uuidText(body.subarray(idBytes, 2 * idBytes)),
      secret,
      secretHash: sha256(secret),
    };
  } catch {
    return null; // the bytes are not those of a UUID (RFC 9562)
  }
}

/** Compares two hashes in a time that does not depend on where they differ. */
export function hashesEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
