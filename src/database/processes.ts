import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock } from '../clock.ts';

const linux = process.platform === 'linux';

/**
 * Tells one life of a process id from the next, so that a recycled id is not mistaken for the process that had it.
 *
 * @returns boot id and start tick on Linux (proc(5), field 22 of /proc/PID/stat), the start date elsewhere; null when
 * there is no such process or it is a zombie, which holds nothing any more.
 */
export function processIdentity(pid: number): string | null {
  return linux ? linuxIdentity(pid) : firstLineOf('ps', ['-o', 'lstart=', '-p', String(pid)]);
}

function linuxIdentity(pid: number): string | null {
  const stat = readOrNull(`/proc/${pid}/stat`);
  if (stat === null) return null;
  // The command name stands in brackets and may itself hold blanks and brackets: count from the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state] = fields;
  const startTick = fields[19];
  if (state === 'Z' || state === 'X' || startTick === undefined) return null;
  return `${readOrNull('/proc/sys/kernel/random/boot_id')?.trim() ?? ''}/${startTick}`;
}

/**
 * Finds every Postgres process that works on a cluster, the orphans of a killed postmaster too: all of them have the
 * cluster as their working directory. `postmaster.pid` cannot tell that, for it survives a kill -9 and its number may
 * by then belong to anybody.
 *
 * @param directory the cluster's real path
 */
export function clusterProcesses(directory: string): number[] {
  if (!linux) return postmasterByCommandLine(directory);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && linkOrNull(`/proc/${pid}/cwd`) === directory && isPostgres(pid));
}

/** A shell that somebody left standing in the cluster's directory is not ours to stop. */
function isPostgres(pid: number): boolean {
  return readOrNull(`/proc/${pid}/comm`)?.trim() === 'postgres';
}

function postmasterByCommandLine(directory: string): number[] {
  const pid = Number(readOrNull(`${directory}/postmaster.pid`)?.split('\n')[0]);
  if (!Number.isInteger(pid) || pid <= 1) return [];
  return firstLineOf('ps', ['-o', 'command=', '-p', String(pid)])?.includes(directory) ? [pid] : [];
}

/** Sends a signal; a process that is gone already is no fault. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/**
 * Waits until a condition holds.
 *
 * @returns whether it held before `timeoutMs` had passed
 */
export async function waitUntil(condition: () => boolean, timeoutMs: number): Promise<boolean> {
  const deadline = systemClock.now() + timeoutMs;
  while (!condition()) {
    if (systemClock.now() > deadline) return false;
    await delay(10);
  }
  return true;
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function linkOrNull(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}

function firstLineOf(command: string, args: string[]): string | null {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim() || null;
  } catch {
    return null;
  }
}
