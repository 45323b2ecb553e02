import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { statement } from '../../test/support/postgres.ts';
import { connectToRunning, type EmbeddedPostgres, startEmbeddedPostgres } from './embedded.ts';
import { clusterProcesses, processIdentity, waitUntil } from './processes.ts';

const temporary: string[] = [];
const children: ChildProcess[] = [];

let dataDir: string;
let started: EmbeddedPostgres | undefined;
let lines: string[] = [];

beforeAll(() => {
  dataDir = makeDirectory();
});

afterEach(async () => {
  await Promise.all(children.splice(0).map(kill));
  await started?.stop();
  started = undefined;
});

afterAll(() => {
  for (const path of temporary) rmSync(path, { recursive: true, force: true, maxRetries: 10 });
});

function makeDirectory(mode = 0o711): string {
  const path = mkdtempSync(join(tmpdir(), 'ringfence-embedded-'));
  chmodSync(path, mode);
  temporary.push(path);
  return path;
}

async function start(directory = dataDir, settings: Record<string, string> = {}): Promise<EmbeddedPostgres> {
  lines = [];
  const onLine = (line: string) => lines.push(line);
  started = await startEmbeddedPostgres({ dataDir: directory, durable: false, settings, onLine });
  return started;
}

const report = z.union([
  z.object({ started: z.object({ url: z.string(), directory: z.string() }) }),
  z.object({ refused: z.string() }),
]);

/** Another process that starts on the data directory, and what became of it. */
async function startElsewhere(directory = dataDir): Promise<{ child: ChildProcess; report: z.infer<typeof report> }> {
  const program = new URL('../../test/support/embedded-process.ts', import.meta.url);
  const child = fork(program, [directory], { execArgv: [], stdio: 'ignore' });
  children.push(child);
  const [message] = await once(child, 'message');
  return { child, report: report.parse(message) };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

function postmasterPid(directory = join(dataDir, 'postgres')): number {
  return Number(readFileSync(join(directory, 'postmaster.pid'), 'utf8').split('\n')[0]);
}

const seenRows = async (url: string) => (await statement(url, 'select id from seen order by id')).rows;

describe('a fresh start', () => {
  test('makes the cluster, for this user alone, and removes what a killed initdb left', async () => {
    mkdirSync(join(dataDir, 'postgres.draft-dead'));
    const { url, directory } = await start();
    await statement(url, 'create table seen (id int)');
    await statement(url, 'insert into seen values (1)');

    expect(existsSync(join(dataDir, 'postgres.draft-dead'))).toBe(false);
    expect(directory).toBe(join(dataDir, 'postgres'));
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    for (const name of ['postgres-password', 'server.lock', 'postgres.log']) {
      expect(statSync(join(dataDir, name)).mode & 0o777, name).toBe(0o600);
    }
    expect(readFileSync(join(dataDir, 'server.lock'), 'utf8')).not.toContain(new URL(url).password);
  });

  test('keeps data, password and port over a restart', async () => {
    const { url } = await start();
    expect(await seenRows(url)).toEqual([{ id: 1 }]);
    await started?.stop();
    expect((await start()).url).toBe(url);
  });

  test('asks everybody for the password and has the settings we rely on', async () => {
    const { url } = await start();
    const withoutPassword = new URL(url);
    withoutPassword.password = 'wrong';
    await expect(statement(withoutPassword.href, 'select 1')).rejects.toMatchObject({ code: '28P01' });
    const settings = await statement(
      url,
      `select name, setting from pg_settings
       where name in ('data_checksums', 'server_encoding', 'shared_preload_libraries', 'unix_socket_directories')
       order by name`,
    );
    expect(settings.rows.map((row) => row.setting)).toEqual(['on', 'UTF8', 'pg_stat_statements', '']);
    // The word has letters beyond ASCII: they are letters only where LC_CTYPE knows them.
    const words = await statement(
      url,
      `select to_tsvector('simple', 'Grüße') @@ to_tsquery('simple', 'grüße') as found`,
    );
    expect(words.rows).toEqual([{ found: true }]);
  });

  test('listens on loopback alone, out of reach of our terminal', async ({ skip }) => {
    skip(process.platform !== 'linux', 'only Linux tells in /proc who listens');
    const { port } = await start();
    expect(listeningAddresses(port)).toEqual(['0100007F']);
    const session = (pid: number) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[3];
    expect(session(postmasterPid())).not.toBe(session(process.pid));
  });
});

/** The local addresses, in the kernel's hexadecimal, that anybody listens on at this port (proc_net_tcp). */
function listeningAddresses(port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  return ['/proc/net/tcp', '/proc/net/tcp6']
    .filter((path) => existsSync(path))
    .flatMap((path) => readFileSync(path, 'utf8').trim().split('\n').slice(1))
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state]) => local?.endsWith(`:${hex}`) && state === '0A')
    .map(([, local]) => local?.split(':')[0] ?? '');
}

describe('stopping', () => {
  test('is a clean shutdown that leaves nobody behind, and may be asked for twice', async () => {
    const { directory, stop } = await start();
    await Promise.all([stop(), stop()]);
    expect(clusterProcesses(directory)).toEqual([]);
    expect(existsSync(join(directory, 'postmaster.pid'))).toBe(false);
    expect(readFileSync(join(dataDir, 'postgres.log'), 'utf8').trim().split('\n').at(-1)).toContain('is shut down');
    expect(await connectToRunning(dataDir)).toBeNull();
  });

  test('also happens when our process dies of an uncaught error', async () => {
    const { child } = await startElsewhere();
    child.send('crash');
    await once(child, 'exit');
    expect(await waitUntil(() => clusterProcesses(join(dataDir, 'postgres')).length === 0, 30_000)).toBe(true);
  });
});

describe('a taken port', () => {
  test('makes Postgres take another and remember that', async () => {
    const first = await start();
    await first.stop();
    const squatter = createServer().listen(first.port, '127.0.0.1');
    await once(squatter, 'listening');
    const second = await start();
    expect(second.port).not.toBe(first.port);
    expect(await seenRows(second.url)).toEqual([{ id: 1 }]);
    await second.stop();
    squatter.close();
    expect((await start()).port).toBe(second.port);
  });
});

describe('a second start', () => {
  test('is refused by name while the first goes on', async () => {
    const { child, report } = await startElsewhere();
    if (!('started' in report)) throw new Error(`the first was refused: ${report.refused}`);
    await expect(start()).rejects.toMatchObject({
      code: 'data_directory_in_use',
      message: expect.stringMatching(
        new RegExp(`${dataDir} is in use by process ${child.pid}, started 20.*Z, serving on http://127.0.0.1:8080`),
      ),
    });
    expect(await connectToRunning(dataDir)).toMatchObject({ url: report.started.url });
    expect(await seenRows(report.started.url)).toEqual([{ id: 1 }]);
    child.send('stop');
    await once(child, 'exit');
  });

  test('of two at the same moment exactly one wins, also over a stale owner', async () => {
    const stale = { pid: process.pid, pidStartTime: 'an earlier life', startedAt: '2026-01-01T00:00:00Z' };
    writeFileSync(join(dataDir, 'server.lock'), JSON.stringify({ ...stale, url: null, address: null }));
    const both = await Promise.all([startElsewhere(), startElsewhere(), startElsewhere()]);
    expect(both.filter(({ report }) => 'started' in report)).toHaveLength(1);
    expect(both.flatMap(({ report }) => ('refused' in report ? [report.refused] : []))).toEqual([
      'data_directory_in_use',
      'data_directory_in_use',
    ]);
  });

  test('in the same process is refused too', async () => {
    const { stop } = await start();
    await expect(startEmbeddedPostgres({ dataDir })).rejects.toMatchObject({ code: 'data_directory_in_use' });
    await stop();
  });
});

describe('after kill -9', () => {
  test('of our process, the Postgres left behind is stopped and a new one has the data', async () => {
    const { child } = await startElsewhere();
    const orphan = postmasterPid();
    await kill(child);
    expect(processIdentity(orphan)).not.toBeNull();
    expect(await connectToRunning(dataDir)).toBeNull();

    const { url } = await start();
    expect(processIdentity(orphan)).toBeNull();
    expect(lines).toEqual([expect.stringContaining('an earlier run left behind')]);
    expect(await seenRows(url)).toEqual([{ id: 1 }]);
  });

  test('of everything, a stale pid file does not block, even when its number is somebody else now', async () => {
    const { child } = await startElsewhere();
    const pid = postmasterPid();
    await kill(child);
    process.kill(pid, 'SIGKILL');
    const pidFile = join(dataDir, 'postgres/postmaster.pid');
    // A live process of the user that owns the cluster: Postgres would take it for its predecessor.
    const { uid, gid } = statSync(pidFile);
    const other = spawn('sleep', ['60'], process.getuid?.() === 0 ? { uid, gid } : {});
    children.push(other);
    writeFileSync(pidFile, readFileSync(pidFile, 'utf8').replace(/^\d+/, String(other.pid)));
    expect(await seenRows((await start()).url)).toEqual([{ id: 1 }]);
  });

  test('of Postgres alone, we say so, stop all the same, and the next start recovers', async () => {
    const { stop } = await start();
    process.kill(postmasterPid(), 'SIGKILL');
    await waitUntil(() => lines.length > 0, 30_000);
    expect(lines).toEqual([expect.stringContaining('Postgres ended by itself (SIGKILL)')]);
    await stop();
    expect(await seenRows((await start()).url)).toEqual([{ id: 1 }]);
  });
});

describe('what cannot work', () => {
  test('a setting that Postgres refuses is shown from its log', async () => {
    await expect(start(dataDir, { shared_buffers: 'nonsense' })).rejects.toMatchObject({
      code: 'postgres_failed_to_start',
      message: expect.stringMatching(/postgres\.log ends with\n.*invalid value for parameter "shared_buffers"/s),
    });
    // And the directory is free again.
    await start();
  });

  test('a lost password is named, not replaced', async () => {
    const path = join(dataDir, 'postgres-password');
    const password = readFileSync(path);
    rmSync(path);
    await expect(start()).rejects.toMatchObject({ message: expect.stringContaining(`${path} is missing`) });
    writeFileSync(path, password, { mode: 0o600 });
  });
});

describe('root, below a directory that others may not enter', () => {
  test('keeps the cluster where Postgres can reach it, finds it again, and never starts empty instead', async ({
    skip,
  }) => {
    skip(process.getuid?.() !== 0, 'only root runs Postgres as another user, and this is not root');
    const closed = makeDirectory(0o700);
    const first = await start(closed);
    temporary.push(join(first.directory, '..'));
    expect(first.directory).toMatch(/^\/var\/lib\/ringfence\/[0-9a-f]{16}\/postgres$/);
    expect(lines).toEqual([expect.stringContaining(`Postgres keeps its data in ${first.directory}`)]);
    expect(statSync(first.directory)).toMatchObject({ uid: expect.not.toSatisfy((uid: number) => uid === 0) });
    await statement(first.url, 'create table seen as select 7 as id');
    await first.stop();

    const second = await start(closed);
    expect(await seenRows(second.url)).toEqual([{ id: 7 }]);
    await second.stop();

    rmSync(first.directory, { recursive: true });
    await expect(start(closed)).rejects.toMatchObject({ message: expect.stringContaining('the data is gone') });
  });
});
