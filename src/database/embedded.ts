import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { problem } from '../errors.ts';
import { createClusterIfMissing, databaseName, locateCluster, ownerName, prepareDataDirectory } from './cluster.ts';
import { lockDataDirectory, readLiveOwner } from './data-directory-lock.ts';
import { type Settings, startPostmaster, stopStrays } from './postmaster.ts';
import { createPrivateFile } from './private-file.ts';

export interface EmbeddedPostgres {
  /** Connection string of the owner login (a superuser), with its password. */
  readonly url: string;
  readonly port: number;
  /** Where the cluster really is. */
  readonly directory: string;
  /** Tells where the program serves, so that a refused second start can say it. */
  announce(address: string): void;
  /** Fast shutdown; the data directory is free when it resolves. May be called again. */
  stop(): Promise<void>;
}

export interface EmbeddedPostgresOptions {
  readonly dataDir: string;
  /** False gives up safety for speed: a crash may lose everything. For tests. Default true. */
  readonly durable?: boolean;
  /** Postgres settings by name, before which the defaults here give way. */
  readonly settings?: Settings;
  /** Told, a line at a time, what an operator should know. */
  readonly onLine?: (line: string) => void;
}

const defaults: Settings = {
  shared_preload_libraries: 'pg_stat_statements',
  shared_buffers: '128MB',
  max_connections: '100',
  timezone: 'UTC',
  log_timezone: 'UTC',
};

const undurable: Settings = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' };

/**
 * Starts the Postgres that comes with the package, on loopback only, with its data in the data directory. Whatever an
 * earlier run left, after kill -9 too, is cleared away first.
 *
 * @throws Problem `data_directory_in_use` naming the process that has it; `postgres_failed_to_start`; `port_in_use`
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const say = options.onLine ?? (() => {});
  const durable = options.durable ?? true;
  const dataDir = prepareDataDirectory(options.dataDir);
  const lock = lockDataDirectory(dataDir);
  try {
    const cluster = locateCluster(dataDir, say);
    await stopStrays(cluster.directory, say);
    const password = passwordFor(dataDir, cluster.directory);
    await createClusterIfMissing(cluster, dataDir, password, durable);
    const settings = { ...defaults, ...(durable ? {} : undurable), ...options.settings };
    const postmaster = await startPostmaster(cluster, dataDir, settings, say);
    const url = connectionString(postmaster.port, password);
    try {
      await createDatabaseIfMissing(url);
    } catch (error) {
      await postmaster.stop();
      throw error;
    }
    lock.note({ url: connectionString(postmaster.port, null) });
    return {
      url,
      port: postmaster.port,
      directory: cluster.directory,
      announce: (address) => lock.note({ address }),
      async stop() {
        await postmaster.stop();
        lock.release();
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/**
 * Finds the embedded Postgres of a program that is running now, for commands beside it.
 *
 * @returns null when nobody holds the data directory, or who does is not ready yet
 */
export async function connectToRunning(dataDir: string): Promise<{ url: string; port: number } | null> {
  if (!existsSync(dataDir)) return null;
  const real = realpathSync(dataDir);
  const owner = readLiveOwner(real);
  if (owner?.url == null) return null;
  const port = Number(new URL(owner.url).port);
  return { url: connectionString(port, readFileSync(passwordFile(real), 'utf8').trim()), port };
}

const passwordFile = (dataDir: string) => join(dataDir, 'postgres-password');

function passwordFor(dataDir: string, cluster: string): string {
  const path = passwordFile(dataDir);
  if (!existsSync(path) && existsSync(cluster)) {
    throw problem('postgres_failed_to_start', `${path} is missing, and without it nobody can log in to ${cluster}`);
  }
  createPrivateFile(path, `${randomBytes(32).toString('base64url')}\n`);
  return readFileSync(path, 'utf8').trim();
}

function connectionString(port: number, password: string | null): string {
  return `postgres://${ownerName}${password === null ? '' : `:${password}`}@127.0.0.1:${port}/${databaseName}`;
}

async function createDatabaseIfMissing(url: string): Promise<void> {
  const maintenance = new URL(url);
  maintenance.pathname = '/postgres';
  const client = new pg.Client({ connectionString: maintenance.href });
  await client.connect();
  try {
    const found = await client.query('select from pg_database where datname = $1', [databaseName]);
    if (found.rowCount === 0) await client.query(`create database ${databaseName} strategy wal_log`);
  } finally {
    await client.end();
  }
}
