/** A real server on a real port over a database of its own, and users to call it as. */
import { pino } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import {
  type AccessTokenSubject,
  createTokenMinter,
  type MintedAccessToken,
  type Role,
} from '../../src/access/local-token.ts';
import type { verifyPassword } from '../../src/access/password.ts';
import { createAccess } from '../../src/access/wiring.ts';
import { type Clock, systemClock } from '../../src/clock.ts';
import { type Config, loadConfig } from '../../src/config.ts';
import { openIsolation, type ProductIsolation } from '../../src/database/isolation.ts';
import { withOwner } from '../../src/database/owner.ts';
import { appRole, closeDatabase, roleUrl, systemRole } from '../../src/database/provision.ts';
import { createApp } from '../../src/http/app.ts';
import { parseUserId, type UserId } from '../../src/isolation/identity.ts';
import type { Caller, Enforcement } from '../../src/isolation/scope.ts';
import type { SecurityEvent, SecurityLog } from '../../src/log.ts';
import { AccountAdministration } from '../../src/repositories/account-administration.ts';
import { createDatabase, type TestDatabase } from './postgres.ts';
import { testSecret } from './templates.ts';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  readonly body: any;
}

export interface TestUser {
  readonly id: UserId;
  readonly email: string;
  readonly token: string;
  readonly caller: Caller;
  /** Sends a request as this user; a body goes out as JSON. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
}

export interface SecurityEventSeen {
  readonly name: SecurityEvent;
  readonly fields: Record<string, unknown>;
}

export interface TestServer {
  readonly url: string;
  readonly database: TestDatabase;
  readonly isolation: ProductIsolation;
  readonly config: Config;
  /** What went to the security log. */
  readonly securityEvents: readonly SecurityEventSeen[];
  /** Makes access tokens as the server does, for whomever. */
  readonly mint: (subject: AccessTokenSubject) => Promise<MintedAccessToken>;
  /** A user with a session, made without going through registration. */
  user(options?: { readonly roles?: readonly Role[] }): Promise<TestUser>;
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  /** Every route that the server has, as its router knows them: `GET /api/projects/:id`. */
  routes(): string[];
  close(): Promise<void>;
}

export interface TestServerOptions {
  readonly template?: 'isolated' | 'before_isolation';
  readonly enforcement?: Enforcement;
  readonly env?: Record<string, string>;
  /** Decides when access tokens expire; the database has its own clock. */
  readonly clock?: Clock;
  /** For counting how often a password is checked. */
  readonly verifyPassword?: typeof verifyPassword;
}

export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const database = await createDatabase(options.template ?? 'isolated');
  const enforcement = options.enforcement ?? 'on';
  const owned = enforcement === 'ownerless';
  // A clone does not have the privileges that its template had as a database.
  if (!owned) await withOwner(database.url, closeDatabase);
  const config = loadConfig({
    DATABASE_URL: database.url,
    JWT_SECRET_KEY: testSecret,
    CREDENTIAL_RATE_LIMIT_PER_MINUTE: '0',
    PORT: '0',
    ...options.env,
  });
  const opened = openIsolation({
    appUrl: owned ? database.url : roleUrl(database.url, appRole, testSecret),
    systemUrl: owned ? database.url : roleUrl(database.url, systemRole, testSecret),
    poolSize: 4,
    secret: testSecret,
    enforcement,
  });
  const { isolation } = opened;
  const local = { ...config.jwt, secretKey: testSecret };
  const securityEvents: SecurityEventSeen[] = [];
  const mint = createTokenMinter(local, config.jwt.accessTokenSeconds, options.clock ?? systemClock);
  const securityLog: SecurityLog = { event: (name, fields) => securityEvents.push({ name, fields }) };
  const clock = options.clock ?? systemClock;
  const access = createAccess({
    config,
    secret: testSecret,
    isolation,
    securityLog,
    clock,
    ...(options.verifyPassword ? { verifyPassword: options.verifyPassword } : {}),
  });
  const app = await createApp({ config, log: pino({ level: 'silent' }), securityLog, isolation, ...access });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  const call = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
    request(`${url}${path}`, method, body, headers);

  return {
    url,
    database,
    isolation,
    config,
    securityEvents,
    mint,
    call,
    routes: () => routesIn(app.printRoutes({ commonPrefix: false })),
    async user({ roles = ['user'] as readonly Role[] } = {}) {
      const id = newUserId();
      const sessionId = uuidv7();
      const email = `${id}@example.test`;
      await isolation.withAccounts('test user', async (scope) => {
        await scope.run(scope.db.insertInto('users').values({ id, email, name: `User ${id}` }));
        if (roles.length > 1) await new AccountAdministration(scope).setRoles(email, roles);
        await scope.run(
          scope.db.insertInto('sessions').values({
            user_id: id,
            id: sessionId,
            token_hash: Buffer.alloc(32),
            expires_at: new Date(Date.now() + 3_600_000),
          }),
        );
      });
      const { token } = await mint({ userId: id, email, roles, sessionId });
      const authorization = `Bearer ${token}`;
      return {
        id,
        email,
        token,
        caller: { userId: id, sessionId, actor: 'session', requestId: 'test' },
        call: (method, path, body, headers) => call(method, path, body, { authorization, ...headers }),
      };
    },
    async close() {
      await app.close();
      await opened.close();
      await database.drop();
    },
  };
}

/** The router prints a tree: each level is indented by four characters and continues the path above it. */
function routesIn(tree: string): string[] {
  const above: string[] = [];
  return tree.split('\n').flatMap((line) => {
    const found = /^([│ ]*)[├└]── (.*?)(?: \(([A-Z, ]+)\))?$/u.exec(line);
    if (!found) return [];
    const [, indent = '', part = '', methods] = found;
    above.splice(indent.length / 4, Number.POSITIVE_INFINITY, part);
    return methods === undefined ? [] : methods.split(', ').map((method) => `${method} ${above.join('')}`);
  });
}

function newUserId(): UserId {
  const id = parseUserId(uuidv7());
  if (id === null) throw new Error('uuid made something that is no UUID');
  return id;
}

async function request(url: string, method: string, body: unknown, headers: Record<string, string>): Promise<Answer> {
  const response = await fetch(url, {
    method,
    headers: body === undefined ? headers : { 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = /json/.test(response.headers.get('content-type') ?? '');
  return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : undefined };
}
