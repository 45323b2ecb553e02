/** The restore test of a base backup: a Postgres on a copy of it, recovered to the restore point, compared, and removed. */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '../../clock.ts';
import { Problem } from '../../errors.ts';
import { type Finding, fail } from '../finding.ts';
import { baseDirectory } from './base-backup.ts';
import { compareTables } from './compare.ts';
import type { BaseManifest } from './manifest.ts';
import { type LocalServer, type ScratchServer, startScratchServer } from './scratch-server.ts';

export interface BaseTestOptions {
  readonly directory: string;
  readonly server: LocalServer;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

export async function testBaseBackup(manifest: BaseManifest, options: BaseTestOptions): Promise<Finding[]> {
  const { server, signal, say } = options;
  await removeLeftovers(server.dataDirectory, say);
  // Beside the data directory, where the account that Postgres runs as can get, whatever the backup's place.
  const copy = `${server.dataDirectory}.restore-test-${process.pid}-${randomBytes(4).toString('hex')}`;
  let scratch: ScratchServer | undefined;
  try {
    say(`Restore test: recovering a copy of the backup to ${manifest.restorePoint}`);
    scratch = await startScratchServer(join(options.directory, baseDirectory), copy, server, manifest, signal);
    return await compare(scratch, manifest, signal, say);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof Problem)) throw error;
    const remedy = 'Do not rely on this backup. Make a new one';
    return [fail('backup-restore-failed', manifest.database, `${error.message}.`, remedy)];
  } finally {
    await scratch?.stop();
    await rm(copy, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function compare(
  scratch: ScratchServer,
  manifest: BaseManifest,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<Finding[]> {
  const client = await scratch.connect(manifest.database);
  // The server is ours alone: ending it ends the statement.
  const stop = () => void scratch.stop();
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await compareTables(client, manifest.tables, say);
  } finally {
    signal.removeEventListener('abort', stop);
    await client.end().catch(() => {});
  }
}

/** What a run that was killed left behind; a copy of somebody's data must not lie about. */
async function removeLeftovers(dataDirectory: string, say: (line: string) => void): Promise<void> {
  const prefix = `${basename(dataDirectory)}.restore-test-`;
  for (const name of readdirSync(dirname(dataDirectory)).filter((entry) => entry.startsWith(prefix))) {
    const maker = Number(name.slice(prefix.length).split('-')[0]);
    if (maker === process.pid || isAlive(maker)) continue;
    const path = join(dirname(dataDirectory), name);
    say(`Removing ${path}, which a killed restore test left behind`);
    await stopServerOn(path);
    await rm(path, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** postmaster.pid holds the process and, in its second line, the directory that it works on (utils/pidfile.h). */
async function stopServerOn(directory: string): Promise<void> {
  const deadline = monotonicMs() + 30_000;
  const pid = postmasterOf(directory);
  if (pid === null) return;
  process.kill(pid, 'SIGINT');
  while (isAlive(pid) && monotonicMs() < deadline) await delay(20);
}

function postmasterOf(directory: string): number | null {
  try {
    const [pid, where] = readFileSync(join(directory, 'postmaster.pid'), 'utf8').split('\n');
    const running = where === directory && isAlive(Number(pid)) && /postgres/.test(commandOf(Number(pid)));
    return running ? Number(pid) : null;
  } catch {
    return null;
  }
}

/** The number may be another program's by now. Where /proc is not to be had, nothing is stopped. */
function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 1) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
