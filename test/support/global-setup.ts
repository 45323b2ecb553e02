import { chmodSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { readLiveOwner } from '../../src/database/data-directory-lock.ts';
import { startEmbeddedPostgres } from '../../src/database/embedded.ts';
import { stopStrays } from '../../src/database/postmaster.ts';
import { buildTemplates } from './build-templates.ts';
import { statement } from './postgres.ts';

const prefix = 'ringfence-test-postgres-';

/**
 * One Postgres for the whole run, with the templates built in it. `RINGFENCE_TEST_DATABASE_URL` (a superuser's
 * connection string) replaces it, for instance to test on Postgres 15; RINGFENCE_TEST_TEMPLATES, as JSON, names templates
 * that are ready there: test/isolation/proof/mutants.ts hands over one with a defect.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env.RINGFENCE_TEST_DATABASE_URL;
  const ready = process.env.RINGFENCE_TEST_TEMPLATES;
  if (given && ready) {
    project.provide('postgres', { url: given, templates: JSON.parse(ready) });
    return async () => {};
  }
  const server = given ? { url: given, stop: async () => {} } : await ownServer();
  try {
    const built = await buildTemplates(server.url);
    project.provide('postgres', { url: server.url, templates: built });
    return async () => {
      for (const name of Object.values(built)) await statement(server.url, `drop database ${name} with (force)`);
      await server.stop();
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

async function ownServer(): Promise<{ url: string; stop(): Promise<void> }> {
  await removeLeftBehind();
  const dataDir = mkdtempSync(join(tmpdir(), prefix));
  // As root, Postgres runs as another user, who has to pass through.
  chmodSync(dataDir, 0o711);
  const remove = () => rmSync(dataDir, { recursive: true, force: true, maxRetries: 5 });
  process.once('exit', remove);
  // Hostile statements by the thousand would push those out that the tests of `monitor` look for.
  const settings = { max_connections: '200', 'pg_stat_statements.max': '100000' };
  const postgres = await startEmbeddedPostgres({ dataDir, durable: false, settings });
  return {
    url: postgres.url,
    async stop() {
      await postgres.stop();
      remove();
      process.off('exit', remove);
    },
  };
}

/** A run that was killed could not clean up. */
async function removeLeftBehind(): Promise<void> {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(prefix))) {
    const dataDir = realpathSync(join(tmpdir(), name));
    if (readLiveOwner(dataDir) !== null) continue;
    try {
      await stopStrays(join(dataDir, 'postgres'), () => {});
      rmSync(dataDir, { recursive: true, force: true });
    } catch {
      // Another user's: his next run removes it.
    }
  }
}
