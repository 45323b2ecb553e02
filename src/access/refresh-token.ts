/**
 * Refresh tokens: opaque tokens that say who made them. Half of the secret part is random or follows from the token
 * before; the other half is a MAC over the ids and the first half. So a token that was never given out is told from one
 * that was exchanged already, without keeping every token of a session, and before the database is asked: ids are no
 * secret, and whoever learns a session's must not be able to end it by making a token up.
 */
import { createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { parse as uuidBytes } from 'uuid';
import {
  hashesEqual,
  type MintedOpaqueToken,
  mintOpaqueToken,
  opaqueSecretBytes,
  type ParsedOpaqueToken,
  parseOpaqueToken,
} from './opaque-token.ts';

/** 128 bits to guess, and 128 bits to forge. */
const halfBytes = opaqueSecretBytes / 2;

interface Keys {
  readonly succession: Buffer;
  readonly mark: Buffer;
}

export interface RefreshTokenSecrets {
  /** JWT_SECRET_KEY, of which the keys are derived. */
  readonly secret: string;
  /** JWT_SECRET_KEY_PREVIOUS: tokens made under it are still taken. */
  readonly previousSecret?: string | undefined;
}

export class RefreshTokens {
  readonly #present: Keys;
  readonly #accepted: readonly Keys[];

  constructor({ secret, previousSecret }: RefreshTokenSecrets) {
    this.#present = keysOf(secret);
    this.#accepted = [this.#present, ...(previousSecret === undefined ? [] : [keysOf(previousSecret)])];
  }

  /** @throws TypeError when an id is not a UUID */
  mint(userId: string, sessionId: string): MintedOpaqueToken {
    return this.#marked(userId, sessionId, randomBytes(halfBytes));
  }

  /**
   * The token that follows another one when it is exchanged. It depends on the old token and on a key of the server, so
   * the same exchange made twice (two tabs, a lost answer) has the same result, and the old token alone does not give
   * the new one away.
   */
  succeed({ userId, rowId, secret }: ParsedOpaqueToken): MintedOpaqueToken {
    const mac = createHmac('sha256', this.#present.succession).update('successor');
    const half = mac.update(uuidBytes(userId)).update(uuidBytes(rowId)).update(secret).digest().subarray(0, halfBytes);
    return this.#marked(userId, rowId, half);
  }

  /** @returns null for anything that is no refresh token of this server's making */
  parse(text: string): ParsedOpaqueToken | null {
    const parsed = parseOpaqueToken('refresh', text);
    if (parsed === null) return null;
    const { userId, rowId, secret } = parsed;
    const half = secret.subarray(0, halfBytes);
    const mark = secret.subarray(halfBytes);
    return this.#accepted.some((keys) => hashesEqual(mark, markOf(keys, userId, rowId, half))) ? parsed : null;
  }

  #marked(userId: string, sessionId: string, half: Buffer): MintedOpaqueToken {
    const secret = Buffer.concat([half, markOf(this.#present, userId, sessionId, half)]);
    return mintOpaqueToken('refresh', userId, sessionId, secret);
  }
}

/** The labels keep the keys apart from each other and from every other use of the secret (RFC 5869 §3.2). */
function keysOf(secret: string): Keys {
  const derive = (label: string) => Buffer.from(hkdfSync('sha256', secret, '', label, 32));
  return { succession: derive('ringfence refresh succession v1'), mark: derive('ringfence refresh mark v1') };
}

function markOf({ mark }: Keys, userId: string, sessionId: string, half: Uint8Array): Buffer {
  const mac = createHmac('sha256', mark).update(uuidBytes(userId)).update(uuidBytes(sessionId)).update(half);
  return mac.digest().subarray(0, halfBytes);
}
