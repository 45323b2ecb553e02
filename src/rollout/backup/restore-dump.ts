/**
 * The restore test of a dump: into a database of its own on the same server, compared, and dropped.
 *
 * A dump holds SQL, and so does what it was made from: expressions of checks and generated columns run while rows are
 * loaded. CVE-2025-8714 and -8715 let a hostile server hide psql commands in a dump; those need a restore through psql of
 * a plain script, and here it is pg_restore from the archive, of the same installation as pg_dump, straight into the very
 * server that the dump came from, into a database that nobody else may connect to.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { problem } from '../../errors.ts';
import { type Connection, withConnection } from '../connection.ts';
import { type Finding, fail } from '../finding.ts';
import { identifier, literal } from '../identifier.ts';
import { type ClientPrograms, type Environment, runClientProgram, targetOf } from './client-programs.ts';
import { compareTables } from './compare.ts';
import { dumpFile } from './dump.ts';
import { interruptible } from './interruptible.ts';
import type { DumpManifest } from './manifest.ts';
import type { Source } from './source.ts';

export interface RestoreTestOptions {
  readonly url: string;
  readonly source: Source;
  readonly directory: string;
  readonly programs: ClientPrograms;
  readonly environment: Environment;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

/** @throws Problem `rollout_refused` when the role may not make a database */
export function requireCreateDatabase(source: Source): void {
  if (source.createDatabase) return;
  throw problem(
    'rollout_refused',
    `The restore test needs a database of its own, and the role ${identifier(source.role)} may not make one. Let it ` +
      `(alter role ${identifier(source.role)} createdb), or go without the test (--no-restore-test)`,
  );
}

export async function testDump(manifest: DumpManifest, options: RestoreTestOptions): Promise<Finding[]> {
  const { url, source, signal, say } = options;
  requireCreateDatabase(source);
  return withConnection(url, 'restore test', async (maintenance) => {
    await tellOfLeftovers(maintenance, say);
    const name = `ringfence_restore_test_${randomBytes(6).toString('hex')}`;
    try {
      signal.throwIfAborted();
      await createScratch(maintenance, name, source);
      say(`Restore test: restoring into the database ${name}`);
      const scratch = new URL(url);
      scratch.pathname = `/${name}`;
      const failed = await restore(scratch.href, options);
      if (failed.length > 0) return failed;
      return await withConnection(scratch.href, 'restore test', (client) =>
        interruptible(scratch.href, client, signal, () => compareTables(client, manifest.tables, say)),
      );
    } finally {
      await maintenance.query(`drop database if exists ${name} with (force)`);
    }
  });
}

/** A run that was killed could not drop its own. Another that is at work has its own too, so they are named only. */
async function tellOfLeftovers(client: Connection, say: (line: string) => void): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `select datname::text as name from pg_database d
    where datname ~ '^ringfence_restore_test_[0-9a-f]{12}$'
      and not exists (select from pg_stat_activity a where a.datid = d.oid)`,
  );
  for (const { name } of rows)
    say(`Note: a restore test that was killed left the database ${name}: drop database ${name}`);
}

/** The same encoding and collation, or text would sort, and unique indexes judge, by other rules than at the source. */
async function createScratch(client: Connection, name: string, source: Source): Promise<void> {
  const { rows } = await client.query<{ d: Record<string, unknown> }>(
    `select to_jsonb(d) || jsonb_build_object('encodingName', pg_encoding_to_char(encoding)) as d
    from pg_database d where datname = current_database()`,
  );
  const like = rows[0]?.d ?? {};
  const text = (column: string) => (typeof like[column] === 'string' ? like[column] : null);
  const locale = text('datlocale') ?? text('daticulocale');
  const provider = { c: 'libc', i: 'icu', b: 'builtin' }[text('datlocprovider') ?? 'c'] ?? 'libc';
  const options = [
    'template template0',
    `encoding ${literal(text('encodingName') ?? 'UTF8')}`,
    `locale_provider ${provider}`,
    `lc_collate ${literal(text('datcollate') ?? 'C')}`,
    `lc_ctype ${literal(text('datctype') ?? 'C')}`,
    ...(provider !== 'libc' && locale !== null ? [`${provider}_locale ${literal(locale)}`] : []),
    ...(text('daticurules') === null ? [] : [`icu_rules ${literal(text('daticurules') ?? '')}`]),
    // Superusers are not counted: with one of them nobody else gets in. Another role needs room for itself.
    `connection limit ${source.superuser ? 0 : 4}`,
  ];
  await client.query(`create database ${name} ${options.join(' ')}`);
  await client.query(`revoke all on database ${name} from public`);
}

async function restore(url: string, options: RestoreTestOptions): Promise<Finding[]> {
  const { programs, directory, source, environment, signal } = options;
  const target = targetOf(url, environment);
  const flags = [
    '--no-password',
    // Neither may reach out of the scratch database.
    '--no-publications',
    '--no-subscriptions',
    // Only a superuser can give objects to all the roles that own them.
    ...(source.superuser ? [] : ['--no-owner', '--no-privileges']),
    `--dbname=${target.connection}`,
    join(directory, dumpFile),
  ];
  const { code, errors } = await runClientProgram(programs.restore, flags, target.environment, signal);
  // A newer pg_restore sets what an older server does not know, and goes on.
  const serious = errors.filter((line) => !line.includes('unrecognized configuration parameter'));
  if (code === 0 || (code === 1 && errors.length > 0 && serious.length === 0)) return [];
  const said = serious.length > 0 ? serious.join('; ') : `it ended with ${code}`;
  return [
    fail(
      'backup-restore-failed',
      source.database,
      `pg_restore failed: ${said}.`,
      said.includes('permission denied to create extension')
        ? 'Run this as a superuser: what belongs to an extension, nobody else may restore'
        : 'Find out what cannot be restored: a restore in need would stop at the same place',
    ),
  ];
}
