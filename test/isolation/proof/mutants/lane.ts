/** Where defects are made: a copy of the sources, and a Postgres with migrated databases to clone. */
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../../../src/database/embedded.ts';
import { buildTemplates } from '../../../support/build-templates.ts';
import { statement, withDatabase } from '../../../support/postgres.ts';
import { copyTree } from './tree.ts';

export interface Lane {
  readonly tree: string;
  /** For everything that tests leave; short, since a socket's path may have 107 bytes. */
  readonly scratch: string;
  readonly postgresUrl: string;
  /** Names of databases that hold no defect, by the templates'. */
  readonly templates: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

const defective = 'defective';

export async function openLane(root: string, directory: string): Promise<Lane> {
  mkdirSync(directory);
  // As root, Postgres runs as another user, who has to pass through.
  chmodSync(directory, 0o711);
  const [tree, scratch] = [join(directory, 'tree'), join(directory, 'tmp')];
  copyTree(root, tree);
  mkdirSync(scratch, { mode: 0o711 });
  const settings = { max_connections: '200', 'pg_stat_statements.max': '100000' };
  const postgres: EmbeddedPostgres = await startEmbeddedPostgres({ dataDir: directory, durable: false, settings });
  try {
    const templates = await buildTemplates(postgres.url);
    return { tree, scratch, postgresUrl: postgres.url, templates, stop: () => postgres.stop() };
  } catch (error) {
    await postgres.stop();
    throw error;
  }
}

/** @returns the templates, the isolated one with the defect in it */
export async function withDefect(lane: Lane, sql: string): Promise<Record<string, string>> {
  await statement(
    lane.postgresUrl,
    `create database ${defective} template ${lane.templates.isolated} strategy wal_log`,
  );
  await statement(withDatabase(lane.postgresUrl, defective), sql);
  return { ...lane.templates, isolated: defective };
}

/** Nothing of a run is left for the next: no database, no statement that was counted. */
export async function cleanUp({ postgresUrl, templates }: Lane): Promise<void> {
  const { rows } = await statement(
    postgresUrl,
    `select datname as name from pg_database where datname ~ '^(test|${defective})'`,
  );
  for (const { name } of rows) await statement(postgresUrl, `drop database "${name}" with (force)`);
  await statement(withDatabase(postgresUrl, templates.isolated ?? ''), 'select pg_stat_statements_reset()');
}
