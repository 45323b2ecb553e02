/** Access as a server uses it, put together from the configuration. */
import type { Clock } from '../clock.ts';
import type { Config } from '../config.ts';
import type { ProductIsolation } from '../database/isolation.ts';
import type { SecurityLog } from '../log.ts';
import { Accounts } from './accounts.ts';
import { type Authenticate, createAuthenticate } from './authenticate.ts';
import { createTokenVerifier } from './jwt.ts';
import { createTokenMinter } from './local-token.ts';
import type { verifyPassword } from './password.ts';
import { Sessions } from './sessions.ts';
import { rememberVerified } from './verified-token-cache.ts';

export interface AccessOptions {
  readonly config: Config;
  /** JWT_SECRET_KEY, or the one kept in the data directory. */
  readonly secret: string;
  readonly isolation: ProductIsolation;
  readonly securityLog: SecurityLog;
  readonly clock: Clock;
  readonly verifyPassword?: typeof verifyPassword;
}

export interface Access {
  readonly authenticate: Authenticate;
  readonly accounts: Accounts;
  readonly sessions: Sessions;
}

export function createAccess(options: AccessOptions): Access {
  const { config, secret, isolation, securityLog, clock } = options;
  const local = { ...config.jwt, secretKey: secret };
  const { accessTokenSeconds, refreshTokenSeconds } = config.jwt;
  const verifyToken = rememberVerified(createTokenVerifier({ local, external: config.jwks, clock }), clock);
  const sessions = new Sessions({
    isolation,
    mintAccessToken: createTokenMinter(local, accessTokenSeconds, clock),
    // Access tokens end with their session, which must not be sooner than they say.
    refreshTokenSeconds: Math.max(refreshTokenSeconds, accessTokenSeconds),
    secret,
    previousSecret: config.jwt.previousSecretKey,
    securityLog,
  });
  const accounts = new Accounts({
    isolation,
    sessions,
    registrationEnabled: config.registrationEnabled,
    securityLog,
    clock,
    ...(options.verifyPassword ? { verifyPassword: options.verifyPassword } : {}),
  });
  const createUsers = config.jwks?.createUsers ?? false;
  return { authenticate: createAuthenticate({ verifyToken, isolation, createUsers, clock }), accounts, sessions };
}
