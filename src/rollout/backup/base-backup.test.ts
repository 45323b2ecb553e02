/** A base backup of a server of its own: base backups are of the whole server, and the shared one is busy. */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startWriters } from '../../../test/support/backup-writers.ts';
import { statement } from '../../../test/support/postgres.ts';
import { locateCluster } from '../../database/cluster.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../database/embedded.ts';
import { waitUntil } from '../../database/processes.ts';
import { problem } from '../../errors.ts';
import { withConnection } from '../connection.ts';
import { readEvents } from '../state.ts';
import { type BackupOptions, planBackup, takeBackup, verifyBackup } from './backup.ts';
import { listDataDirectory } from './data-directory.ts';
import { type BaseManifest, readManifest } from './manifest.ts';
import { markRestorePoint } from './restore-point.ts';
import type { LocalServer } from './scratch-server.ts';

let root: string;
let postgres: EmbeddedPostgres;
let server: LocalServer;
let backup: string;

beforeAll(async () => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'ringfence-base-backup-')));
  // As root, Postgres runs as another user, who has to pass through.
  chmodSync(root, 0o711);
  const dataDir = join(root, 'data');
  const settings = { max_prepared_transactions: '5' };
  postgres = await startEmbeddedPostgres({ dataDir, durable: false, settings });
  const { directory, account, binaries } = locateCluster(dataDir, () => {});
  server = { dataDirectory: directory, postgres: binaries.postgres, account };
  backup = join(root, 'backup');
  await statement(
    postgres.url,
    `create schema "My App";
    create table public.still (id int primary key, body text);
    insert into public.still select n, repeat(md5(n::text), 4) from generate_series(1, 3000) n;
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
  await postgres?.stop();
  rmSync(root, { recursive: true, force: true, maxRetries: 10 });
});

function options(lines: string[] = [], signal = new AbortController().signal): BackupOptions {
  return { url: postgres.url, server, environment: {}, signal, say: (line) => lines.push(line) };
}

/** By the embedded server's own means, also where a pg_dump of its version is installed. */
async function take(directory: string, restoreTest: boolean, given = options()) {
  const plan = await planBackup(given);
  const listing = await listDataDirectory(server.dataDirectory);
  return takeBackup({ ...plan, method: { kind: 'base_backup', server, listing } }, directory, restoreTest, given);
}

const scratchCopies = () => readdirSync(join(root, 'data')).filter((name) => name.includes('restore-test'));

function baseManifest(directory: string): BaseManifest {
  const manifest = readManifest(directory);
  if (manifest.method !== 'base_backup') throw new Error('not a base backup');
  return manifest;
}

describe('a backup while the application writes', () => {
  test('is restored and every table is what it was at the restore point', { timeout: 120_000 }, async () => {
    const writers = await startWriters(postgres.url);
    const lines: string[] = [];
    // What a restore test leaves that was killed; no process has this number.
    mkdirSync(`${server.dataDirectory}.restore-test-999999999-dead`);
    try {
      const outcome = await take(backup, true, options(lines));
      expect(outcome.findings.filter(({ severity }) => severity !== 'pass')).toEqual([]);
      expect(outcome).toMatchObject({ restoreTest: 'passed', directory: backup });
    } finally {
      await writers.stop();
    }
    const { tables, notSaved } = baseManifest(backup);
    expect(tables.map(({ name }) => name)).toEqual(['Order 0', 'Order rest', 'accounts', 'still']);
    expect(Number(tables[0]?.rows)).toBeGreaterThan(0);
    expect(notSaved).toEqual(['public.fleeting']);
    expect(lines.join('\n')).toContain('WARNING: unlogged tables come back empty from it: public.fleeting');
    expect(existsSync(`${backup}.partial`)).toBe(false);
    expect(scratchCopies()).toEqual([]);
  });

  test('is closed to everybody else', () => {
    const modes = new Set(
      readdirSync(backup, { recursive: true, withFileTypes: true }).map((entry) => {
        const mode = statSync(join(entry.parentPath, entry.name)).mode & 0o777;
        return `${entry.isDirectory() ? 'directory' : 'file'} ${mode.toString(8)}`;
      }),
    );
    expect(statSync(backup).mode & 0o777).toBe(0o700);
    expect([...modes].toSorted()).toEqual(['directory 700', 'file 600']);
  });

  test('is on record in the database', async () => {
    const events = await withConnection(postgres.url, 'test', (client) => readEvents(client, 'backup'));
    expect(events.at(-1)?.detail).toMatchObject({
      method: 'base_backup',
      restoreTest: 'passed',
      tables: 4,
      failed: [],
    });
  });

  test('is put in the place of the data directory as its RESTORE.txt says, and served from there', async () => {
    const guide = readFileSync(join(backup, 'RESTORE.txt'), 'utf8');
    expect(guide).toContain(`the restore point ${baseManifest(backup).restorePoint}`);
    const dataDir = join(root, 'restored');
    mkdirSync(dataDir, { mode: 0o711 });
    cpSync(join(backup, 'base'), join(dataDir, 'postgres'), { recursive: true });
    if (server.account) chownTree(join(dataDir, 'postgres'), server.account);
    cpSync(join(root, 'data', 'postgres-password'), join(dataDir, 'postgres-password'));
    const restored = await startEmbeddedPostgres({
      dataDir,
      durable: false,
      settings: { max_prepared_transactions: '5' },
    });
    try {
      const { tables } = baseManifest(backup);
      const { rows } = await statement(restored.url, 'select count(*)::text as rows from "My App"."Order 0"');
      expect(rows[0].rows).toBe(tables[0]?.rows);
      await statement(restored.url, 'insert into public.accounts values (51)');
    } finally {
      await restored.stop();
    }
  });

  function chownTree(directory: string, { uid, gid }: { uid: number; gid: number }): void {
    chownSync(directory, uid, gid);
    for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
      chownSync(join(entry.parentPath, entry.name), uid, gid);
    }
  }

  test('leaves no replication slot behind', async () => {
    const gone = await statement(postgres.url, 'select from pg_replication_slots');
    expect(gone.rowCount).toBe(0);
  });

  test('goes over nothing that is there', async () => {
    await expect(take(backup, false)).rejects.toMatchObject({ code: 'usage_error' });
  });
});

describe('a restore point', () => {
  test('is not made while a transaction is writing; the one who does is named', async () => {
    const writer = new pg.Client({ connectionString: postgres.url, application_name: 'slow writer' });
    await writer.connect();
    try {
      await writer.query('begin; update public.accounts set total = 1 where id = 1');
      await expect(mark()).rejects.toMatchObject({
        code: 'rollout_failed',
        message: expect.stringMatching(/Holding locks now: process \d+ \(slow writer, transaction since /),
      });
      await writer.query("prepare transaction 'forgotten'");
      try {
        await expect(mark()).rejects.toThrow("Holding locks now: prepared transaction 'forgotten'");
      } finally {
        await writer.query("rollback prepared 'forgotten'");
      }
      expect((await mark()).tables).toHaveLength(4);
    } finally {
      await writer.end();
    }
  });

  function mark() {
    const { signal } = new AbortController();
    return withConnection(postgres.url, 'test', (locker) =>
      withConnection(postgres.url, 'test', async (reader) => {
        const point = await markRestorePoint(locker, reader, 'test', signal, 300);
        return { ...point, tables: point.tables.filter(({ schema }) => schema !== 'ringfence_rollout') };
      }),
    );
  }
});

describe('an earlier backup', { timeout: 120_000 }, () => {
  const fails = async () =>
    (await verifyBackup(backup, options())).findings
      .filter(({ severity }) => severity === 'fail')
      .map(({ check, object }) => [check, object]);

  /** As if the damage had been there when the checksum was taken: only the restore can find it. */
  function forge(change: (manifest: BaseManifest) => unknown): void {
    const manifest = baseManifest(backup);
    change(manifest);
    for (const file of manifest.files) {
      const content = readFileSync(join(backup, file.path));
      Object.assign(file, { bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') });
    }
    writeFileSync(join(backup, 'manifest.json'), JSON.stringify(manifest));
  }

  test('verifies, also when the source has changed since', async () => {
    await statement(postgres.url, 'truncate public.still');
    expect((await verifyBackup(backup, options())).restoreTest).toBe('passed');
    const events = await withConnection(postgres.url, 'test', (client) => readEvents(client, 'backup-verify'));
    expect(events.at(-1)?.detail).toMatchObject({ restoreTest: 'passed' });
  });

  test('with other values than were recorded fails by the name of the table', async () => {
    const kept = readFileSync(join(backup, 'manifest.json'));
    forge(
      ({ tables }) => Object.assign(tables[2] ?? {}, { hash: '17' }) && Object.assign(tables[3] ?? {}, { rows: '2' }),
    );
    expect(await fails()).toEqual([
      ['backup-values-differ', 'public.accounts'],
      ['backup-rows-differ', 'public.still'],
    ]);
    writeFileSync(join(backup, 'manifest.json'), kept);
  });

  test('with a flipped byte in a table fails by the name of the file, or of the table', async () => {
    const { rows } = await statement(postgres.url, "select pg_relation_filepath('public.still') as now");
    const { files } = baseManifest(backup);
    // The source's own was truncated above and has another file by now.
    const oldFile = files.find(({ path, bytes }) => bytes > 400_000 && path !== `base/${rows[0].now}` && holds(path));
    const path = oldFile?.path ?? '';
    const content = readFileSync(join(backup, path));
    content.writeUInt8(content.readUInt8(5000) ^ 1, 5000);
    writeFileSync(join(backup, path), content);
    expect(await fails()).toEqual([['backup-file-damaged', path]]);
    forge(() => {});
    expect(await fails()).toEqual([['backup-table-unreadable', 'public.still']]);
    content.writeUInt8(content.readUInt8(5000) ^ 1, 5000);
    writeFileSync(join(backup, path), content);
    forge(() => {});
  });

  const holds = (path: string) =>
    readFileSync(join(backup, path)).includes(createHash('md5').update('1').digest('hex'));

  test('without its last WAL does not recover, and says so', async () => {
    const last = readdirSync(join(backup, 'base/pg_wal'))
      .filter((name) => name.length === 24)
      .toSorted()
      .at(-1);
    const path = join('base/pg_wal', last ?? '');
    truncateSync(join(backup, path), 0);
    expect(await fails()).toEqual([['backup-file-damaged', path]]);
    forge(() => {});
    const { findings } = await verifyBackup(backup, options());
    expect(findings.map(({ check }) => check)).toEqual(['backup-restore-failed']);
    expect(findings[0]?.message).toContain('recovery ended before configured recovery target was reached');
    expect(scratchCopies()).toEqual([]);
  });

  test('that is none is a wrong argument', async () => {
    await expect(verifyBackup(join(root, 'nothing'), options())).rejects.toMatchObject({ code: 'usage_error' });
  });
});

test('an interrupted restore test leaves no server and no copy; the backup stays a partial one', {
  timeout: 60_000,
}, async () => {
  const interrupted = new AbortController();
  const lines: string[] = [];
  const given = options(lines, interrupted.signal);
  const say = (line: string) => {
    given.say(line);
    if (line.startsWith('Restore test')) interrupted.abort(problem('unavailable', 'interrupted'));
  };
  const directory = join(root, 'interrupted');
  await expect(take(directory, true, { ...given, say })).rejects.toThrow('interrupted');
  expect(existsSync(directory)).toBe(false);
  expect(readManifest(`${directory}.partial`).method).toBe('base_backup');
  expect(lines.at(-1)).toBe(`What there is of the backup stays in ${directory}.partial; it is not whole`);
  expect(await waitUntil(() => scratchCopies().length === 0, 30_000)).toBe(true);
});
