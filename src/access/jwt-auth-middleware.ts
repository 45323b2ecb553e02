/** The deployment guide's entry point (G25, G69) for programs that only want to know whose token it is. */

import { problem } from '../errors.ts';
import { parseBearer } from './bearer.ts';
import { createTokenVerifier, type VerifyToken } from './jwt.ts';
import type { LocalIssuer } from './local-token.ts';
import { secretWeakness } from './secret-strength.ts';
import { tokenFault } from './token-fault.ts';

export interface JWTAuthMiddlewareOptions {
  /** `JWT_SECRET_KEY`: the secret that the tokens were signed with (G65). */
  readonly secretKey: string;
  /** HS256 unless set. */
  readonly algorithm?: LocalIssuer['algorithm'];
  /** "ringfence" unless set. */
  readonly issuer?: string;
  /** "ringfence-api" unless set. */
  readonly audience?: string;
}

const minimumBytes = { HS256: 32, HS384: 48, HS512: 64 } as const;

export class JWTAuthMiddleware {
  readonly #verify: VerifyToken;

  /** @throws Problem `config_invalid` when the secret is a placeholder or too weak */
  constructor(options: JWTAuthMiddlewareOptions) {
    const { secretKey, algorithm = 'HS256', issuer = 'ringfence', audience = 'ringfence-api' } = options;
    if (!Object.hasOwn(minimumBytes, algorithm)) {
      throw problem('config_invalid', 'algorithm: must be one of HS256, HS384, HS512');
    }
    const weakness = secretWeakness(secretKey, minimumBytes[algorithm]);
    if (weakness !== undefined) throw problem('config_invalid', `secretKey: ${weakness}`);
    this.#verify = createTokenVerifier({ local: { secretKey, algorithm, issuer, audience } });
  }

  /**
   * Says whose token it is. It checks the token alone: whether its session was ended is for the server to know.
   *
   * @param token with or without the `Bearer ` prefix (G67)
   * @returns the user's id, a lower-case UUID
   * @throws Problem `unauthenticated`: "Invalid token", "Token expired" or "User ID not found in request"
   */
  async extractUserFromToken(token: string): Promise<string> {
    const header = parseBearer(/^bearer /i.test(token) ? token : `Bearer ${token}`);
    if (header.kind !== 'token') throw tokenFault('invalid');
    const verified = await this.#verify(header.token);
    if (verified.kind !== 'local') throw tokenFault('invalid');
    return verified.userId;
  }
}
