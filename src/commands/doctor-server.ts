/** What doctor looks at besides the database's own state: configuration, log-ins, clocks, the server's process and logs. */
import { existsSync, readFileSync } from 'node:fs';
import { systemClock } from '../clock.ts';
import type { Config } from '../config.ts';
import { readLiveOwner } from '../database/data-directory-lock.ts';
import { appliedVersion, latestVersion } from '../database/migrations.ts';
import { withOwner } from '../database/owner.ts';
import { appRole, roleUrl, systemRole } from '../database/provision.ts';
import { isolationVersion, roleExpectations } from '../database/serving.ts';
import { Problem } from '../errors.ts';
import { deriveIdentityKey } from '../isolation/identity.ts';
import { acceptsIdentity, checkRole } from '../isolation/role-check.ts';
import { withConnection } from '../rollout/connection.ts';
import { type Finding, fail, pass, warn } from '../rollout/finding.ts';
import { logFindings, watchServerLogs } from './server-logs.ts';

/** What is known of the database by the configuration. */
export interface Reached {
  readonly config: Config;
  /** Undefined when only the two lesser log-ins are given. */
  readonly ownerUrl: string | undefined;
  /** Undefined: not set, so that nothing that is derived from it can be looked at. */
  readonly secret: string | undefined;
}

interface LogIns {
  readonly appUrl: string;
  readonly systemUrl: string;
  /** Their passwords are derived from the secret. */
  readonly derived: boolean;
}

export function logInsOf({ config, ownerUrl, secret }: Reached): LogIns | undefined {
  const given = config.database.kind === 'external' ? config.database.roles : undefined;
  if (given) return { ...given, derived: false };
  if (ownerUrl === undefined || secret === undefined) return undefined;
  return {
    appUrl: roleUrl(ownerUrl, appRole, secret),
    systemUrl: roleUrl(ownerUrl, systemRole, secret),
    derived: true,
  };
}

/** The guide's G30: without it everybody sees everything, and no other check can help. */
export function checkIsolationFlag({ userIsolationEnabled }: Config): Finding[] {
  if (userIsolationEnabled) return [pass('isolation-flag', undefined, 'USER_ISOLATION_ENABLED is true')];
  const message = 'is false: whoever is signed in sees and changes everything';
  return [fail('isolation-flag', 'USER_ISOLATION_ENABLED', message, 'set it to true and restart the server')];
}

export async function checkSchema({ ownerUrl, config }: Reached): Promise<Finding[]> {
  const url = ownerUrl ?? (config.database.kind === 'external' ? config.database.roles?.systemUrl : undefined);
  if (url === undefined) return [];
  const version = await withOwner(url, appliedVersion);
  if (version >= latestVersion) return [pass('schema', undefined, `is at version ${version}`)];
  const lacking = version < isolationVersion ? 'which has no policies yet' : 'and not the newest';
  return [fail('schema', undefined, `is at version ${version}, ${lacking}`, 'run: ringfence migrate up')];
}

/** Whether the database verifies what this secret signs; if not, which secret it does. */
export async function checkIdentityKey(reached: Reached): Promise<Finding[]> {
  const logIns = logInsOf(reached);
  const { secret, config } = reached;
  if (!logIns || secret === undefined) return [];
  const remedy =
    'run `ringfence migrate up` with the owner in DATABASE_URL and the same JWT_SECRET_KEY, or restart the server';
  return asFinding('identity-key', remedy, async () => {
    if (await acceptsIdentity(logIns.appUrl, deriveIdentityKey(secret))) {
      return [pass('identity-key', undefined, 'the database knows the identity key made from JWT_SECRET_KEY')];
    }
    const previous = config.jwt.previousSecretKey;
    const knowsPrevious = previous !== undefined && (await acceptsIdentity(logIns.appUrl, deriveIdentityKey(previous)));
    const known = knowsPrevious ? ', but that of JWT_SECRET_KEY_PREVIOUS' : '';
    const message = `the database does not know the identity key made from JWT_SECRET_KEY${known}: RF002`;
    return [fail('identity-key', 'JWT_SECRET_KEY', message, remedy)];
  });
}

/** As the roles themselves: what a policy binds shows only there. */
export async function checkLogIns(reached: Reached): Promise<Finding[]> {
  const logIns = logInsOf(reached);
  if (!logIns) return [];
  const each = [
    { url: logIns.appUrl, expected: roleExpectations.app, role: appRole },
    { url: logIns.systemUrl, expected: roleExpectations.system, role: systemRole },
  ];
  const password = logIns.derived
    ? 'its password is made from JWT_SECRET_KEY: start the server, or run `ringfence migrate up`, with the secret that is in use'
    : 'look at DATABASE_APP_URL and DATABASE_SYSTEM_URL';
  const found = await Promise.all(
    each.map(({ url, expected, role }) =>
      asFinding(`log-in ${role}`, password, async () => {
        const { faults } = await checkRole(url, expected);
        const remedy = 'take the right away, or let the server serve through roles of its own (only DATABASE_URL set)';
        return faults.length === 0
          ? [pass('log-ins', `role ${role}`, 'can log in and is bound by the policies')]
          : faults.map((fault) => fail('log-ins', `role ${role}`, fault, remedy));
      }),
    ),
  );
  return found.flat();
}

const skewWarnMs = 5_000;
const skewFailMs = 60_000;

/** Tokens are judged by this machine's clock, identities by the database's. */
export async function checkClock(url: string): Promise<Finding[]> {
  return withConnection(url, 'doctor', async (client) => {
    const before = systemClock.now();
    const { rows } = await client.query<{ now: number }>(
      'select extract(epoch from clock_timestamp())::float8 * 1000 as now',
    );
    // The answer was made somewhere between; half of the way is as near as one gets.
    const here = (before + systemClock.now()) / 2;
    const skew = Math.round((rows[0]?.now ?? here) - here);
    const message = `the database's clock is ${Math.abs(skew)} ms ${skew < 0 ? 'behind' : 'ahead of'} this machine's`;
    const remedy = 'set both clocks (NTP): tokens and identities are refused as expired, or as from the future';
    if (Math.abs(skew) > skewFailMs) return [fail('clock', undefined, message, remedy)];
    if (Math.abs(skew) > skewWarnMs) return [warn('clock', undefined, message, remedy)];
    return [pass('clock', undefined, message)];
  });
}

/** Whether the session that a genuine token names may still act. Through the system role; marked as G56 asks. */
export async function checkSession(
  reached: Reached,
  { userId, sessionId }: { userId: string; sessionId: string },
): Promise<Finding[]> {
  const url = logInsOf(reached)?.systemUrl;
  if (url === undefined) return [];
  const rows = await withConnection(url, 'doctor', async (client) => {
    const result = await client.query<{ status: string; revoked: string | null; over: boolean; there: boolean }>(
      `select /* SYSTEM: doctor */ u.status, s.revoked_reason as revoked, s.id is not null as there,
         coalesce(s.revoked_at is not null or s.expires_at < now(), false) as over
       from public.users u left join public.sessions s on s.user_id = u.id and s.id = $2 where u.id = $1`,
      [userId, sessionId],
    );
    return result.rows;
  });
  const [row] = rows;
  const what = "the token's session";
  if (!row)
    return [
      fail(
        'token-session',
        what,
        'belongs to a user who does not exist in this database',
        'log in again; the token may be of another server',
      ),
    ];
  if (row.status !== 'active')
    return [fail('token-session', what, `belongs to a user whose account is ${row.status}`, 'activate the account')];
  if (!row.there) return [fail('token-session', what, 'does not exist', 'log in again')];
  if (row.over)
    return [fail('token-session', what, `has ended${row.revoked ? ` (${row.revoked})` : ''}`, 'log in again')];
  return [pass('token-session', what, 'is open')];
}

const rssWorthALook = 1024 ** 3;

/** The process that holds the data directory. Only Linux tells of another process' memory in a file. */
export function checkMemory({ dataDir }: Config): Finding[] {
  const owner = existsSync(dataDir) ? readLiveOwner(dataDir) : null;
  if (owner === null) {
    return [pass('memory', undefined, `no server holds ${dataDir} on this machine: only connections were looked at`)];
  }
  const rss = residentBytes(owner.pid);
  if (rss === undefined) return [pass('memory', `process ${owner.pid}`, 'this system does not tell its memory')];
  const message = `the server uses ${Math.round(rss / 1024 ** 2)} MiB, running since ${owner.startedAt}`;
  if (rss < rssWorthALook) return [pass('memory', `process ${owner.pid}`, message)];
  const remedy =
    'watch it with `ringfence monitor --watch`; if it only grows, take a heap snapshot (kill -USR2 with --heapsnapshot-signal=SIGUSR2) and report it';
  return [warn('memory', `process ${owner.pid}`, message, remedy)];
}

function residentBytes(pid: number): number | undefined {
  try {
    const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
  } catch {
    return undefined;
  }
}

export async function checkLogs({ logDir }: Config): Promise<Finding[]> {
  if (logDir === undefined) return [pass('logs', undefined, 'LOG_DIR is not set: no log was looked at')];
  const logs = watchServerLogs(logDir);
  try {
    const counts = await logs.read();
    if (counts.files.length === 0) {
      return [
        warn(
          'logs',
          'LOG_DIR',
          'holds neither application.log nor security.log',
          'start the server with the same LOG_DIR',
        ),
      ];
    }
    const { noUser, invalid, expired } = counts.tokenFaults;
    const message = `tokens refused: ${noUser} missing, ${invalid} invalid, ${expired} expired`;
    return [...logFindings(counts), pass('logs', 'application.log', message)];
  } finally {
    await logs.close();
  }
}

/** A log-in that does not work is what we are looking for, not the end of the look. */
async function asFinding(check: string, remedy: string, work: () => Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Problem) && !(error instanceof Error && 'severity' in error)) throw error;
    return [fail('log-ins', check, error.message, remedy)];
  }
}
