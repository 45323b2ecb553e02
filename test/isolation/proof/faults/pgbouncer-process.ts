/** A real PgBouncer in transaction mode in front of a database, where the machine has the program. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asAccount, chooseAccount } from '../../../../src/database/unprivileged.ts';
import { freePort } from './free-port.ts';

export interface PgBouncer {
  readonly version: string;
  /** The same log-in and database, through the pooler. */
  through(url: string): string;
  stop(): Promise<void>;
}

/** @returns undefined when there is no such program here; Debian's package is called pgbouncer */
export function pgbouncerVersion(): string | undefined {
  const { status, stdout } = spawnSync(program, ['--version'], { env: environment, encoding: 'utf8' });
  return status === 0 ? /PgBouncer (\S+)/.exec(stdout)?.[1] : undefined;
}

const program = 'pgbouncer';
// Debian puts it where only root looks.
const environment = { PATH: `${process.env.PATH ?? ''}:/usr/sbin` };
const readyMs = 10_000;

/**
 * @param logins connection strings of those who will log in through it; all lead to one Postgres
 * @param poolSize connections to Postgres for each log-in and database
 */
export async function startPgbouncer(logins: readonly string[], poolSize: number): Promise<PgBouncer> {
  const version = pgbouncerVersion();
  const [first] = logins;
  if (version === undefined || first === undefined) throw new Error('there is no pgbouncer, or nobody to log in');
  const directory = mkdtempSync(join(tmpdir(), 'ringfence-pgbouncer-'));
  const port = await freePort();
  const { hostname, port: upstream } = new URL(first);
  const users = logins.map((url) => new URL(url)).map((url) => `"${url.username}" "${url.password}"\n`);
  // As root it refuses to run, as Postgres does.
  const account = chooseAccount(null, () => {});
  const write = (name: string, text: string) => {
    const path = join(directory, name);
    writeFileSync(path, text, { mode: 0o600 });
    if (account) chownSync(path, account.uid, account.gid);
    return path;
  };
  chmodSync(directory, 0o711);
  const ini = write(
    'pgbouncer.ini',
    [
      '[databases]',
      `* = host=${hostname} port=${upstream}`,
      '[pgbouncer]',
      'listen_addr = 127.0.0.1',
      `listen_port = ${port}`,
      'unix_socket_dir =',
      'auth_type = scram-sha-256',
      `auth_file = ${write('users.txt', users.join(''))}`,
      'pool_mode = transaction',
      `default_pool_size = ${poolSize}`,
      'max_client_conn = 100',
    ].join('\n'),
  );
  const child = spawn(program, [ini], { ...asAccount(account), env: environment, stdio: ['ignore', 'ignore', 'pipe'] });
  await listening(child);
  return {
    version,
    through: (url) => Object.assign(new URL(url), { host: `127.0.0.1:${port}` }).href,
    async stop() {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function listening(child: ChildProcess): Promise<void> {
  let said = '';
  const signal = AbortSignal.timeout(readyMs);
  const ready = new Promise<void>((resolve) => {
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-4_000);
      if (/process up/.test(said)) resolve();
    });
  });
  await Promise.race([
    ready,
    once(child, 'exit', { signal }).then(() => Promise.reject(new Error(`pgbouncer did not start: ${said}`))),
  ]);
}
