/** The real application over a clone of a template, outside of vitest: for `npm run proof` and the tests alike. */
import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { createTokenMinter, type MintedAccessToken } from '../../../../src/access/local-token.ts';
import { createAccess } from '../../../../src/access/wiring.ts';
import { systemClock } from '../../../../src/clock.ts';
import { loadConfig } from '../../../../src/config.ts';
import { openIsolation, type ProductIsolation } from '../../../../src/database/isolation.ts';
import { withOwner } from '../../../../src/database/owner.ts';
import { appRole, closeDatabase, roleUrl, systemRole } from '../../../../src/database/provision.ts';
import { createApp } from '../../../../src/http/app.ts';
import type { Logs } from '../../../../src/log.ts';
import { statement, withDatabase } from '../../../support/postgres.ts';
import { testSecret } from '../../../support/templates.ts';
import type { ProofContext } from '../part.ts';

export type App = Awaited<ReturnType<typeof createApp>>;

export interface ModelServer {
  readonly url: string;
  readonly databaseUrl: string;
  readonly isolation: ProductIsolation;
  readonly mint: (userId: string, email: string, sessionId: string) => Promise<MintedAccessToken>;
  /**
   * Resolves when what the server does after its answers is done, too: refusals are written into the access log once the
   * answer has left, and a trace that goes on before that would depend on who is quicker.
   *
   * @param answered how many requests of this server have been answered, by the client's count
   */
  quiet(answered: number): Promise<void>;
  close(): Promise<void>;
}

/** What the faults put between the server and its surroundings. */
export interface Wiring {
  readonly poolSize: number;
  /** Leads a log-in through whatever stands between. */
  readonly through: (url: string) => string;
  readonly logs: Pick<Logs, 'log' | 'securityLog'>;
  readonly onIdleError: (error: Error) => void;
}

const usual: Wiring = {
  poolSize: 5,
  through: (url) => url,
  logs: { log: pino({ level: 'silent' }), securityLog: { event: () => {} } },
  onIdleError: () => {},
};
const quietDeadlineMs = 10_000;

/** @param prepare is shown the application before it listens; to plant a defect in it */
export async function openModelServer(
  { postgresUrl, templates }: Pick<ProofContext, 'postgresUrl' | 'templates'>,
  prepare: (app: App, databaseUrl: string) => void = () => {},
  { poolSize, through, logs, onIdleError }: Wiring = usual,
): Promise<ModelServer> {
  const template = templates.isolated;
  if (template === undefined) throw new Error('there is no template called isolated');
  const name = `model_${randomBytes(6).toString('hex')}`;
  await statement(postgresUrl, `create database ${name} template ${template} strategy wal_log`);
  const databaseUrl = withDatabase(postgresUrl, name);
  // A clone does not have the privileges that its template had as a database.
  await withOwner(databaseUrl, closeDatabase);
  const config = loadConfig({
    DATABASE_URL: databaseUrl,
    JWT_SECRET_KEY: testSecret,
    CREDENTIAL_RATE_LIMIT_PER_MINUTE: '0',
    PORT: '0',
  });
  const opened = openIsolation({
    appUrl: through(roleUrl(databaseUrl, appRole, testSecret)),
    systemUrl: through(roleUrl(databaseUrl, systemRole, testSecret)),
    poolSize,
    secret: testSecret,
    enforcement: 'on',
    onIdleError,
  });
  const { isolation } = opened;
  const underWay = countUnderWay(isolation);
  const { log, securityLog } = logs;
  const access = createAccess({ config, secret: testSecret, isolation, securityLog, clock: systemClock });
  const app = await createApp({ config, log, securityLog, isolation, ...access });
  let answered = 0;
  // Hooks of one kind run in their order: when this one does, the watch for hidden rows has been told.
  app.addHook('onResponse', async () => {
    answered += 1;
  });
  prepare(app, databaseUrl);
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  const minter = createTokenMinter(
    { ...config.jwt, secretKey: testSecret },
    config.jwt.accessTokenSeconds,
    systemClock,
  );
  return {
    url,
    databaseUrl,
    isolation,
    mint: (userId, email, sessionId) => minter({ userId, email, roles: ['user'], sessionId }),
    async quiet(expected) {
      const deadline = performance.now() + quietDeadlineMs;
      // Between two rows of a queue there is nothing under way, for less than a turn of the event loop.
      for (let calm = 0; calm < 2; ) {
        if (performance.now() > deadline) throw new Error('the server did not come to rest');
        calm = answered >= expected && underWay() === 0 ? calm + 1 : 0;
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
    async close() {
      await app.close();
      await opened.close();
      await statement(postgresUrl, `drop database ${name} with (force)`);
    },
  };
}

/** Watches what is written in users' scopes; the calls themselves are as they were. */
function countUnderWay(isolation: ProductIsolation): () => number {
  let count = 0;
  const original = isolation.withUser.bind(isolation);
  const counted: ProductIsolation['withUser'] = async (caller, work) => {
    count += 1;
    try {
      return await original(caller, work);
    } finally {
      count -= 1;
    }
  };
  Object.defineProperty(isolation, 'withUser', { value: counted });
  return () => count;
}
