/** `ringfence migrate up|down|status`. */
import type { Config } from '../config.ts';
import { latestVersion, migrateDown, migrateUp, migrationStatus } from '../database/migrations.ts';
import { withOwnedDatabase } from './database.ts';
import { printJson, printRows } from './print.ts';
import { provisionOwn } from './provision-own.ts';

interface Output {
  readonly json?: boolean;
}

/** Also gives the two roles their passwords and installs the identity key, once there are policies to serve under. */
export async function runMigrateUp(config: Config, { to = latestVersion, json = false }: Output & { to?: number }) {
  const applied = await withOwnedDatabase(config, async (database) => {
    const names = await migrateUp(database.ownerUrl, to);
    await provisionOwn(config, database);
    return names;
  });
  report(
    json,
    { applied },
    applied.map((name) => `applied ${name}`),
    'nothing to apply',
  );
}

export async function runMigrateDown(config: Config, { to, json = false }: Output & { to: number }) {
  const removed = await withOwnedDatabase(config, ({ ownerUrl }) => migrateDown(ownerUrl, to));
  report(
    json,
    { taken_back: removed },
    removed.map((name) => `took back ${name}`),
    'nothing to take back',
  );
}

/** @returns exit code 1 when migrations are missing */
export async function runMigrateStatus(config: Config, { json = false }: Output): Promise<0 | 1> {
  const status = await withOwnedDatabase(config, ({ ownerUrl }) => migrationStatus(ownerUrl));
  printRows(status, ['version', 'name', 'applied'], json);
  return status.every((migration) => migration.applied) ? 0 : 1;
}

function report(json: boolean, document: unknown, lines: readonly string[], nothing: string): void {
  if (json) printJson(document);
  else console.log(lines.length > 0 ? lines.join('\n') : nothing);
}
