/** pg_dump and pg_restore: which ones, how they are told where the database is, and what may be shown of what they say. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { problem } from '../../errors.ts';

/** The environment that this program was started with; the engine reads none itself. */
export type Environment = Readonly<Record<string, string | undefined>>;

export interface ClientPrograms {
  readonly dump: string;
  readonly restore: string;
  /** As `pg_dump --version` says it. */
  readonly version: string;
}

/**
 * Finds a pg_dump that can read the server: its own major version or a newer one (pg_dump refuses older ones). The server's
 * own comes first wherever it lies, since a newer pg_restore may set what the server does not know.
 *
 * @param serverVersion server_version_num
 */
export async function findClientPrograms(
  serverVersion: number,
  environment: Environment,
): Promise<ClientPrograms | null> {
  const major = Math.floor(serverVersion / 10_000);
  const onPath = (environment.PATH ?? '').split(':').filter((directory) => directory.startsWith('/'));
  const found: { programs: ClientPrograms; major: number }[] = [];
  for (const directory of new Set([...usualPlaces(major), ...onPath])) {
    const programs = await programsIn(directory, environment);
    if (programs !== null && programs.major === major) return programs.programs;
    if (programs !== null && programs.major > major) found.push(programs);
  }
  return found.toSorted((a, b) => a.major - b.major)[0]?.programs ?? null;
}

/** Debian, Red Hat (PGDG), Homebrew on both kinds of Mac, Postgres.app. */
const usualPlaces = (major: number): string[] => [
  `/usr/lib/postgresql/${major}/bin`,
  `/usr/pgsql-${major}/bin`,
  `/opt/homebrew/opt/postgresql@${major}/bin`,
  `/usr/local/opt/postgresql@${major}/bin`,
  `/Applications/Postgres.app/Contents/Versions/${major}/bin`,
];

async function programsIn(
  directory: string,
  environment: Environment,
): Promise<{ programs: ClientPrograms; major: number } | null> {
  const dump = join(directory, 'pg_dump');
  const restore = join(directory, 'pg_restore');
  const [dumpVersion, restoreVersion] = await Promise.all([dump, restore].map((path) => versionOf(path, environment)));
  if (dumpVersion == null || restoreVersion == null || restoreVersion.major < dumpVersion.major) return null;
  return { programs: { dump, restore, version: dumpVersion.text }, major: dumpVersion.major };
}

const run = promisify(execFile);

async function versionOf(program: string, environment: Environment): Promise<{ text: string; major: number } | null> {
  try {
    const { stdout } = await run(program, ['--version'], { env: inherited(environment), timeout: 10_000 });
    const major = /\(PostgreSQL\) (\d+)/.exec(stdout)?.[1];
    return major === undefined ? null : { text: stdout.trim(), major: Number(major) };
  } catch {
    return null;
  }
}

/** What libpq takes in a connection string (manual, 34.1.2); the driver's own parameters would be refused by it. */
const libpqParameters = new Set(
  `application_name channel_binding client_encoding connect_timeout gssencmode hostaddr keepalives keepalives_count
  keepalives_idle keepalives_interval load_balance_hosts options require_auth sslcert sslcompression sslcrl sslcrldir sslkey
  sslmode sslnegotiation sslpassword sslrootcert sslsni target_session_attrs tcp_user_timeout host port user dbname`.split(
    /\s+/,
  ),
);

export interface Target {
  /** For the command line: no password in it. */
  readonly connection: string;
  readonly environment: NodeJS.ProcessEnv;
}

/** The password goes by the environment, which only the same user can read; a command line is everybody's. */
export function targetOf(url: string, environment: Environment): Target {
  const parsed = new URL(url);
  const password = decodeURIComponent(parsed.password) || parsed.searchParams.get('password') || undefined;
  parsed.password = '';
  for (const name of [...parsed.searchParams.keys()]) {
    if (!libpqParameters.has(name) || name === 'sslpassword') parsed.searchParams.delete(name);
  }
  // node-postgres' own word for TLS with any certificate; libpq's is `require`.
  if (parsed.searchParams.get('sslmode') === 'no-verify') parsed.searchParams.set('sslmode', 'require');
  return {
    connection: parsed.href,
    environment: { ...inherited(environment), ...(password === undefined ? {} : { PGPASSWORD: password }) },
  };
}

/** Paths, home (for ~/.pgpass and ~/.postgresql) and PG… for what the URL leaves open; messages in English to read them. */
function inherited(environment: Environment): NodeJS.ProcessEnv {
  const kept = Object.entries(environment).filter(
    ([name]) => ['PATH', 'HOME', 'TMPDIR', 'LD_LIBRARY_PATH'].includes(name) || name.startsWith('PG'),
  );
  return { ...Object.fromEntries(kept), PGCONNECT_TIMEOUT: '20', LC_ALL: 'C' };
}

export interface Ended {
  readonly code: number | null;
  /** What it complained of, a line each, without anything that could be a row's value. */
  readonly errors: readonly string[];
}

/** Runs one of them to its end, or to `signal`. */
export async function runClientProgram(
  program: string,
  options: readonly string[],
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<Ended> {
  signal.throwIfAborted();
  const child = spawn(program, options, { env: environment, stdio: ['ignore', 'ignore', 'pipe'] });
  const stop = () => child.kill('SIGTERM');
  signal.addEventListener('abort', stop, { once: true });
  const errors: string[] = [];
  const reader = createInterface({ input: child.stderr });
  reader.on('line', (line) => {
    const shown = complaint(line);
    if (shown !== null && errors.length < 20) errors.push(shown);
  });
  try {
    const [code] = await once(child, 'close');
    signal.throwIfAborted();
    return { code: typeof code === 'number' ? code : null, errors };
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw problem('rollout_failed', `${program} cannot be run: ${error instanceof Error ? error.message : error}`);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/**
 * Only the first line of an error says what failed; DETAIL, CONTEXT and the statement may quote rows. So may the rest of the
 * line when a COPY fails.
 */
function complaint(line: string): string | null {
  const error = /^pg_(?:dump|restore): error: (.*)$/.exec(line)?.[1];
  if (error === undefined) return null;
  return (/^COPY failed for table "(?:[^"]|"")*"/.exec(error)?.[0] ?? error).slice(0, 300);
}
