import { chmodSync, existsSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { statement } from '../../test/support/postgres.ts';
import { type Config, loadConfig } from '../config.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../database/embedded.ts';
import { readManifest } from '../rollout/backup/manifest.ts';
import { runBackup, runBackupVerify } from './backup.ts';

let root: string;
let config: Config;
let postgres: EmbeddedPostgres;

beforeAll(async () => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'ringfence-backup-command-')));
  chmodSync(root, 0o711);
  config = loadConfig({ DATA_DIR: join(root, 'data') });
  // As beside a server that is running.
  postgres = await startEmbeddedPostgres({ dataDir: config.dataDir, durable: false });
  await statement(postgres.url, 'create table public.seen (id int); insert into public.seen values (1), (2)');
});

afterAll(async () => {
  await postgres?.stop();
  rmSync(root, { recursive: true, force: true, maxRetries: 10 });
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** What a command puts on standard output and standard error. */
async function outputOf(work: () => Promise<unknown>) {
  const out: string[] = [];
  const progress: string[] = [];
  vi.spyOn(console, 'log').mockImplementation((text: string) => void out.push(text));
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => progress.push(String(text)) > 0);
  const code = await work();
  vi.restoreAllMocks();
  return { code, out: out.join('\n'), progress: progress.join('') };
}

const backups = () => (existsSync(join(root, 'data/backups')) ? readdirSync(join(root, 'data/backups')) : []);

test('a dry run says how and how large, and does nothing', async () => {
  const { code, out } = await outputOf(() => runBackup(config, { dryRun: true }));
  expect(code).toBe(0);
  expect(out).toMatch(/^method {8}(base backup of the embedded server|pg_dump .*)\ndatabase {6}ringfence, 1 tables\n/);
  expect(out).toMatch(/size {10}up to \d+ MB\nrestore test {2}yes\n/);
  const json = await outputOf(() => runBackup(config, { dryRun: true, json: true }));
  expect(JSON.parse(json.out)).toMatchObject({ dry_run: true, restore_test: true, tables: ['public.seen'] });
  expect(backups()).toEqual([]);
});

test('without a restore test it is loud', { timeout: 60_000 }, async () => {
  const output = join(root, 'untested');
  const { code, out, progress } = await outputOf(() => runBackup(config, { restoreTest: false, output }));
  expect(code).toBe(0);
  expect(out).toContain('restore test  NOT TESTED');
  expect(progress.match(/WARNING: --no-restore-test/g)).toHaveLength(2);
  expect(progress).toContain('hashed 1/1 public.seen: 2 rows');
});

test('a backup goes below the data directory, verifies, and a damaged one is exit code 1', {
  timeout: 120_000,
}, async () => {
  const { code, out } = await outputOf(() => runBackup(config, { json: true }));
  expect(code).toBe(0);
  const document = JSON.parse(out);
  expect(document).toMatchObject({ restore_test: 'passed', database: 'ringfence' });
  expect(document.tables[0]).toMatchObject({ table: 'public.seen', rows: '2' });
  const [name] = backups();
  expect(name).toMatch(/^ringfence-\d{8}T\d{6}Z$/);
  expect(document.directory).toBe(join(root, 'data/backups', name ?? ''));

  const [file] = readManifest(document.directory).files;
  writeFileSync(join(document.directory, file?.path ?? ''), 'x');
  const verified = await outputOf(() => runBackupVerify(config, document.directory, {}));
  expect(verified.code).toBe(1);
  expect(verified.out).toContain(`FAIL  ${file?.path}: The file is not what was written.`);
  expect(verified.out).toContain('restore test  FAILED');
});

test('Ctrl-C ends it in order, and leaves what there is under a name that says so', { timeout: 60_000 }, async () => {
  const output = join(root, 'stopped');
  let said = '';
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    said += String(text);
    if (String(text).startsWith('Restore test')) process.emit('SIGINT');
    return true;
  });
  await expect(runBackup(config, { output })).rejects.toThrow('The backup was interrupted');
  expect(said).toContain(`What there is of the backup stays in ${output}.partial; it is not whole`);
  expect(existsSync(output)).toBe(false);
  expect(process.listenerCount('SIGINT')).toBe(0);
});
