/**
 * pg_dump must be of the server's version or newer. Where the shared server has none such, one is started of the version
 * that is installed with pg_dump, if any is.
 */
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { startWriters } from '../../../test/support/backup-writers.ts';
import { statement, withDatabase } from '../../../test/support/postgres.ts';
import { waitUntil } from '../../database/processes.ts';
import { asAccount, chooseAccount } from '../../database/unprivileged.ts';
import { problem } from '../../errors.ts';
import { withConnection } from '../connection.ts';
import { readEvents } from '../state.ts';
import { type BackupOptions, planBackup, takeBackup, verifyBackup } from './backup.ts';
import { findClientPrograms } from './client-programs.ts';
import { dumpFile } from './dump.ts';
import { readManifest } from './manifest.ts';

interface Server {
  readonly url: string;
  stop(): Promise<void>;
}

const shared = inject('postgres').url;
const server = await serverForDump();
if (server === null) {
  console.warn('skipped: no pg_dump of a version that reads a server to be had here; nothing of it was tested');
}

async function serverForDump(): Promise<Server | null> {
  const { rows } = await statement(shared, "select current_setting('server_version_num')::int as version");
  if ((await findClientPrograms(rows[0].version, process.env)) !== null) return { url: shared, stop: async () => {} };
  for (const major of ['18', '17', '16', '15']) {
    const programs = `/usr/lib/postgresql/${major}/bin`;
    if (['initdb', 'postgres', 'pg_dump', 'pg_restore'].every((name) => existsSync(join(programs, name)))) {
      return startServer(programs);
    }
  }
  return null;
}

async function startServer(programs: string): Promise<Server> {
  const account = chooseAccount(null, () => {});
  const root = mkdtempSync(join(tmpdir(), 'ringfence-dump-'));
  const passwordFile = join(root, 'password');
  writeFileSync(passwordFile, 'pass word@/:\n', { mode: 0o600 });
  if (account) for (const path of [root, passwordFile]) chownSync(path, account.uid, account.gid);
  const data = join(root, 'data');
  const initdb = ['-D', data, '-U', 'boss', '-A', 'scram-sha-256', '--pwfile', passwordFile, '-E', 'UTF8', '--no-sync'];
  execFileSync(join(programs, 'initdb'), initdb, { ...asAccount(account), env: {}, stdio: 'ignore' });
  const port = await freePort();
  const settings = [`port=${port}`, 'listen_addresses=127.0.0.1', 'unix_socket_directories=', 'fsync=off'];
  const child = spawn(join(programs, 'postgres'), ['-D', data, ...settings.flatMap((setting) => ['-c', setting])], {
    ...asAccount(account),
    env: {},
    stdio: 'ignore',
  });
  const ready = () =>
    existsSync(join(data, 'postmaster.pid')) && /ready/.test(readFileSync(join(data, 'postmaster.pid'), 'utf8'));
  expect(await waitUntil(ready, 60_000)).toBe(true);
  return {
    url: `postgres://boss:${encodeURIComponent('pass word@/:')}@127.0.0.1:${port}/postgres`,
    async stop() {
      child.kill('SIGQUIT');
      if (child.exitCode === null) await once(child, 'exit');
      rmSync(root, { recursive: true, force: true, maxRetries: 10 });
    },
  };
}

async function freePort(): Promise<number> {
  const listening = createServer().listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const address = listening.address();
  listening.close();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

describe.skipIf(server === null)('pg_dump', { timeout: 60_000 }, () => {
  const name = `ringfence_dump_test_${process.pid}`;
  const role = `forced_${process.pid}`;
  let url: string;
  let root: string;
  let backup: string;

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'ringfence-backup-'));
    backup = join(root, 'backup');
    const main = server?.url ?? '';
    url = withDatabase(main, name);
    await statement(main, `create database ${name} template template0`);
    await statement(main, `create role ${role} login password 'x'`);
    await statement(
      url,
      `create schema "My App";
      create table public.still (id int primary key, body text, twice int generated always as (id * 2) stored);
      insert into public.still select n, case when n % 3 = 0 then null when n % 3 = 1 then '' else md5(n::text) end
        from generate_series(1, 3000) n;
      create unlogged table public.fleeting (id int); insert into public.fleeting values (1);
      create table "My App"."Order" (id bigint generated always as identity, at timestamptz default clock_timestamp(), n int)
        partition by list (n);
      create table "My App"."Order 0" partition of "My App"."Order" for values in (0);
      create table "My App"."Order rest" partition of "My App"."Order" default;
      create table public.accounts (id int primary key, total bigint not null default 0);
      insert into public.accounts select n, 0 from generate_series(1, 50) n`,
    );
  });

  afterAll(async () => {
    const main = server?.url ?? '';
    await statement(main, `drop database ${name} with (force)`);
    await statement(main, `drop role ${role}`);
    await server?.stop();
    rmSync(root, { recursive: true, force: true });
  });

  function options(lines: string[] = [], signal = new AbortController().signal, as = url): BackupOptions {
    return { url: as, server: null, environment: { PATH: process.env.PATH }, signal, say: (line) => lines.push(line) };
  }

  function asRole(): string {
    const other = new URL(url);
    other.username = role;
    other.password = 'x';
    return other.href;
  }

  async function take(directory: string, given = options()) {
    return takeBackup(await planBackup(given), directory, true, given);
  }

  async function scratchDatabases(): Promise<string[]> {
    const { rows } = await statement(url, "select datname from pg_database where datname ~ '^ringfence_restore_test_'");
    return rows.map(({ datname }) => datname);
  }

  const failures = async () =>
    (await verifyBackup(backup, options())).findings
      .filter(({ severity }) => severity === 'fail')
      .map(({ check, object }) => [check, object]);

  test('with the application writing: what comes back is the snapshot that was hashed', async () => {
    const writers = await startWriters(url);
    const lines: string[] = [];
    try {
      const outcome = await take(backup, options(lines));
      expect(outcome.findings.filter(({ severity }) => severity !== 'pass')).toEqual([]);
      expect(outcome.restoreTest).toBe('passed');
    } finally {
      await writers.stop();
    }
    expect(readManifest(backup).tables.map((table) => table.name)).toEqual([
      ...['Order 0', 'Order rest', 'accounts', 'fleeting', 'still'],
    ]);
    expect(lines.join('\n')).not.toMatch(/pass word|md5/);
    expect(await scratchDatabases()).toEqual([]);
    expect(statSync(join(backup, dumpFile)).mode & 0o777).toBe(0o600);
    expect(statSync(backup).mode & 0o777).toBe(0o700);
    const events = await withConnection(url, 'test', (client) => readEvents(client, 'backup'));
    expect(events.at(-1)?.detail).toMatchObject({ method: 'pg_dump', restoreTest: 'passed', tables: 5 });
  });

  test('an earlier one verifies while the source goes on', async () => {
    await statement(url, 'truncate public.still');
    expect(await failures()).toEqual([]);
  });

  test('a dump of other rows is found by the restore, by the name of the table', async () => {
    await statement(
      url,
      `insert into public.still values (1, 'other'); delete from public.fleeting;
      update public.accounts set total = total + 1 where id = 7`,
    );
    // The same dump with other rows in it, under a checksum that is right: as if pg_dump had read wrongly.
    const programs = await findClientPrograms(readManifest(backup).serverVersion, process.env);
    const original = readFileSync(join(backup, dumpFile));
    const tables = ['still', 'fleeting', 'accounts'].flatMap((table) => ['-t', `public.${table}`]);
    execFileSync(programs?.dump ?? '', ['-Fc', '-f', join(backup, dumpFile), ...tables, '-d', withoutPassword()], {
      env: { ...process.env, PGPASSWORD: decodeURIComponent(new URL(url).password) },
    });
    const manifest = readManifest(backup);
    const kept = JSON.stringify(manifest);
    forge(manifest);
    const missing = ['Order 0', 'Order rest'].map((table) => ['backup-table-missing', `"My App"."${table}"`]);
    expect(await failures()).toEqual([
      ...missing,
      ['backup-values-differ', 'public.accounts'],
      ['backup-rows-differ', 'public.fleeting'],
      ['backup-rows-differ', 'public.still'],
    ]);
    writeFileSync(join(backup, dumpFile), original);
    writeFileSync(join(backup, 'manifest.json'), kept);
  });

  function withoutPassword(): string {
    const bare = new URL(url);
    bare.password = '';
    return bare.href;
  }

  function forge(manifest: ReturnType<typeof readManifest>): void {
    const content = readFileSync(join(backup, dumpFile));
    const sha256 = createHash('sha256').update(content).digest('hex');
    const forged = { ...manifest, files: [{ path: dumpFile, bytes: content.length, sha256 }] };
    writeFileSync(join(backup, 'manifest.json'), JSON.stringify(forged));
  }

  test('a truncated one is found by its checksum, and by pg_restore where that was forged', async () => {
    truncateSync(join(backup, dumpFile), statSync(join(backup, dumpFile)).size - 3000);
    expect(await failures()).toEqual([['backup-file-damaged', dumpFile]]);
    forge(readManifest(backup));
    expect(await failures()).toEqual([['backup-restore-failed', name]]);
    expect(await scratchDatabases()).toEqual([]);
  });

  test('interrupted in the restore, it leaves no database and a partial backup that verifies', async () => {
    const interrupted = new AbortController();
    const given = options([], interrupted.signal);
    const say = (line: string) => {
      if (line.startsWith('Restore test')) interrupted.abort(problem('unavailable', 'interrupted'));
    };
    const directory = join(root, 'interrupted');
    await expect(take(directory, { ...given, say })).rejects.toThrow('interrupted');
    expect(await scratchDatabases()).toEqual([]);
    expect(readdirSync(root)).toContain('interrupted.partial');
    expect((await verifyBackup(`${directory}.partial`, options())).restoreTest).toBe('passed');
  });

  test('interrupted in the dump, it leaves no session behind', async () => {
    const interrupted = new AbortController();
    const given = options([], interrupted.signal);
    const say = (line: string) => {
      if (line.startsWith('Dumping')) interrupted.abort(problem('unavailable', 'interrupted'));
    };
    await expect(take(join(root, 'dump'), { ...given, say })).rejects.toThrow('interrupted');
    const sessions = async () =>
      (
        await statement(
          url,
          "select from pg_stat_activity where datname = current_database() and application_name ~ 'pg_dump|ringfence'",
        )
      ).rowCount;
    await expect.poll(sessions).toBe(0);
  });

  test('a forced owner is refused by the names of the tables, with the role that it takes', async () => {
    await statement(
      url,
      `create table public.bound (id int); insert into public.bound values (1), (2);
      alter table public.bound owner to ${role}, enable row level security, force row level security;
      grant pg_read_all_data to ${role}`,
    );
    const given = options([], undefined, asRole());
    await expect(planBackup(given)).rejects.toMatchObject({
      code: 'rollout_refused',
      message: expect.stringMatching(
        /binds the role forced_\d+ on public\.bound: .*superuser, or as a role with BYPASSRLS/,
      ),
      extensions: { tables: ['public.bound'] },
    });
    await statement(url, `alter role ${role} bypassrls`);
    const plan = await planBackup(given);
    const directory = join(root, 'by-lesser-role');
    await expect(takeBackup(plan, directory, true, given)).rejects.toThrow('createdb');
    await statement(url, `alter role ${role} createdb`);
    const outcome = await take(directory, given);
    expect(outcome.findings.filter(({ severity }) => severity === 'fail')).toEqual([]);
    expect(outcome.manifest.tables.find((table) => table.name === 'bound')?.rows).toBe('2');
    expect((await takeBackup(plan, join(root, 'untested'), false, given)).restoreTest).toBe('skipped');
    await statement(url, `revoke pg_read_all_data from ${role}`);
    await expect(planBackup(given)).rejects.toMatchObject({
      message: expect.stringContaining('may not read "My App"."Order 0", '),
      extensions: { tables: expect.arrayContaining(['public.still', '"My App"."Order_id_seq"']) },
    });
    await statement(url, `drop owned by ${role}`);
  });
});
