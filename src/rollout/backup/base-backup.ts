/**
 * A base backup by the low-level API (manual, 25.3.4), for the embedded server, which comes without pg_dump: a copy of the
 * data directory and the WAL from its start up to a restore point at which the tables are exactly as hashed.
 */
import { randomBytes } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../clock.ts';
import { problem } from '../../errors.ts';
import { type Connection, withConnection } from '../connection.ts';
import { literal } from '../identifier.ts';
import { copyDataDirectory, type DirectoryListing } from './data-directory.ts';
import { copyFile, readableBytes, sha256Of } from './disk.ts';
import { interruptible } from './interruptible.ts';
import type { SavedFile, SavedTable } from './manifest.ts';
import { markRestorePoint, type RestorePoint } from './restore-point.ts';
import { hashSaved } from './source.ts';
import { firstSegment, segmentsBetween } from './wal.ts';

/** Within the backup: a data directory that is ready to be started. */
export const baseDirectory = 'base';

export interface BaseBackup {
  readonly restorePoint: string;
  readonly restorePointLsn: string;
  readonly settings: Record<string, string>;
  readonly tables: SavedTable[];
  readonly files: SavedFile[];
}

export interface BaseBackupOptions {
  readonly url: string;
  readonly dataDirectory: string;
  readonly listing: DirectoryListing;
  readonly directory: string;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

/** Hot standby refuses to go on with less than the primary had (manual, 26.4.3); WAL of extensions needs their libraries. */
const settingsSql = `
select jsonb_object_agg(name, setting) as settings from pg_settings
where name in ('max_connections', 'max_worker_processes', 'max_wal_senders', 'max_prepared_transactions',
  'max_locks_per_transaction', 'shared_preload_libraries')`;

export async function backUpDataDirectory(options: BaseBackupOptions): Promise<BaseBackup> {
  const { url, signal } = options;
  mkdirSync(join(options.directory, baseDirectory), { mode: 0o700 });
  return withConnection(url, 'backup', (client) =>
    interruptible(url, client, signal, () =>
      withConnection(url, 'backup', (reader) =>
        interruptible(url, reader, signal, () => backUp(options, client, reader)),
      ),
    ),
  );
}

async function backUp(options: BaseBackupOptions, client: Connection, reader: Connection): Promise<BaseBackup> {
  const { directory, signal, say } = options;
  const settings = await client.query<{ settings: Record<string, string> }>(settingsSql);
  const name = `ringfence_${stamp().toLowerCase()}_${randomBytes(4).toString('hex')}`;
  // A temporary slot keeps the WAL from being removed, and goes with the session however that ends. So does the backup.
  await client.query('select pg_create_physical_replication_slot($1, true, true)', [name]);
  const { label, files } = await copyUnderBackup(options, client, name);
  const point = await markRestorePoint(client, reader, name, signal);
  say(`Restore point ${name} at ${point.lsn}; writers may have waited ${point.heldMs.toFixed(0)} ms for it`);
  const wal = await copyWal(options, client, label, point);
  const tables = await hashSaved(reader, point.tables, say);
  await reader.query('commit');
  // Last, so that nobody takes an unfinished copy for one that can be started.
  const recovery = await writeRecovery(join(directory, baseDirectory), name, signal);
  const byPath = new Map([...files, ...wal, ...recovery].map((file) => [file.path, file]));
  return {
    restorePoint: name,
    restorePointLsn: point.lsn,
    settings: settings.rows[0]?.settings ?? {},
    tables,
    files: [...byPath.values()],
  };
}

/** UTC, to the second, as a part of names. */
export function stamp(): string {
  return new Date(systemClock.now()).toISOString().slice(0, 19).replaceAll(/[-:]/g, '');
}

async function copyUnderBackup(options: BaseBackupOptions, client: Connection, name: string) {
  const { dataDirectory, listing, directory, signal, say } = options;
  const target = join(directory, baseDirectory);
  say(`Copying ${readableBytes(listing.bytes)} of the data directory`);
  await client.query('select pg_backup_start($1, true)', [name]);
  const files = await copyDataDirectory(dataDirectory, target, listing, baseDirectory, signal, say);
  const { rows } = await client.query<{ label: string; spaces: string }>(
    'select labelfile as label, spcmapfile as spaces from pg_backup_stop(false)',
  );
  const [stopped] = rows;
  if (!stopped) throw new Error('pg_backup_stop() gave nothing');
  if (stopped.spaces.trim() !== '') {
    throw problem('rollout_failed', 'A tablespace was made during the backup, which does not hold it. Start it again');
  }
  writeFileSync(join(target, 'backup_label'), stopped.label, { mode: 0o600, flag: 'wx' });
  return { label: stopped.label, files: [...files, await recorded(directory, 'backup_label', signal)] };
}

async function copyWal(
  { dataDirectory, directory, signal, say }: BaseBackupOptions,
  client: Connection,
  label: string,
  point: RestorePoint,
): Promise<SavedFile[]> {
  const { rows } = await client.query<{ last: string; segmentBytes: number }>(
    `select pg_walfile_name($1::pg_lsn) as last, pg_size_bytes(current_setting('wal_segment_size'))::int as "segmentBytes"`,
    [point.lsn],
  );
  const [row] = rows;
  if (!row) throw new Error('no WAL file has the restore point');
  // Also writes the WAL up to there to disk, restore point included.
  await client.query('select pg_switch_wal()');
  const histories = readdirSync(join(dataDirectory, 'pg_wal')).filter((file) => file.endsWith('.history'));
  const names = [...histories, ...segmentsBetween(firstSegment(label), row.last, row.segmentBytes)];
  const files: SavedFile[] = [];
  for (const name of names) {
    const path = join(baseDirectory, 'pg_wal', name);
    const copied = await copyFile(join(dataDirectory, 'pg_wal', name), join(directory, path), signal);
    if (copied === null) throw problem('rollout_failed', `The WAL file ${name} is gone. Start the backup again`);
    files.push({ path, ...copied });
  }
  say(`Copied ${names.length} WAL files`);
  return files;
}

/**
 * As `pg_basebackup --write-recovery-conf` does it: what is needed to start stands in the copy itself. All WAL lies in
 * pg_wal, where recovery looks once the (required) restore_command has no such file.
 */
async function writeRecovery(target: string, name: string, signal: AbortSignal): Promise<SavedFile[]> {
  const lines = [
    '',
    "restore_command = 'false'",
    `recovery_target_name = ${literal(name)}`,
    "recovery_target_action = 'promote'",
    '',
  ];
  const path = join(target, 'postgresql.auto.conf');
  if (!existsSync(path)) writeFileSync(path, '', { mode: 0o600 });
  appendFileSync(path, lines.join('\n'));
  writeFileSync(join(target, 'recovery.signal'), '', { mode: 0o600, flag: 'wx' });
  const directory = join(target, '..');
  return Promise.all(['postgresql.auto.conf', 'recovery.signal'].map((file) => recorded(directory, file, signal)));
}

async function recorded(directory: string, name: string, signal: AbortSignal): Promise<SavedFile> {
  const path = join(baseDirectory, name);
  const whole = join(directory, path);
  return { path, bytes: statSync(whole).size, sha256: await sha256Of(whole, signal) };
}
