import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type Problem, problem } from '../errors.ts';
import type { Cluster } from './cluster.ts';
import { createPrivateFile, replacePrivateFile } from './private-file.ts';
import { clusterProcesses, signal, waitUntil } from './processes.ts';
import { asAccount } from './unprivileged.ts';

/** Recovery after a crash replays up to max_wal_size (1 GB), which is minutes on a slow disk. */
const startTimeoutMs = 300_000;
const stopTimeoutMs = 60_000;
const largeLogBytes = 10 * 1024 * 1024;

export type Settings = Readonly<Record<string, string>>;

export interface Postmaster {
  readonly port: number;
  /** Fast shutdown; resolves when the process is gone. */
  stop(): Promise<void>;
}

/**
 * Stops what a killed predecessor left running on the cluster, and clears its pid file. Only for the holder of the
 * data directory's lock: whoever still runs there then has lost its master.
 */
export async function stopStrays(cluster: string, say: (line: string) => void): Promise<void> {
  const strays = clusterProcesses(cluster);
  const pidFile = join(cluster, 'postmaster.pid');
  if (strays.length > 0) {
    say(`Stopping the Postgres (process ${strays.join(', ')}) that an earlier run left behind`);
    const postmaster = Number(existsSync(pidFile) ? readFileSync(pidFile, 'utf8').split('\n')[0] : Number.NaN);
    if (strays.includes(postmaster)) signal(postmaster, 'SIGINT');
    // Without a postmaster the others end by themselves once they notice, but a long statement may take its time.
    const gone = await waitUntil(() => clusterProcesses(cluster).length === 0, stopTimeoutMs);
    if (!gone) for (const pid of clusterProcesses(cluster)) signal(pid, 'SIGKILL');
    await waitUntil(() => clusterProcesses(cluster).length === 0, stopTimeoutMs);
  }
  // Postgres takes any live process with this number for its predecessor and would refuse to start; in a container
  // numbers come round again at once. Nobody works on the cluster, as we have just seen.
  rmSync(pidFile, { force: true });
}

/**
 * Starts Postgres on the cluster and waits until it takes connections, on the port of last time where that is free.
 *
 * @param dataDir keeps the port and the log
 * @throws Problem `postgres_failed_to_start` with the last lines of the log, `port_in_use`
 */
export async function startPostmaster(
  cluster: Cluster,
  dataDir: string,
  settings: Settings,
  say: (line: string) => void,
): Promise<Postmaster> {
  const portFile = join(dataDir, 'postgres-port');
  // Between our look at a port and Postgres taking it somebody else may take it: then look again.
  for (let attempt = 1; attempt <= 5; attempt += 1) {
    const port = await freePort(existsSync(portFile) ? Number(readFileSync(portFile, 'utf8')) : 0);
    const postmaster = await tryStart(cluster, dataDir, port, settings, say);
    if (postmaster === 'port taken') continue;
    replacePrivateFile(portFile, `${port}\n`);
    return postmaster;
  }
  throw problem('port_in_use', 'Postgres found its port taken five times in a row on 127.0.0.1');
}

async function freePort(wanted: number): Promise<number> {
  return (await listensOn(Number.isInteger(wanted) && wanted > 0 && wanted < 65536 ? wanted : 0)) ?? freePort(0);
}

async function listensOn(port: number): Promise<number | null> {
  const server = createServer();
  try {
    server.listen({ port, host: '127.0.0.1', exclusive: true });
    await once(server, 'listening');
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : null;
  } catch (error) {
    if (port === 0) throw error;
    return null;
  } finally {
    server.close();
  }
}

async function tryStart(
  cluster: Cluster,
  dataDir: string,
  port: number,
  settings: Settings,
  say: (line: string) => void,
): Promise<Postmaster | 'port taken'> {
  const log = openLog(dataDir);
  const child = spawn(cluster.binaries.postgres, commandLine(cluster, port, settings), {
    ...asAccount(cluster.account),
    // A session of its own: Ctrl-C on the terminal reaches us alone, and we stop Postgres in order.
    detached: true,
    env: {},
    stdio: ['ignore', log.fd, log.fd],
  });
  closeSync(log.fd);
  await Promise.race([once(child, 'spawn'), once(child, 'exit')]);
  const over = () => child.exitCode !== null || child.signalCode !== null;
  const ready = await waitUntil(() => over() || isReady(cluster.directory, child.pid), startTimeoutMs);
  if (ready && !over()) return watch(child, port, log.path, say);

  const said = log.since();
  if (!over()) await stopChild(child);
  if (said.includes('Address already in use')) return 'port taken';
  throw didNotStart(log.path, said);
}

function commandLine(cluster: Cluster, port: number, settings: Settings): string[] {
  const all = {
    ...settings,
    port: String(port),
    listen_addresses: '127.0.0.1',
    // A socket in /tmp is open to every user of the machine, and one in the data directory easily exceeds 107 bytes.
    unix_socket_directories: '',
    logging_collector: 'off',
  };
  return ['-D', cluster.directory, ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
}

/** postmaster.pid: line 1 is the process, line 8 its state, padded (src/include/utils/pidfile.h). */
function isReady(directory: string, pid: number | undefined): boolean {
  try {
    const lines = readFileSync(join(directory, 'postmaster.pid'), 'utf8').split('\n');
    return Number(lines[0]) === pid && lines[7]?.trim() === 'ready';
  } catch {
    return false;
  }
}

function watch(child: ChildProcess, port: number, logPath: string, say: (line: string) => void): Postmaster {
  let stopping: Promise<void> | undefined;
  // Not a signal handler, those are the program's own: this one also runs after an uncaught error.
  const stopAtExit = () => child.kill('SIGINT');
  process.once('exit', stopAtExit);
  child.once('exit', (code, killedBy) => {
    process.off('exit', stopAtExit);
    if (stopping === undefined) say(`Postgres ended by itself (${killedBy ?? `code ${code}`}); its log is ${logPath}`);
  });
  child.unref();
  return {
    port,
    stop() {
      stopping ??= stopChild(child);
      return stopping;
    },
  };
}

async function stopChild(child: ChildProcess): Promise<void> {
  const over = () => child.exitCode !== null || child.signalCode !== null;
  if (over()) return;
  child.ref();
  child.kill('SIGINT');
  if (await waitUntil(over, stopTimeoutMs)) return;
  // An immediate shutdown loses nothing that was committed: the next start replays it.
  child.kill('SIGQUIT');
  await waitUntil(over, stopTimeoutMs);
}

function openLog(dataDir: string): { path: string; fd: number; since(): string } {
  const path = join(dataDir, 'postgres.log');
  createPrivateFile(path, '');
  if (statSync(path).size > largeLogBytes) {
    renameSync(path, `${path}.1`);
    createPrivateFile(path, '');
  }
  const from = statSync(path).size;
  return { path, fd: openSync(path, 'a'), since: () => readFileSync(path).subarray(from).toString() };
}

function didNotStart(logPath: string, said: string): Problem {
  const lines = said.trim().split('\n').slice(-8).join('\n  ');
  return problem('postgres_failed_to_start', `Postgres did not start; its log ${logPath} ends with\n  ${lines}`);
}
