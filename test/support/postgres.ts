import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import type {} from './provided.ts';

export interface TestDatabase {
  /** The owner's connection string. */
  readonly url: string;
  readonly name: string;
  /** Drops it; fails when somebody is still connected, which means that a test forgot to close a pool. */
  drop(): Promise<void>;
}

/**
 * Makes a database of its own for a test file by cloning: 21 ms, against 30 ms with `strategy file_copy`, which
 * also checkpoints the whole server, for every other test file too.
 *
 * @param template a name from `templates.ts`; without one the database is empty
 */
export async function createDatabase(template?: string): Promise<TestDatabase> {
  const { url, templates } = inject('postgres');
  const source = template === undefined ? 'template0' : templates[template];
  if (source === undefined) throw new Error(`no template is called ${template}; see test/support/templates.ts`);
  const name = `test_${randomBytes(6).toString('hex')}`;
  await statement(url, `create database ${name} template ${source} strategy wal_log`);
  return { url: withDatabase(url, name), name, drop: () => drop(url, name) };
}

async function drop(url: string, name: string): Promise<void> {
  try {
    // Postgres itself waits five seconds for sessions that are just closing.
    await statement(url, `drop database ${name}`);
  } catch (error) {
    await statement(url, `drop database ${name} with (force)`);
    throw error;
  }
}

/** The same server and login, another database. */
export function withDatabase(url: string, name: string): string {
  const other = new URL(url);
  other.pathname = `/${name}`;
  return other.href;
}

/** Runs one statement on a connection of its own. */
export async function statement(url: string, sql: string): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await client.query(sql);
  } finally {
    await client.end();
  }
}
