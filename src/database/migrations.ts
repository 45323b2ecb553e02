/**
 * Runs the files under database/migrations. Each is a plain SQL script with its own transaction that also keeps the
 * ledger (ringfence_migrations), so that `psql -f` and this runner do the same and can take turns.
 */
import { readdirSync, readFileSync } from 'node:fs';
import pg from 'pg';
import { problem } from '../errors.ts';
import { type OwnerConnection, withOwner, withSchemaLock } from './owner.ts';

const directory = new URL('../../database/migrations/', import.meta.url);

export interface Migration {
  readonly version: number;
  readonly name: string;
}

export interface MigrationStatus extends Migration {
  readonly applied: boolean;
}

/** What there is to apply, in order; read from the file names. */
export const migrations: readonly Migration[] = readdirSync(directory)
  .filter((file) => /^\d{3}_\w+\.sql$/.test(file))
  .sort()
  .map((file) => ({ version: Number(file.slice(0, 3)), name: file.slice(0, -'.sql'.length) }));

export const latestVersion = Math.max(...migrations.map((m) => m.version));

/** @returns the version of the last applied migration; 0 on an empty database */
export async function appliedVersion(owner: OwnerConnection): Promise<number> {
  const versions = await appliedVersions(owner);
  return Math.max(0, ...versions);
}

export async function migrationStatus(url: string): Promise<MigrationStatus[]> {
  const applied = await withOwner(url, appliedVersions);
  return migrations.map((migration) => ({ ...migration, applied: applied.has(migration.version) }));
}

/** Applies what is missing up to and including `target`. @returns the names that were applied */
export async function migrateUp(url: string, target: number = latestVersion): Promise<string[]> {
  return withOwner(url, (owner) =>
    withSchemaLock(owner, async () => {
      const applied = await appliedVersions(owner);
      const missing = migrations.filter((m) => m.version <= target && !applied.has(m.version));
      for (const migration of missing) await runFile(owner, `${migration.name}.sql`);
      return missing.map((m) => m.name);
    }),
  );
}

/** Takes back everything after `target`, newest first. @returns the names that were taken back */
export async function migrateDown(url: string, target: number): Promise<string[]> {
  return withOwner(url, (owner) =>
    withSchemaLock(owner, async () => {
      const applied = await appliedVersions(owner);
      const superfluous = migrations.filter((m) => m.version > target && applied.has(m.version)).reverse();
      for (const migration of superfluous) await runFile(owner, `${migration.name}.down.sql`);
      return superfluous.map((m) => m.name);
    }),
  );
}

async function appliedVersions(owner: OwnerConnection): Promise<Set<number>> {
  const ledger = await owner.query("select to_regclass('ringfence_migrations') is not null as exists");
  if (ledger.rows[0].exists !== true) return new Set();
  const { rows } = await owner.query<{ version: number }>('select version from ringfence_migrations');
  return new Set(rows.map((row) => row.version));
}

async function runFile(owner: OwnerConnection, file: string): Promise<void> {
  try {
    await owner.query(readFileSync(new URL(file, directory), 'utf8'));
  } catch (error) {
    await owner.query('rollback').catch(() => {});
    if (!(error instanceof pg.DatabaseError)) throw error;
    const hint = error.hint ? ` ${error.hint}` : '';
    throw problem(
      'migration_failed',
      `${file}: ${error.message} (SQLSTATE ${error.code}). Nothing was changed.${hint}`,
      {},
      { cause: error },
    );
  }
}
