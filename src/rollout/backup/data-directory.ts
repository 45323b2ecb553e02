/** The files of a data directory that belong in a base backup (manual, 25.3.4 and 25.3.5). */
import { mkdirSync, readdirSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { monotonicMs } from '../../clock.ts';
import { problem } from '../../errors.ts';
import { copyFile, readableBytes } from './disk.ts';
import type { SavedFile } from './manifest.ts';

/** Their content belongs to the running server, or is copied by other rules (pg_wal); the directories must be there. */
const emptied = new Set(
  'pg_wal pg_replslot pg_dynshmem pg_notify pg_serial pg_snapshots pg_stat_tmp pg_subtrans'.split(' '),
);
/** A standing backup_label or signal file would send the restored server somewhere else. */
const leftOut = new Set(
  `postmaster.pid postmaster.opts current_logfiles backup_label backup_label.old tablespace_map tablespace_map.old
  backup_manifest recovery.signal standby.signal`.split(/\s+/),
);
const controlFile = join('global', 'pg_control');

export interface DirectoryListing {
  readonly directories: readonly string[];
  /** pg_control last, as pg_basebackup has it. */
  readonly files: readonly string[];
  readonly bytes: number;
}

/**
 * @throws Problem `rollout_refused` when there are tablespaces: they lie elsewhere and would go back to the same place, over
 *   the live ones
 */
export async function listDataDirectory(directory: string): Promise<DirectoryListing> {
  if (readdirSync(join(directory, 'pg_tblspc')).length > 0) {
    throw problem(
      'rollout_refused',
      'The server has tablespaces outside its data directory, which this base backup does not follow. Install pg_dump ' +
        'of its version, or use pg_basebackup',
    );
  }
  const directories: string[] = [];
  const files: string[] = [];
  let bytes = 0;
  const walk = async (within: string): Promise<void> => {
    for (const entry of await entriesOf(join(directory, within))) {
      const path = join(within, entry.name);
      if (isLeftOut(path, entry.name)) continue;
      if (entry.isDirectory()) {
        directories.push(path);
        if (!emptied.has(path)) await walk(path);
      } else if (entry.isFile()) {
        files.push(path);
        bytes += (await stat(join(directory, path)).catch(() => null))?.size ?? 0;
      } else if (entry.isSymbolicLink() && emptied.has(path)) {
        directories.push(path);
      }
    }
  };
  await walk('');
  return { directories, files: [...files.filter((file) => file !== controlFile), controlFile], bytes };
}

/** Temporary files and the relation cache are made anew; a database may be dropped while we look. */
function isLeftOut(path: string, name: string): boolean {
  return leftOut.has(path) || name.startsWith('pgsql_tmp') || name.startsWith('pg_internal.init');
}

async function entriesOf(directory: string) {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}

/**
 * Copies file by file, torn pages and all: replaying the WAL from the start of the backup mends them. Files that vanish
 * meanwhile are dropped relations.
 *
 * @param prefix of the paths on record
 */
export async function copyDataDirectory(
  from: string,
  to: string,
  listing: DirectoryListing,
  prefix: string,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<SavedFile[]> {
  for (const path of listing.directories) mkdirSync(join(to, path), { recursive: true, mode: 0o700 });
  const saved: SavedFile[] = [];
  let bytes = 0;
  let told = monotonicMs();
  for (const path of listing.files) {
    const copied = await copyFile(join(from, path), join(to, path), signal);
    if (copied === null) continue;
    saved.push({ path: join(prefix, path), ...copied });
    bytes += copied.bytes;
    if (monotonicMs() - told < 2000) continue;
    told = monotonicMs();
    say(`  copied ${readableBytes(bytes)} of ${readableBytes(listing.bytes)}`);
  }
  return saved;
}
