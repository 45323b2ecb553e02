/** `ringfence token mint`: an access token for scripts (the guide's $USER_A_TOKEN and $ADMIN_TOKEN). */
import { randomBytes } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { createTokenMinter, type Role, roles } from '../access/local-token.ts';
import { systemClock } from '../clock.ts';
import type { Config } from '../config.ts';
import { problem } from '../errors.ts';
import { recordAccountEvent } from '../repositories/access-log.ts';
import { AccountRepository } from '../repositories/accounts.ts';
import { RefreshTokenRepository } from '../repositories/sessions.ts';
import { withIsolation } from './database.ts';
import { printJson } from './print.ts';

export interface MintedToken {
  readonly access_token: string;
  readonly token_type: 'Bearer';
  /** Seconds. */
  readonly expires_in: number;
}

/**
 * The token has a session of its own, so that it can be ended like any other.
 *
 * @param hours undefined takes JWT_TOKEN_EXPIRE_HOURS
 * @throws Problem `not_found` when there is no such user, `validation_failed` when that user may not sign in
 */
export async function mintToken(config: Config, email: string, hours?: number): Promise<MintedToken> {
  const seconds = hours === undefined ? config.jwt.accessTokenSeconds : Math.max(1, Math.round(hours * 3600));
  return withIsolation(config, async (isolation, secretKey) => {
    const sessionId = uuidv7();
    const account = await isolation.withAccounts('mint token', async (scope) => {
      const found = await new AccountRepository(scope).findByEmail(email);
      if (!found) throw problem('not_found', `--email: there is no user with the address ${email}`);
      if (found.status !== 'active') throw problem('validation_failed', `--email: the user is ${found.status}`);
      // Nobody knows what this is the hash of: the session has no refresh token.
      await new RefreshTokenRepository(scope).open(
        found.id,
        sessionId,
        randomBytes(32),
        seconds,
        'ringfence token mint',
      );
      await recordAccountEvent(scope, {
        userId: found.id,
        operation: 'mint_token',
        outcome: 'ok',
        requestId: uuidv7(),
        actor: 'cli',
      });
      return found;
    });
    const mint = createTokenMinter({ ...config.jwt, secretKey }, seconds, systemClock);
    const held = roles.filter((role): role is Role => account.roles.includes(role));
    const { token } = await mint({ userId: account.id, email: account.email, roles: held, sessionId });
    return { access_token: token, token_type: 'Bearer', expires_in: seconds };
  });
}

export async function runTokenMint(
  config: Config,
  { email, hours, json = false }: { email: string; hours?: number; json?: boolean },
): Promise<void> {
  const minted = await mintToken(config, email, hours);
  if (json) printJson(minted);
  else console.log(minted.access_token);
}
