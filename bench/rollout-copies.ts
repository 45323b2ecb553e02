/** The Postgres that is measured on, set up as in production, and copies of the databases that every way begins with. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { startEmbeddedPostgres } from '../src/database/embedded.ts';
import { withClient } from './rollout-data.ts';

export interface Postgres {
  readonly ownerUrl: string;
  /** A directory for what is written meanwhile. */
  readonly directory: string;
  /** An empty database of which copies are made later. */
  make(name: string): Promise<string>;
  /** Runs `work` on a copy of a database that nobody is connected to. */
  withCopy<T>(of: string, work: (url: string) => Promise<T>): Promise<T>;
  /** What else has to be stopped before it is. */
  onStop(stop: () => Promise<void>): void;
  stop(): Promise<void>;
}

export async function startPostgres(say: (line: string) => void): Promise<Postgres> {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'ringfence-bench-')));
  // As root, Postgres runs as another user, who has to pass through.
  chmodSync(directory, 0o711);
  const stops: (() => Promise<void>)[] = [
    async () => {
      const elsewhere = join(directory, 'postgres-location');
      if (existsSync(elsewhere))
        rmSync(dirname(readFileSync(elsewhere, 'utf8').trim()), { recursive: true, force: true });
      rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
    },
  ];
  async function stop(): Promise<void> {
    for (let one = stops.pop(); one; one = stops.pop()) {
      await one().catch((error: unknown) => say(`while stopping: ${error instanceof Error ? error.message : error}`));
    }
  }
  try {
    const postgres = await startEmbeddedPostgres({ dataDir: directory, onLine: say });
    stops.push(() => postgres.stop());
    return { ...copies(postgres.url), ownerUrl: postgres.url, directory, onStop: (one) => stops.push(one), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function copies(ownerUrl: string): Pick<Postgres, 'make' | 'withCopy'> {
  const on = (name: string) => {
    const url = new URL(ownerUrl);
    url.pathname = `/${encodeURIComponent(name)}`;
    return url.href;
  };
  const owner = (statement: string) => withClient(ownerUrl, (client) => client.query(statement));
  return {
    async make(name) {
      await owner(`create database "${name}"`);
      return on(name);
    },
    async withCopy(of, work) {
      await owner(`create database copy template "${of}" strategy file_copy`);
      try {
        await withClient(on('copy'), async (client) => {
          // Each begins with the pages in the system's memory and nothing left to be written.
          await client.query('select count(id), sum(length(title)) from tasks; select count(*) from projects');
          await client.query('checkpoint');
        });
        return await work(on('copy'));
      } finally {
        await owner('drop database copy with (force)');
      }
    },
  };
}
