/** `ringfence backup` and `ringfence backup verify`. */
import { realpathSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Config } from '../config.ts';
import { locateCluster } from '../database/cluster.ts';
import { problem } from '../errors.ts';
import {
  type BackupOptions,
  type BackupOutcome,
  type BackupPlan,
  planBackup,
  takeBackup,
  verifyBackup,
} from '../rollout/backup/backup.ts';
import { stamp } from '../rollout/backup/base-backup.ts';
import { readableBytes } from '../rollout/backup/disk.ts';
import { labelOf } from '../rollout/backup/manifest.ts';
import type { LocalServer } from '../rollout/backup/scratch-server.ts';
import { withOwnedDatabase } from './database.ts';
import { printJson } from './print.ts';

export interface BackupFlags {
  readonly json?: boolean;
  /** Where the backup goes; it must not exist. */
  readonly output?: string;
  /** False with --no-restore-test. */
  readonly restoreTest?: boolean;
  readonly dryRun?: boolean;
}

/** Told on standard error, so that a command's output stays its own. */
const say = (line: string) => process.stderr.write(`${line}\n`);

/** @returns exit code 1 when the restored backup differs from what was saved */
export async function runBackup(config: Config, flags: BackupFlags): Promise<0 | 1> {
  const { json = false, restoreTest = true, dryRun = false } = flags;
  return withBackupOptions(config, async (options) => {
    const plan = await planBackup(options);
    const directory = resolve(flags.output ?? defaultDirectory(config, plan.source.database));
    if (dryRun) {
      showPlan(plan, directory, restoreTest, json);
      return 0;
    }
    if (!restoreTest) say(untested);
    const outcome = await takeBackup(plan, directory, restoreTest, options);
    if (!restoreTest) say(untested);
    return show(outcome, json);
  });
}

/** @returns exit code 1 when it is damaged, or comes back different from what was saved */
export async function runBackupVerify(
  config: Config,
  directory: string,
  { json = false }: Pick<BackupFlags, 'json'>,
): Promise<0 | 1> {
  return withBackupOptions(config, async (options) => show(await verifyBackup(resolve(directory), options), json));
}

const untested = `
WARNING: --no-restore-test: nobody knows whether this backup can be restored.
Test it before you rely on it: ringfence backup verify DIRECTORY
`;

async function withBackupOptions(config: Config, work: (options: BackupOptions) => Promise<0 | 1>): Promise<0 | 1> {
  const interrupted = new AbortController();
  // The first asks for an orderly end: what was begun on the server is taken back. The second does not wait for that.
  const stop = () => {
    if (interrupted.signal.aborted) process.exit(130);
    say('Stopping; once more to leave at once');
    interrupted.abort(problem('rollout_failed', 'The backup was interrupted'));
  };
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, stop);
  try {
    return await withOwnedDatabase(config, async ({ ownerUrl }) => {
      const environment = process.env;
      return work({ url: ownerUrl, server: serverOf(config), environment, signal: interrupted.signal, say });
    });
  } finally {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, stop);
  }
}

function serverOf(config: Config): LocalServer | null {
  if (config.database.kind === 'external') return null;
  const { directory, account, binaries } = locateCluster(realpathSync(config.dataDir), say);
  return { dataDirectory: directory, postgres: binaries.postgres, account };
}

function defaultDirectory(config: Config, database: string): string {
  const root = config.database.kind === 'embedded' ? config.dataDir : process.cwd();
  return join(root, 'backups', `${database.replaceAll(/[^\w.-]/g, '_')}-${stamp()}Z`);
}

function showPlan(plan: BackupPlan, directory: string, restoreTest: boolean, json: boolean): void {
  const { source, method, bytes } = plan;
  const tool = method.kind === 'pg_dump' ? method.programs.version : null;
  const tables = source.tables.map(labelOf);
  if (json) {
    printJson({ dry_run: true, method: method.kind, tool, directory, bytes, restore_test: restoreTest, tables });
    return;
  }
  const how = tool ?? 'base backup of the embedded server';
  console.log(
    [
      `method        ${how}`,
      `database      ${source.database}, ${tables.length} tables`,
      `size          up to ${readableBytes(bytes)}`,
      `restore test  ${restoreTest ? 'yes' : 'NO'}`,
      `directory     ${directory}`,
      'Nothing was done (--dry-run).',
    ].join('\n'),
  );
}

function show({ directory, manifest, restoreTest, findings }: BackupOutcome, json: boolean): 0 | 1 {
  const failed = findings.filter(({ severity }) => severity === 'fail');
  const { method, database, startedAt, finishedAt, bytes, notSaved } = manifest;
  if (json) {
    const about = { method, database, started_at: startedAt, finished_at: finishedAt, bytes, not_saved: notSaved };
    const tables = manifest.tables.map((table) => ({ table: labelOf(table), rows: table.rows, hash: table.hash }));
    printJson({ directory, ...about, restore_test: restoreTest, tables, findings });
  } else {
    for (const { object, message, remedy } of failed) console.log(`FAIL  ${object ?? ''}: ${message} ${remedy ?? ''}.`);
    const rows = manifest.tables.reduce((sum, table) => sum + BigInt(table.rows), 0n);
    const tested = { passed: 'restored and compared, equal', failed: 'FAILED', skipped: 'NOT TESTED' }[restoreTest];
    console.log(
      [
        `backup        ${directory}`,
        `method        ${method}`,
        `holds         ${manifest.tables.length} tables, ${rows} rows, ${readableBytes(bytes)}`,
        `restore test  ${tested}`,
      ].join('\n'),
    );
  }
  return failed.length > 0 ? 1 : 0;
}
