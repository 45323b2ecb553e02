/** A backup by pg_dump, of exactly the snapshot that is hashed, while the application writes. */
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { problem } from '../../errors.ts';
import { type Connection, withConnection } from '../connection.ts';
import { type ClientPrograms, type Environment, runClientProgram, targetOf } from './client-programs.ts';
import { readableBytes, sha256Of } from './disk.ts';
import { interruptible } from './interruptible.ts';
import type { SavedFile, SavedTable } from './manifest.ts';
import { beginReading, hashSaved, readAgain, readTables } from './source.ts';

export const dumpFile = 'database.dump';

export interface Dump {
  readonly snapshot: string;
  readonly tables: SavedTable[];
  readonly files: SavedFile[];
}

export interface DumpOptions {
  readonly url: string;
  readonly directory: string;
  readonly programs: ClientPrograms;
  readonly environment: Environment;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

/**
 * One transaction exports its snapshot, pg_dump takes it over, and the hashes are computed in the transaction itself, so both
 * see the same rows whatever is written meanwhile (manual, 9.28.5).
 *
 * @throws Problem `rollout_failed` with what pg_dump complained of
 */
export async function dumpDatabase(options: DumpOptions): Promise<Dump> {
  const { url, directory, signal, say } = options;
  const path = join(directory, dumpFile);
  // pg_dump itself would leave the mode to the umask.
  writeFileSync(path, '', { mode: 0o600, flag: 'wx' });
  const { snapshot, tables } = await withConnection(url, 'backup', (client) =>
    interruptible(url, client, signal, async () => {
      const locked = await readTables(client);
      await beginReading(client, locked);
      const exported = await exportSnapshot(client);
      say(`Dumping the snapshot ${exported}, and hashing its tables beside it`);
      const present = await readAgain(client, locked);
      const failed = new AbortController();
      const hashing = hashSaved(client, present, say).catch((error: unknown) => {
        failed.abort(error);
        throw error;
      });
      const whole = AbortSignal.any([signal, failed.signal]);
      const [hashed] = await Promise.all([hashing, runPgDump({ ...options, signal: whole }, path, exported)]);
      await client.query('commit');
      return { snapshot: exported, tables: hashed };
    }),
  );
  const { size } = statSync(path);
  say(`Dumped ${readableBytes(size)}`);
  return { snapshot, tables, files: [{ path: dumpFile, bytes: size, sha256: await sha256Of(path, signal) }] };
}

/** No timeout of the server's or the role's may end the transaction while pg_dump works (transaction_timeout: from 17 on). */
async function exportSnapshot(client: Connection): Promise<string> {
  const { rows } = await client.query<{ snapshot: string }>(
    `select pg_export_snapshot() as snapshot,
      (select set_config(name, '0', true) from pg_settings where name = 'transaction_timeout')`,
  );
  const snapshot = rows[0]?.snapshot;
  if (snapshot === undefined) throw new Error('pg_export_snapshot() gave nothing');
  return snapshot;
}

async function runPgDump(options: DumpOptions, path: string, snapshot: string): Promise<void> {
  const { programs, url, environment, signal } = options;
  const target = targetOf(url, environment);
  const flags = [
    '--format=custom',
    `--file=${path}`,
    `--snapshot=${snapshot}`,
    '--no-password',
    // Only ALTER and the like can hold it up; behind those, waiting for ever would look like working.
    '--lock-wait-timeout=60000',
    `--dbname=${target.connection}`,
  ];
  const { code, errors } = await runClientProgram(programs.dump, flags, target.environment, signal);
  if (code !== 0) throw problem('rollout_failed', `pg_dump failed: ${errors.join('; ') || `it ended with ${code}`}`);
}
