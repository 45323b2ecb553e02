/**
 * Makes the database ready to serve from, and refuses to serve through a role that stands above the policies.
 *
 * Three ways in: the embedded Postgres, an owner's log-in (DATABASE_URL), or the two lesser log-ins alone
 * (DATABASE_APP_URL, DATABASE_SYSTEM_URL), with which nothing is changed and everything is checked.
 */
import { loadOrCreateSecret } from '../access/secret.ts';
import type { Config } from '../config.ts';
import { problem } from '../errors.ts';
import { deriveIdentityKey } from '../isolation/identity.ts';
import { accountTables, ownedTables } from '../isolation/owned-tables.ts';
import { acceptsIdentity, checkRole, type RoleExpectations } from '../isolation/role-check.ts';
import type { Enforcement } from '../isolation/scope.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded.ts';
import { appliedVersion, latestVersion, migrateUp } from './migrations.ts';
import { type OwnerConnection, withOwner } from './owner.ts';
import { appRole, provision, roleUrl, systemRole } from './provision.ts';
import { requireSupportedServer, versionWarning } from './server-version.ts';

export interface ServingDatabase {
  readonly appUrl: string;
  readonly systemUrl: string;
  readonly secret: string;
  readonly enforcement: Enforcement;
  /** Where the data is, for people; no password in it. */
  readonly place: string;
  /** Tells where the program serves; only the embedded Postgres keeps it, for a refused second start. */
  announce(address: string): void;
  /** Stops the embedded Postgres; leaves any other alone. */
  stop(): Promise<void>;
}

/** The version with policies. */
export const isolationVersion = 3;
/** What serving needs at least: the accounts. */
const accountsVersion = 2;

/**
 * @param say told, a line at a time, what an operator should know
 * @throws Problem `unsafe_database_role`, `migration_failed`, `database_unavailable`, and those of the embedded Postgres
 */
export async function prepareServingDatabase(config: Config, say: (line: string) => void): Promise<ServingDatabase> {
  const { database } = config;
  if (database.kind === 'external') return prepareExternal(config, database, say);
  const postgres = await startEmbeddedPostgres({ dataDir: config.dataDir, onLine: say });
  try {
    const secret = config.jwt.secretKey ?? (await loadOrCreateSecret(config.dataDir));
    const prepared = await prepareAsOwner(config, postgres.url, secret, undefined, say);
    return { ...prepared, ...lifeOf(postgres), place: config.dataDir };
  } catch (error) {
    await postgres.stop();
    throw error;
  }
}

function lifeOf(postgres: EmbeddedPostgres): Pick<ServingDatabase, 'announce' | 'stop'> {
  return { announce: (address) => postgres.announce(address), stop: () => postgres.stop() };
}

type ExternalDatabase = Extract<Config['database'], { kind: 'external' }>;
type Prepared = Pick<ServingDatabase, 'appUrl' | 'systemUrl' | 'secret' | 'enforcement'>;
type Roles = { readonly appUrl: string; readonly systemUrl: string };

async function prepareExternal(
  config: Config,
  { ownerUrl, roles }: ExternalDatabase,
  say: (line: string) => void,
): Promise<ServingDatabase> {
  const secret = config.jwt.secretKey;
  if (secret === undefined) throw problem('config_invalid', 'JWT_SECRET_KEY: is required with an external database');
  const life = { announce: () => {}, stop: async () => {} };
  if (ownerUrl !== undefined) {
    return { ...(await prepareAsOwner(config, ownerUrl, secret, roles, say)), ...life, place: placeOf(ownerUrl) };
  }
  if (roles === undefined) throw problem('config_invalid', 'DATABASE_URL: is required');
  return { ...(await prepareAsRoles(config, roles, secret, say)), ...life, place: placeOf(roles.appUrl) };
}

function placeOf(url: string): string {
  const { host, pathname } = new URL(url);
  return `${pathname.slice(1)} on ${host}`;
}

async function prepareAsOwner(
  config: Config,
  ownerUrl: string,
  secret: string,
  given: Roles | undefined,
  say: (line: string) => void,
): Promise<Prepared> {
  // The embedded Postgres is the one that this version of the program brings; nobody could act on a warning.
  if (config.database.kind === 'external') await withOwner(ownerUrl, (owner) => checkServer(owner, say));
  const applied = await migrateUp(ownerUrl, config.userIsolationEnabled ? latestVersion : accountsVersion);
  if (applied.length > 0) say(`Applied ${applied.join(', ')}`);
  const version = await withOwner(ownerUrl, appliedVersion);
  if (version < isolationVersion) {
    // The roles of 003 do not exist: there is nobody else to be.
    return { appUrl: ownerUrl, systemUrl: ownerUrl, secret, enforcement: 'ownerless' };
  }
  await provision(ownerUrl, secret, given !== undefined);
  const roles = given ?? {
    appUrl: roleUrl(ownerUrl, appRole, secret),
    systemUrl: roleUrl(ownerUrl, systemRole, secret),
  };
  return checked(config, roles, secret);
}

async function prepareAsRoles(
  config: Config,
  roles: Roles,
  secret: string,
  say: (line: string) => void,
): Promise<Prepared> {
  const version = await withOwner(roles.systemUrl, async (connection) => {
    await checkServer(connection, say);
    return appliedVersion(connection);
  });
  if (version < isolationVersion) {
    throw problem(
      'migration_failed',
      `The schema is at version ${version} and needs ${isolationVersion}. Run \`ringfence migrate up\` with the owner in DATABASE_URL and the same JWT_SECRET_KEY.`,
    );
  }
  return checked(config, roles, secret);
}

async function checked(config: Config, roles: Roles, secret: string): Promise<Prepared> {
  const enforcement = config.userIsolationEnabled ? 'on' : 'off';
  await requireSafeRoles(roles, enforcement);
  if (enforcement === 'on' && !(await acceptsIdentity(roles.appUrl, deriveIdentityKey(secret)))) {
    throw problem(
      'config_invalid',
      'JWT_SECRET_KEY: the database does not know the identity key made from it. Run `ringfence migrate up` with the owner in DATABASE_URL and the same JWT_SECRET_KEY.',
    );
  }
  return { ...roles, secret, enforcement };
}

const tables = [...ownedTables, ...accountTables].map(({ table }) => table);

/** What a log-in of each purpose may be. */
export const roleExpectations: Readonly<Record<'app' | 'system', RoleExpectations>> = {
  app: { tables, policies: ['user_isolation'] },
  system: { tables, policies: ['user_isolation', 'system_mode', 'accounts_mode'], becomes: 'ringfence_accounts' },
};

const faultsShownMax = 5;

/** @throws Problem `unsafe_database_role` naming each role and why */
export async function requireSafeRoles(roles: Roles, enforcement: Enforcement): Promise<void> {
  const checks = [checkRole(roles.systemUrl, roleExpectations.system)];
  // While isolation is off nobody is served through the application role.
  if (enforcement === 'on') checks.unshift(checkRole(roles.appUrl, roleExpectations.app));
  const faults = [...new Set((await Promise.all(checks)).flatMap((report) => report.faults))];
  if (faults.length === 0) return;
  const more = faults.length > faultsShownMax ? ` (and ${faults.length - faultsShownMax} more)` : '';
  throw problem('unsafe_database_role', `${faults.slice(0, faultsShownMax).join('; ')}${more}`);
}

async function checkServer(connection: OwnerConnection, say: (line: string) => void): Promise<void> {
  const { rows } = await connection.query<{ version: number }>(
    "select current_setting('server_version_num')::int as version",
  );
  const version = rows[0]?.version ?? 0;
  requireSupportedServer(version);
  const warning = versionWarning(version);
  if (warning !== undefined) say(warning);
}
