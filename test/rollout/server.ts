/**
 * An embedded Postgres for one test file, used as somebody without a database of his own uses it: by its data directory.
 * Not the one that all tests share, since roles are the whole server's and the rollout makes and removes some.
 */
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/database/embedded.ts';
import { migrateUp } from '../../src/database/migrations.ts';
import { withClient } from './rows.ts';
import type { Shape } from './shape.ts';

export interface Database {
  /** The owner's connection string. */
  readonly url: string;
  readonly dataDir: string;
  /** Fails when somebody is still connected. */
  drop(roles: readonly string[]): Promise<void>;
}

export interface Server {
  readonly dataDir: string;
  /** The data directory's database, made anew. */
  fresh(shape: Shape): Promise<Database>;
  /** Kills Postgres itself with SIGKILL. @returns what starts it again, at the same address */
  crash(): Promise<() => Promise<void>>;
  stop(): Promise<void>;
}

/**
 * @param crashes Postgres is going to be killed: what it has committed must have reached the operating system, where the
 *   death of a process takes nothing away. Otherwise a commit waits for nothing, and tests are faster.
 */
export async function openServer(crashes = false): Promise<Server> {
  const dataDir = mkdtempSync(join(tmpdir(), 'ringfence-rollout-server-'));
  // As root, Postgres runs as another user, who has to pass through.
  chmodSync(dataDir, 0o711);
  const remove = () => rmSync(dataDir, { recursive: true, force: true, maxRetries: 5 });
  process.once('exit', remove);
  const settings = { synchronous_commit: crashes ? 'on' : 'off' };
  const start = () => startEmbeddedPostgres({ dataDir, durable: false, settings });
  let postgres: EmbeddedPostgres = await start();
  const maintenance = () => {
    const url = new URL(postgres.url);
    url.pathname = '/postgres';
    return url.href;
  };
  const name = () => pg.escapeIdentifier(new URL(postgres.url).pathname.slice(1));

  return {
    dataDir,
    async fresh(shape) {
      await withClient(maintenance(), async (client) => {
        await client.query(`drop database if exists ${name()}`);
        await client.query(`create database ${name()} template template0 strategy wal_log`);
      });
      if (shape.template === 'before_isolation') await migrateUp(postgres.url, 2);
      return {
        url: postgres.url,
        dataDir,
        drop: (roles) =>
          withClient(maintenance(), async (client) => {
            await client.query(`drop database ${name()}`);
            for (const role of roles) await client.query(`drop role if exists ${role}`);
          }),
      };
    },
    async crash() {
      const pid = Number(readFileSync(join(postgres.directory, 'postmaster.pid'), 'utf8').split('\n')[0]);
      process.kill(pid, 'SIGKILL');
      return async () => {
        // Its processes end by themselves once they miss it; the start clears away what is left.
        await postgres.stop();
        postgres = await start();
      };
    },
    async stop() {
      await postgres.stop();
      remove();
      process.off('exit', remove);
    },
  };
}
