/**
 * `ringfence backup`: a backup that was restored and compared before anybody relies on it.
 *
 * By pg_dump where one of the server's version is to be had, else, for the embedded server, by a base backup.
 */
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { systemClock } from '../../clock.ts';
import { problem } from '../../errors.ts';
import { ownSchemas } from '../catalog.ts';
import { withConnection } from '../connection.ts';
import { type Finding, fail } from '../finding.ts';
import { installState, recordEvent } from '../state.ts';
import { backUpDataDirectory } from './base-backup.ts';
import { type ClientPrograms, type Environment, findClientPrograms } from './client-programs.ts';
import { type DirectoryListing, listDataDirectory } from './data-directory.ts';
import { filesBelow, readableBytes, requireRoom, sha256Of, syncToDisk } from './disk.ts';
import { dumpDatabase } from './dump.ts';
import { labelOf, type Manifest, readManifest, writeManifest, writeRestoreGuide } from './manifest.ts';
import { testBaseBackup } from './restore-base.ts';
import { requireCreateDatabase, testDump } from './restore-dump.ts';
import type { LocalServer } from './scratch-server.ts';
import { list, readSource, requireWholeView, type Source } from './source.ts';

export interface BackupOptions {
  readonly url: string;
  /** The embedded server; null for one of which we know the address only. */
  readonly server: LocalServer | null;
  readonly environment: Environment;
  readonly signal: AbortSignal;
  /** Told, a line at a time, how far it is. */
  readonly say: (line: string) => void;
}

export type Method =
  | { readonly kind: 'pg_dump'; readonly programs: ClientPrograms }
  | { readonly kind: 'base_backup'; readonly server: LocalServer; readonly listing: DirectoryListing };

/** What would be done. */
export interface BackupPlan {
  readonly source: Source;
  readonly method: Method;
  /** Upper bound of the backup's size: a dump is compressed, a base backup is not. */
  readonly bytes: number;
}

export interface BackupOutcome {
  readonly directory: string;
  readonly manifest: Manifest;
  readonly restoreTest: 'passed' | 'failed' | 'skipped';
  readonly findings: readonly Finding[];
}

/**
 * Looks, and writes nothing.
 *
 * @throws Problem `rollout_refused` when no method will do, or this role would not see all rows
 */
export async function planBackup({ url, server, environment }: BackupOptions): Promise<BackupPlan> {
  const source = await withConnection(url, 'backup', readSource);
  requireWholeView(source);
  if (source.inRecovery) throw problem('rollout_refused', 'This server is a standby. Back up its primary');
  const programs = await findClientPrograms(source.serverVersion, environment);
  if (programs !== null) return { source, method: { kind: 'pg_dump', programs }, bytes: source.databaseBytes };
  if (server === null || !source.superuser) throw noMethod(source);
  const listing = await listDataDirectory(server.dataDirectory);
  // The WAL written meanwhile comes on top; it is not known beforehand.
  return { source, method: { kind: 'base_backup', server, listing }, bytes: listing.bytes };
}

function noMethod({ serverVersion }: Source) {
  const major = Math.floor(serverVersion / 10_000);
  return problem(
    'rollout_refused',
    `There is no pg_dump and pg_restore of version ${major} or newer on PATH. Install them (Debian, Ubuntu: ` +
      `postgresql-client-${major} from apt.postgresql.org; Red Hat: postgresql${major}; macOS: brew install ` +
      `postgresql@${major}), or make a backup by other means and restore it somewhere to prove it`,
  );
}

/**
 * Backs up into `directory`, which must not exist. Until it is whole, and tested where a test was asked for, its name ends
 * with `.partial`.
 *
 * @throws Problem `usage_error` when the directory exists, `rollout_refused`, `rollout_failed`
 */
export async function takeBackup(
  plan: BackupPlan,
  directory: string,
  restoreTest: boolean,
  options: BackupOptions,
): Promise<BackupOutcome> {
  const { say } = options;
  if (existsSync(directory)) throw problem('usage_error', `--output: ${directory} exists already`);
  if (restoreTest && plan.method.kind === 'pg_dump') requireCreateDatabase(plan.source);
  await requireRoom(roomsFor(plan, directory, restoreTest));
  const partial = `${directory}.partial`;
  if (existsSync(partial)) throw problem('usage_error', `--output: ${partial} is left of an earlier run. Remove it`);
  mkdirSync(partial, { recursive: true, mode: 0o700 });
  try {
    const manifest = await write(plan, partial, options);
    const findings = restoreTest ? await testRestore(manifest, partial, plan, options) : [];
    const failed = findings.some(({ severity }) => severity === 'fail');
    if (failed) say(`The backup is no good and stays in ${partial}`);
    else renameSync(partial, directory);
    const outcome = {
      directory: failed ? partial : directory,
      manifest,
      restoreTest: restoreTest ? (failed ? 'failed' : 'passed') : 'skipped',
      findings,
    } as const;
    await record('backup', outcome, options);
    return outcome;
  } catch (error) {
    say(`What there is of the backup stays in ${partial}; it is not whole`);
    throw error;
  }
}

/** The restore test puts the data once more on the server's disk, which is ours to judge only where it is this machine's. */
function roomsFor({ method, bytes }: BackupPlan, directory: string, restoreTest: boolean) {
  const backup = { path: directory, bytes };
  if (!restoreTest) return [backup];
  const scratch = method.kind === 'base_backup' ? dirname(method.server.dataDirectory) : directory;
  return [backup, { path: scratch, bytes }];
}

async function write({ source, method }: BackupPlan, directory: string, options: BackupOptions): Promise<Manifest> {
  const startedAt = now();
  const { database, serverVersion, role, tables } = source;
  const about = { format: 1, database, serverVersion, role, startedAt } as const;
  const total = (files: readonly { bytes: number }[]) => files.reduce((sum, { bytes }) => sum + bytes, 0);
  let manifest: Manifest;
  if (method.kind === 'pg_dump') {
    const dump = await dumpDatabase({ ...options, directory, programs: method.programs });
    const { version: tool } = method.programs;
    const bytes = total(dump.files);
    manifest = { ...about, method: 'pg_dump', tool, ...dump, notSaved: [], bytes, finishedAt: now() };
  } else {
    const { server, listing } = method;
    const base = await backUpDataDirectory({ ...options, directory, dataDirectory: server.dataDirectory, listing });
    const notSaved = tables.filter((table) => table.unlogged && !ownSchemas.includes(table.schema)).map(labelOf);
    if (notSaved.length > 0) options.say(`WARNING: unlogged tables come back empty from it: ${list(notSaved)}`);
    manifest = { ...about, method: 'base_backup', ...base, notSaved, bytes: total(base.files), finishedAt: now() };
  }
  writeManifest(directory, manifest);
  writeRestoreGuide(directory, manifest);
  await syncToDisk(directory);
  options.say(`Backed up ${readableBytes(manifest.bytes)}, ${manifest.tables.length} tables`);
  return manifest;
}

const now = () => new Date(systemClock.now()).toISOString();

function testRestore(
  manifest: Manifest,
  directory: string,
  { source, method }: Pick<BackupPlan, 'source' | 'method'>,
  options: BackupOptions,
): Promise<Finding[]> {
  if (manifest.method === 'pg_dump' && method.kind === 'pg_dump') {
    return testDump(manifest, { ...options, source, directory, programs: method.programs });
  }
  if (manifest.method === 'base_backup' && method.kind === 'base_backup') {
    return testBaseBackup(manifest, { ...options, directory, server: method.server });
  }
  throw new Error(`a ${manifest.method} cannot be tested as a ${method.kind}`);
}

/**
 * Tests a backup that was made earlier: its files against their checksums, then a restore. The state of the source does not
 * matter to it.
 *
 * @throws Problem `usage_error` when there is no backup, `rollout_refused` when it cannot be tested here
 */
export async function verifyBackup(directory: string, options: BackupOptions): Promise<BackupOutcome> {
  const manifest = readManifest(directory);
  options.say(`Checking ${manifest.files.length} files`);
  const damaged = await damagedFiles(directory, manifest, options.signal);
  const findings = damaged.length > 0 ? damaged : await restoreEarlier(manifest, directory, options);
  const restoreTest = findings.some(({ severity }) => severity === 'fail') ? 'failed' : 'passed';
  const outcome = { directory, manifest, restoreTest, findings } as const;
  await record('backup-verify', outcome, options);
  return outcome;
}

async function damagedFiles(directory: string, manifest: Manifest, signal: AbortSignal): Promise<Finding[]> {
  const present = new Set(await filesBelow(directory));
  const findings: Finding[] = [];
  const remedy = 'Do not rely on this backup. Take an older one that verifies, or make a new one';
  for (const { path, bytes, sha256 } of manifest.files) {
    const whole = join(directory, path);
    if (!present.has(path)) findings.push(fail('backup-file-missing', path, 'The file is missing.', remedy));
    else if (statSync(whole).size !== bytes || (await sha256Of(whole, signal)) !== sha256) {
      findings.push(fail('backup-file-damaged', path, 'The file is not what was written.', remedy));
    }
  }
  return findings;
}

async function restoreEarlier(manifest: Manifest, directory: string, options: BackupOptions): Promise<Finding[]> {
  const source = await withConnection(options.url, 'backup', readSource);
  const major = (version: number) => Math.floor(version / 10_000);
  if (manifest.method === 'base_backup') {
    const { server } = options;
    if (server === null || major(source.serverVersion) !== major(manifest.serverVersion)) {
      throw problem(
        'rollout_refused',
        `${basename(directory)} is a base backup of Postgres ${major(manifest.serverVersion)}: only the embedded server ` +
          'of that version can test it (unset DATABASE_URL)',
      );
    }
    await requireRoom([{ path: dirname(server.dataDirectory), bytes: manifest.bytes }]);
    return testBaseBackup(manifest, { ...options, directory, server });
  }
  const programs = await findClientPrograms(
    Math.max(source.serverVersion, manifest.serverVersion),
    options.environment,
  );
  if (programs === null) throw noMethod(source);
  return testDump(manifest, { ...options, source, directory, programs });
}

/** What `preflight` and `report` ask for. A role that may only read can back up all the same. */
async function record(kind: string, outcome: BackupOutcome, { url, say }: BackupOptions): Promise<void> {
  const { directory, manifest, restoreTest, findings } = outcome;
  const { method, startedAt, finishedAt, bytes, tables } = manifest;
  const rows = tables.reduce((sum, table) => sum + BigInt(table.rows), 0n).toString();
  const failed = findings.filter(({ severity }) => severity === 'fail').map(({ check, object }) => ({ check, object }));
  const detail = { directory, method, startedAt, finishedAt, bytes, tables: tables.length, rows, restoreTest, failed };
  try {
    await withConnection(url, 'backup', async (client) => {
      await installState(client);
      await recordEvent(client, kind, detail);
    });
  } catch (error) {
    say(`WARNING: the database does not record this: ${error instanceof Error ? error.message : String(error)}`);
  }
}
