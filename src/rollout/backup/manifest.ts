/** What a backup says of itself: `manifest.json` beside the data. Whoever verifies it believes nothing else. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { problem } from '../../errors.ts';
import { qualified } from '../identifier.ts';

const wholeNumber = z.string().regex(/^-?\d+$/);

const savedTable = z.object({
  schema: z.string(),
  name: z.string(),
  /** In the order in which they were hashed. */
  columns: z.array(z.string()),
  bytes: z.number(),
  rows: wholeNumber,
  hash: wholeNumber,
});

const savedFile = z.object({
  /** Relative to the backup's directory. */
  path: z.string(),
  bytes: z.number(),
  sha256: z.string(),
});

const common = {
  format: z.literal(1),
  database: z.string(),
  /** server_version_num */
  serverVersion: z.number(),
  /** The role that made it. */
  role: z.string(),
  startedAt: z.iso.datetime(),
  finishedAt: z.iso.datetime(),
  /** Of the backup, on disk. */
  bytes: z.number(),
  tables: z.array(savedTable),
  /** Tables that a backup of this kind does not hold: unlogged ones in a base backup. */
  notSaved: z.array(z.string()),
  files: z.array(savedFile),
};

const manifestSchema = z.discriminatedUnion('method', [
  z.object({
    ...common,
    method: z.literal('pg_dump'),
    /** The snapshot that was dumped and hashed. */
    snapshot: z.string(),
    /** As `pg_dump --version` says it. */
    tool: z.string(),
  }),
  z.object({
    ...common,
    method: z.literal('base_backup'),
    /** recovery_target_name: where the tables are as hashed. */
    restorePoint: z.string(),
    restorePointLsn: z.string(),
    /** Settings that a server in recovery must have no less of than the one that was copied (manual, 26.4.3). */
    settings: z.record(z.string(), z.string()),
  }),
]);

export type SavedTable = z.infer<typeof savedTable>;
export type SavedFile = z.infer<typeof savedFile>;
export type Manifest = z.infer<typeof manifestSchema>;
export type DumpManifest = Extract<Manifest, { method: 'pg_dump' }>;
export type BaseManifest = Extract<Manifest, { method: 'base_backup' }>;

const fileOf = (directory: string) => join(directory, 'manifest.json');

export function writeManifest(directory: string, manifest: Manifest): void {
  writeFileSync(fileOf(directory), `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
}

/** For the one who has to restore it, perhaps without us. */
export function writeRestoreGuide(directory: string, manifest: Manifest): void {
  const { database, serverVersion, finishedAt, notSaved } = manifest;
  const version = Math.floor(serverVersion / 10_000);
  const about = `Backup of the database ${JSON.stringify(database)}, Postgres ${version}, finished ${finishedAt}.`;
  const steps =
    manifest.method === 'pg_dump'
      ? [
          "It holds everything in the database, as of one moment. Roles and tablespaces are the server's and not in it:",
          'on another server make them first (pg_dumpall --globals-only writes them).',
          '',
          '  createdb --template=template0 NEW_NAME',
          '  pg_restore --exit-on-error --dbname=NEW_NAME database.dump',
        ]
      : [
          `It holds the whole server as of the restore point ${manifest.restorePoint}.`,
          ...(notSaved.length > 0 ? [`Unlogged tables come back empty: ${notSaved.join(', ')}.`] : []),
          '',
          '1. Stop the server (ringfence serve), and move its data directory away: DATA_DIR/postgres.',
          '2. Copy the directory base there, so that it is called DATA_DIR/postgres; keep this one.',
          '   It must belong to the user that Postgres runs as, mode 0700 (chown -R, chmod 700).',
          '3. Keep DATA_DIR/postgres-password as it was at the time of the backup: it goes with the data.',
          '4. Start the server. It recovers to the restore point and goes on from there.',
        ];
  const text = [about, ...steps, '', 'Test it before you need it: ringfence backup verify DIRECTORY', ''].join('\n');
  writeFileSync(join(directory, 'RESTORE.txt'), text, { mode: 0o600, flag: 'wx' });
}

/** @throws Problem `usage_error` when the directory holds no backup */
export function readManifest(directory: string): Manifest {
  try {
    return manifestSchema.parse(JSON.parse(readFileSync(fileOf(directory), 'utf8')));
  } catch (cause) {
    const reason =
      cause instanceof z.ZodError ? z.prettifyError(cause) : cause instanceof Error ? cause.message : String(cause);
    throw problem('usage_error', `${directory} holds no backup that can be read: ${reason}`, {}, { cause });
  }
}

export function labelOf(table: Pick<SavedTable, 'schema' | 'name'>): string {
  return qualified(table.schema, table.name);
}
