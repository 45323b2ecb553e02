/** The process that serves: database, logs, HTTP, in this order, and backwards when it ends. */
import { setTimeout as delay } from 'node:timers/promises';
import type { createAccess } from './access/wiring.ts';
import { systemClock } from './clock.ts';
import type { Config } from './config.ts';
import { openIsolation } from './database/isolation.ts';
import { prepareServingDatabase, type ServingDatabase } from './database/serving.ts';
import { type Problem, problem } from './errors.ts';
import type { createApp } from './http/app.ts';
import type { Enforcement } from './isolation/scope.ts';
import { createLogs, type Logs, type SecurityLog } from './log.ts';
import { version } from './version.ts';

export interface RunningServer {
  readonly url: string;
  readonly enforcement: Enforcement;
  /** Where the data is, for people; no password in it. */
  readonly place: string;
  readonly logs: Logs;
  /** Stops accepting, lets what runs finish, closes the database. May be called again. */
  close(): Promise<void>;
}

export interface ServerOptions {
  readonly logs?: Logs;
  /** Told, a line at a time, what an operator should know while it starts. */
  readonly say?: (line: string) => void;
}

/** How long requests that are under way may still take when the server closes. */
const graceMs = 10_000;
const isolationReminderMs = 3_600_000;

/** @throws Problem what is wrong with the configuration, the database or the address */
export async function startServer(config: Config, options: ServerOptions = {}): Promise<RunningServer> {
  const logs = options.logs ?? createLogs({ level: config.logLevel, logDir: config.logDir });
  const preparing = prepareServingDatabase(config, options.say ?? (() => {}));
  // Half a second of loading that Postgres meanwhile starts in.
  const [database, parts] = await Promise.all([preparing, loadParts()]);
  try {
    return await serve(config, database, logs, parts);
  } catch (error) {
    await database.stop();
    throw error;
  }
}

interface Parts {
  readonly createAccess: typeof createAccess;
  readonly createApp: typeof createApp;
}

async function loadParts(): Promise<Parts> {
  const [wiring, app] = await Promise.all([import('./access/wiring.ts'), import('./http/app.ts')]);
  return { createAccess: wiring.createAccess, createApp: app.createApp };
}

async function serve(config: Config, database: ServingDatabase, logs: Logs, parts: Parts): Promise<RunningServer> {
  const { enforcement, secret } = database;
  const { log, securityLog } = logs;
  const opened = openIsolation({
    ...database,
    poolSize: config.database.poolSize,
    onIdleError: (error) => log.warn({ err: error }, 'a database connection broke'),
  });
  const { isolation } = opened;
  try {
    const access = parts.createAccess({ config, secret, isolation, securityLog, clock: systemClock });
    const app = await parts.createApp({ config, log, securityLog, isolation, ...access });
    const url = await app.listen({ host: config.host, port: config.port }).catch((error: unknown) => {
      throw listenFault(error, config);
    });
    database.announce(url);
    const stopReminding = enforcement === 'on' ? () => {} : remindOfDisabledIsolation(securityLog, enforcement);
    log.info({ url, enforcement, version }, 'server ready');

    let closing: Promise<void> | undefined;
    const close = async () => {
      stopReminding();
      log.info('server closing');
      await finishOrDrop(app.close(), () => app.server.closeAllConnections());
      await opened.close();
      await database.stop();
      log.info('server closed');
      logs.flush();
    };
    return {
      url,
      enforcement,
      place: database.place,
      logs,
      close() {
        closing ??= close();
        return closing;
      },
    };
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** @param drop ends what has not finished by itself in time */
async function finishOrDrop(finished: Promise<unknown>, drop: () => void): Promise<void> {
  const impatience = new AbortController();
  const timer = delay(graceMs, undefined, { signal: impatience.signal }).then(drop, () => {});
  await finished;
  impatience.abort();
  await timer;
}

function remindOfDisabledIsolation(securityLog: SecurityLog, enforcement: Enforcement): () => void {
  const remind = () =>
    securityLog.event('ISOLATION_DISABLED', { enforcement, detail: 'USER_ISOLATION_ENABLED is false' });
  remind();
  const timer = setInterval(remind, isolationReminderMs);
  timer.unref();
  return () => clearInterval(timer);
}

function listenFault(error: unknown, { host, port }: Config): Problem | unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const options = { cause: error };
  switch (code) {
    case 'EADDRINUSE':
      return problem('port_in_use', `PORT: ${host}:${port} is taken by another program; set another PORT`, {}, options);
    case 'EACCES':
      return problem(
        'config_invalid',
        `PORT: this user may not listen on port ${port}; set one above 1023`,
        {},
        options,
      );
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EINVAL':
    case 'EAFNOSUPPORT':
      return problem('config_invalid', `HOST: ${host} is no address of this machine (${code})`, {}, options);
    default:
      return error;
  }
}
