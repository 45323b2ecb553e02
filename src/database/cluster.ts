import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { type Problem, problem } from '../errors.ts';
import { findBinaries, type PostgresBinaries } from './postgres-binaries.ts';
import { createPrivateFile } from './private-file.ts';
import { type Account, asAccount, canEnter, chooseAccount, runsAsRoot } from './unprivileged.ts';

/** Where root keeps what Postgres must reach when the data directory is closed to it. */
const systemDirectory = '/var/lib/ringfence';

/** The superuser of an embedded cluster. Not the name of the schema that 003 makes: that would come first in its search path. */
export const ownerName = 'ringfence_owner';
export const databaseName = 'ringfence';

export interface Cluster {
  /** Real path; it need not exist yet. */
  readonly directory: string;
  readonly account: Account | null;
  readonly binaries: PostgresBinaries;
}

/**
 * Makes the data directory where it is missing.
 *
 * @returns its real path, by which it is known from here on
 * @throws Problem `postgres_failed_to_start` when it cannot be written
 */
export function prepareDataDirectory(dataDir: string): string {
  try {
    // As root, Postgres runs as somebody else and has to pass through; the files themselves are 0600.
    mkdirSync(resolve(dataDir), { recursive: true, mode: runsAsRoot() ? 0o711 : 0o700 });
    const real = realpathSync(dataDir);
    // Also refuses here, by name, a directory that root made and we may not write.
    const probe = join(real, `.writable.${process.pid}`);
    createPrivateFile(probe, '');
    rmSync(probe, { force: true });
    return real;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw failed(`the data directory ${dataDir} cannot be written (${reason}). Make it yours or set DATA_DIR`, cause);
  }
}

const failed = (detail: string, cause?: unknown): Problem => problem('postgres_failed_to_start', detail, {}, { cause });

/**
 * Decides where the cluster lies: in the data directory when the user that Postgres runs as can get there, else under
 * `/var/lib/ringfence`, with a file in the data directory that says so. What was decided once stays.
 *
 * @param dataDir real path, locked by us
 * @param say told what the operator should know: a user made, a place outside the data directory
 */
export function locateCluster(dataDir: string, say: (line: string) => void): Cluster {
  const existing = existingCluster(dataDir);
  const account = chooseAccount(existing, say);
  const directory = existing ?? placeCluster(dataDir, account, say);
  if (!canEnter(account, dirname(directory))) {
    throw failed(`${directory} lies below a directory that ${account?.name ?? 'this user'} may not enter`);
  }
  const binaries = findBinaries(account, account === null ? dataDir : systemDirectory);
  return { directory, account, binaries };
}

const pointerFile = (dataDir: string) => join(dataDir, 'postgres-location');

function existingCluster(dataDir: string): string | null {
  const inside = join(dataDir, 'postgres');
  if (!existsSync(pointerFile(dataDir))) return existsSync(inside) ? inside : null;
  const elsewhere = readFileSync(pointerFile(dataDir), 'utf8').trim();
  if (existsSync(join(elsewhere, 'PG_VERSION'))) return elsewhere;
  // Starting with an empty database here would look like losing everything.
  throw failed(
    `the data is gone: ${pointerFile(dataDir)} says it is in ${elsewhere}, and there is nothing. ` +
      `Bring it back, or remove ${dataDir} to start empty`,
  );
}

function placeCluster(dataDir: string, account: Account | null, say: (line: string) => void): string {
  if (canEnter(account, dataDir)) return join(dataDir, 'postgres');
  const key = createHash('sha256').update(dataDir).digest('hex').slice(0, 16);
  const place = join(systemDirectory, key);
  mkdirSync(place, { recursive: true, mode: 0o711 });
  const directory = join(place, 'postgres');
  say(`${dataDir} is closed to the user ${account?.name ?? ''}; Postgres keeps its data in ${directory}`);
  return directory;
}

/**
 * Runs initdb unless the cluster is there. It works in a draft that is renamed when it is whole, so that a kill in
 * the middle leaves nothing that looks like a cluster.
 *
 * @param durable false leaves out the syncing to disk
 * @throws Problem `postgres_failed_to_start` with what initdb said
 */
export async function createClusterIfMissing(
  cluster: Cluster,
  dataDir: string,
  password: string,
  durable: boolean,
): Promise<void> {
  if (existsSync(cluster.directory)) return;
  removeDrafts(cluster.directory);
  const draft = `${cluster.directory}.draft-${randomBytes(4).toString('hex')}`;
  const passwordFile = `${draft}.password`;
  try {
    giveTo(cluster.account, draft, () => mkdirSync(draft, { mode: 0o700 }));
    giveTo(cluster.account, passwordFile, () => createPrivateFile(passwordFile, `${password}\n`));
    await initdb(cluster, draft, passwordFile, durable);
    renameSync(draft, cluster.directory);
  } finally {
    rmSync(passwordFile, { force: true });
    rmSync(draft, { recursive: true, force: true });
  }
  if (dirname(cluster.directory) !== dataDir) createPrivateFile(pointerFile(dataDir), `${cluster.directory}\n`);
}

function removeDrafts(directory: string): void {
  const prefix = `${basename(directory)}.draft-`;
  for (const name of readdirSync(dirname(directory)).filter((entry) => entry.startsWith(prefix))) {
    rmSync(join(dirname(directory), name), { recursive: true, force: true });
  }
}

function giveTo(account: Account | null, path: string, make: () => void): void {
  make();
  if (account !== null) chownSync(path, account.uid, account.gid);
}

async function initdb(cluster: Cluster, directory: string, passwordFile: string, durable: boolean): Promise<void> {
  const options = [
    ...['--pgdata', directory, '--username', ownerName, '--auth', 'scram-sha-256', '--pwfile', passwordFile],
    ...['--encoding', 'UTF8', '--data-checksums', '--no-instructions', '--text-search-config', 'simple'],
    // The built-in provider sorts and folds the same on every machine and never changes under an index.
    ...['--locale-provider', 'builtin', '--builtin-locale', 'C.UTF-8', '--locale', 'C'],
    ...(durable ? [] : ['--no-sync']),
  ];
  // Full-text search still asks the C library which bytes are letters: C knows none beyond ASCII, C.UTF-8 does.
  const said = await run(cluster, [...options, '--lc-ctype', 'C.UTF-8']);
  if (said === null) return;
  const saidAgain = /locale/i.test(said) ? await run(cluster, options) : said;
  if (saidAgain !== null) throw failed(`the database could not be made in ${directory}: ${saidAgain}`);
}

/** @returns null when it worked, else what initdb complained of */
async function run(cluster: Cluster, options: string[]): Promise<string | null> {
  const child = spawn(cluster.binaries.initdb, options, {
    ...asAccount(cluster.account),
    env: {},
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const [complaint, [code, killedBy]] = await Promise.all([text(child.stderr), once(child, 'close')]);
  return code === 0 ? null : complaint.trim() || `initdb ended with ${killedBy ?? code}`;
}
