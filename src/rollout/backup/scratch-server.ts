/**
 * A Postgres on a copy of a base backup, which recovers to the restore point and stands still there: read only, reachable
 * by nobody but this user, with no way to reach out.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chownSync,
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { chmod, chown, copyFile, mkdir, readdir } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { monotonicMs } from '../../clock.ts';
import { problem } from '../../errors.ts';

/** The embedded server: where it lies and how to run another like it. */
export interface LocalServer {
  readonly dataDirectory: string;
  /** The program `postgres` of the same version. */
  readonly postgres: string;
  /** Whom Postgres runs as; null: ourselves. */
  readonly account: { readonly uid: number; readonly gid: number } | null;
}

export interface ScratchServer {
  connect(database: string): Promise<pg.Client>;
  stop(): Promise<void>;
}

const recoveryTimeoutMs = 600_000;
const stopTimeoutMs = 30_000;

/**
 * Copies and starts. Not hard links: Postgres writes into its files in place, and would write into the backup.
 *
 * @param base the base backup
 * @param directory does not exist yet; whoever stops the server removes it
 * @throws Problem `rollout_failed` with the last lines of the server's log
 */
export async function startScratchServer(
  base: string,
  directory: string,
  server: LocalServer,
  { role, settings }: { readonly role: string; readonly settings: Readonly<Record<string, string>> },
  signal: AbortSignal,
): Promise<ScratchServer> {
  await copyTree(base, directory, server.account, signal);
  const sockets = makeSocketDirectory(directory);
  const end = () => rmSync(sockets, { recursive: true, force: true });
  try {
    writeAccessRules(sockets, server, role);
    const child = start(directory, sockets, server, settings);
    const stop = async () => {
      await stopChild(child);
      end();
    };
    try {
      await untilPaused(child, sockets, role, signal);
    } catch (error) {
      await stop();
      throw error;
    }
    return { stop, connect: (database) => connectTo(sockets, database, role) };
  } catch (error) {
    end();
    throw error;
  }
}

/** sun_path of a socket's address has 107 bytes and an end (104 on macOS), of which `/.s.PGSQL.5432` needs 14. */
const socketDirectoryBytes = 88;

/** Closed to others; beside the copy, where the account surely gets to, unless that path is too long. */
function makeSocketDirectory(copy: string): string {
  const beside = `${copy}.s`;
  if (Buffer.byteLength(beside) > socketDirectoryBytes) return mkdtempSync(join(tmpdir(), 'ringfence-'));
  mkdirSync(beside, { mode: 0o700 });
  return beside;
}

/** A reflink where the file system can, which costs neither time nor room; else a copy. */
async function copyTree(from: string, to: string, account: LocalServer['account'], signal: AbortSignal): Promise<void> {
  await mkdir(to, { mode: 0o700 });
  if (account !== null) await chown(to, account.uid, account.gid);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    signal.throwIfAborted();
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) {
      await copyTree(source, target, account, signal);
    } else if (entry.isFile()) {
      await copyFile(source, target, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
      await chmod(target, 0o600);
      if (account !== null) await chown(target, account.uid, account.gid);
    }
  }
}

/**
 * The operating system says who connects (peer), so no password of any role is needed, also long after the backup when they
 * have changed, and nobody else gets in.
 */
function writeAccessRules(sockets: string, { account }: LocalServer, role: string): void {
  const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;
  const ident = `ringfence ${quoted(userInfo().username)} ${quoted(role)}\n`;
  const rules = { hba: 'local all all peer map=ringfence\n', ident };
  for (const [name, text] of Object.entries(rules)) {
    writeFileSync(join(sockets, `${name}.conf`), text, { mode: 0o600, flag: 'wx' });
    if (account !== null) chownSync(join(sockets, `${name}.conf`), account.uid, account.gid);
  }
  if (account !== null) chownSync(sockets, account.uid, account.gid);
}

function start(
  directory: string,
  sockets: string,
  { postgres, account }: LocalServer,
  settings: Readonly<Record<string, string>>,
): ChildProcess {
  const all = {
    ...settings,
    listen_addresses: '',
    unix_socket_directories: sockets,
    unix_socket_permissions: '0700',
    hba_file: join(sockets, 'hba.conf'),
    ident_file: join(sockets, 'ident.conf'),
    ssl: 'off',
    hot_standby: 'on',
    // Paused, nothing is written and no background worker (replication, a scheduler) begins its work.
    recovery_target_action: 'pause',
    restore_command: 'false',
    archive_mode: 'off',
    archive_cleanup_command: '',
    recovery_end_command: '',
    primary_conninfo: '',
    logging_collector: 'off',
    log_destination: 'stderr',
    external_pid_file: '',
    shared_buffers: '64MB',
    fsync: 'off',
  };
  const log = openSync(join(sockets, 'log'), 'a', 0o600);
  const child = spawn(
    postgres,
    ['-D', directory, ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    {
      cwd: '/',
      ...(account === null ? {} : { uid: account.uid, gid: account.gid }),
      // Ctrl-C on the terminal reaches us alone, and we stop it in order.
      detached: true,
      env: {},
      stdio: ['ignore', log, log],
    },
  );
  closeSync(log);
  const stopAtExit = () => child.kill('SIGQUIT');
  process.once('exit', stopAtExit);
  child.once('exit', () => process.off('exit', stopAtExit));
  child.once('error', () => {});
  return child;
}

const over = (child: ChildProcess) => child.pid === undefined || child.exitCode !== null || child.signalCode !== null;

async function untilPaused(child: ChildProcess, sockets: string, role: string, signal: AbortSignal): Promise<void> {
  const deadline = monotonicMs() + recoveryTimeoutMs;
  while (monotonicMs() < deadline) {
    await delay(50, undefined, { signal });
    if (over(child)) break;
    if (await isPaused(sockets, role)) return;
  }
  const said = readFileSync(join(sockets, 'log'), 'utf8').trim().split('\n').slice(-8).join('\n  ');
  throw problem('rollout_failed', `The copied backup does not recover to its restore point; Postgres says\n  ${said}`);
}

async function isPaused(sockets: string, role: string): Promise<boolean> {
  const client = await connectTo(sockets, 'postgres', role).catch(() => null);
  if (client === null) return false;
  try {
    const { rows } = await client.query('select pg_get_wal_replay_pause_state() as state');
    return rows[0]?.state === 'paused';
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}

async function connectTo(sockets: string, database: string, role: string): Promise<pg.Client> {
  const client = new pg.Client({
    host: sockets,
    port: 5432,
    user: role,
    database,
    ssl: false,
    application_name: 'ringfence restore test',
    options: '-c default_transaction_read_only=on -c statement_timeout=0',
  });
  client.on('error', () => {});
  try {
    await client.connect();
    return client;
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
}

async function stopChild(child: ChildProcess): Promise<void> {
  for (const name of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
    if (over(child)) return;
    child.kill(name);
    await Promise.race([once(child, 'exit'), delay(stopTimeoutMs, undefined, { ref: false })]);
  }
}
