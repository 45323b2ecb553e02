/** The isolation core, set up for this product's tables. */
import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { ConnectionPool, type Statement } from '../isolation/connection.ts';
import { deriveIdentityKey } from '../isolation/identity.ts';
import { ownership } from '../isolation/owned-tables.ts';
import {
  type AccountsScope,
  type Caller,
  type Enforcement,
  Isolation,
  type SystemScope,
  type UserScope,
} from '../isolation/scope.ts';
import type { Database } from './tables.gen.ts';

export type ProductIsolation = Isolation<Database>;
export type ProductUserScope = UserScope<Database>;
export type ProductSystemScope = SystemScope<Database>;
export type ProductAccountsScope = AccountsScope<Database>;

export interface IsolationConnections {
  /** Log-ins of the two serving roles. While isolation is off on the schema before it, both are the owner's. */
  readonly appUrl: string;
  readonly systemUrl: string;
  /** Connections for users; system mode and accounts get half as many. */
  readonly poolSize: number;
  /** JWT_SECRET_KEY, of which the identity key is derived. */
  readonly secret: string;
  readonly enforcement: Enforcement;
  readonly onIdleError?: (error: Error) => void;
}

/** Opens the pools; they connect on first use. `close` waits for what is under way. */
export function openIsolation(options: IsolationConnections): { isolation: ProductIsolation; close(): Promise<void> } {
  const { onIdleError } = options;
  const notice = onIdleError ? { onIdleError } : {};
  const app = new ConnectionPool({
    url: options.appUrl,
    size: options.poolSize,
    applicationName: 'ringfence',
    ...notice,
  });
  const system = new ConnectionPool({
    url: options.systemUrl,
    size: options.enforcement === 'on' ? Math.max(2, Math.ceil(options.poolSize / 2)) : options.poolSize,
    applicationName: 'ringfence-system',
    ...notice,
  });
  const isolation = new Isolation<Database>({
    enforcement: options.enforcement,
    app,
    system,
    key: deriveIdentityKey(options.secret),
    ownership,
    admission,
    recordSystemUse,
  });
  return {
    isolation,
    close: async () => {
      await Promise.all([app.end(), system.end()]);
    },
  };
}

/** The account is active, the token is not from before the last password change, and its session has not ended. */
function admission(caller: Caller): Statement {
  return {
    sql: `select 1 from users where id = $1 and status = 'active' and tokens_valid_after <= $2
and ($3::uuid is null or exists (
  select from sessions where user_id = $1 and id = $3 and revoked_at is null and expires_at > now()
))`,
    parameters: [caller.userId, new Date(caller.issuedAt ?? 8.64e15), caller.sessionId ?? null],
  };
}

async function recordSystemUse(scope: ProductSystemScope): Promise<void> {
  const { actor, reason, note } = scope.use;
  await scope.run(
    scope.db.insertInto('user_access_log').values({
      user_id: actor.userId,
      id: uuidv7(),
      actor: actor.actor,
      operation: 'system_mode',
      outcome: 'system',
      reason: note === undefined ? reason : `${reason}: ${note}`,
      request_id: actor.requestId,
      at: sql<Date>`clock_timestamp()`,
    }),
  );
}
