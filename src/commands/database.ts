/**
 * The database that a command works on: the running server's embedded Postgres, that Postgres started for the moment,
 * or the external one of the configuration.
 */
import { resolve } from 'node:path';
import { loadOrCreateSecret } from '../access/secret.ts';
import type { Config } from '../config.ts';
import { connectToRunning } from '../database/embedded.ts';
import { openIsolation, type ProductIsolation } from '../database/isolation.ts';
import { appliedVersion } from '../database/migrations.ts';
import { withOwner } from '../database/owner.ts';
import { appRole, provision, roleUrl, systemRole } from '../database/provision.ts';
import { isolationVersion, prepareServingDatabase } from '../database/serving.ts';
import { problem } from '../errors.ts';
import type { Enforcement } from '../isolation/scope.ts';

export interface OwnedDatabase {
  readonly ownerUrl: string;
  /** What passwords and keys of our own server are derived from. @throws Problem `config_invalid` when there is none */
  secret(): Promise<string>;
}

/** Told on standard error, so that a command's output stays its own. */
const say = (line: string) => process.stderr.write(`${line}\n`);

/**
 * Works as the owner; nothing is migrated before.
 *
 * @throws Problem `config_invalid` when only the two lesser log-ins are given
 */
export async function withOwnedDatabase<T>(config: Config, work: (database: OwnedDatabase) => Promise<T>): Promise<T> {
  if (config.database.kind === 'external') {
    const { ownerUrl } = config.database;
    if (ownerUrl === undefined)
      throw problem('config_invalid', 'DATABASE_URL: is required for this, with the owner in it');
    return work({ ownerUrl, secret: async () => requireSecret(config) });
  }
  say(`DATABASE_URL is not set: this is the embedded database in ${resolve(config.dataDir)}.`);
  const running = await connectToRunning(config.dataDir);
  if (running) return work({ ownerUrl: running.url, secret: () => secretOf(config) });
  const { startEmbeddedPostgres } = await import('../database/embedded.ts');
  const postgres = await startEmbeddedPostgres({ dataDir: config.dataDir, onLine: say });
  return endingPostgres(postgres, () => work({ ownerUrl: postgres.url, secret: () => secretOf(config) }));
}

interface Login {
  readonly appUrl: string;
  readonly systemUrl: string;
  readonly secret: string;
  readonly enforcement: Enforcement;
}

/**
 * Works as the server would. An embedded Postgres that is started for the moment is migrated as the server would do it;
 * an external database is left at its version.
 */
export async function withIsolation<T>(
  config: Config,
  work: (isolation: ProductIsolation, secret: string) => Promise<T>,
): Promise<T> {
  if (config.database.kind === 'external') return withLogin(await externalLogin(config), work);
  const running = await connectToRunning(config.dataDir);
  if (running) return withLogin(await loginFrom(running.url, await secretOf(config)), work);
  const database = await prepareServingDatabase(config, say);
  return endingPostgres(database, () => withLogin(database, work));
}

async function withLogin<T>(
  login: Login,
  work: (isolation: ProductIsolation, secret: string) => Promise<T>,
): Promise<T> {
  const opened = openIsolation({ ...login, poolSize: 2 });
  try {
    return await work(opened.isolation, login.secret);
  } finally {
    await opened.close();
  }
}

async function externalLogin(config: Config): Promise<Login> {
  const secret = requireSecret(config);
  if (config.database.kind !== 'external') throw problem('config_invalid', 'DATABASE_URL: is required');
  const { ownerUrl, roles } = config.database;
  if (roles) return { ...roles, secret, enforcement: 'on' };
  if (ownerUrl === undefined) throw problem('config_invalid', 'DATABASE_URL: is required');
  const login = await loginFrom(ownerUrl, secret);
  if (login.enforcement === 'on') await provision(ownerUrl, secret);
  return login;
}

/** The command line keeps to the policies wherever there are any, also while the server does not. */
async function loginFrom(ownerUrl: string, secret: string): Promise<Login> {
  const version = await withOwner(ownerUrl, appliedVersion);
  if (version >= isolationVersion) {
    const appUrl = roleUrl(ownerUrl, appRole, secret);
    return { appUrl, systemUrl: roleUrl(ownerUrl, systemRole, secret), secret, enforcement: 'on' };
  }
  if (version === isolationVersion - 1)
    return { appUrl: ownerUrl, systemUrl: ownerUrl, secret, enforcement: 'ownerless' };
  throw problem('migration_failed', `The schema is at version ${version}. Run \`ringfence migrate up\` first.`);
}

async function endingPostgres<T>(postgres: { stop(): Promise<void> }, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } finally {
    await postgres.stop();
  }
}

function requireSecret(config: Config): string {
  const { secretKey } = config.jwt;
  if (secretKey === undefined) throw problem('config_invalid', 'JWT_SECRET_KEY: is required with an external database');
  return secretKey;
}

export async function secretOf(config: Config): Promise<string> {
  return config.jwt.secretKey ?? loadOrCreateSecret(config.dataDir);
}
