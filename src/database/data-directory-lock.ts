import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import { systemClock } from '../clock.ts';
import { type Problem, problem } from '../errors.ts';
import { createPrivateFile, replacePrivateFile } from './private-file.ts';
import { processIdentity } from './processes.ts';

const lockOwner = z.object({
  pid: z.number().int().positive(),
  pidStartTime: z.string(),
  startedAt: z.iso.datetime(),
  /** Postgres, without the password; null until it is ready. */
  url: z.string().nullable(),
  /** Where the program that holds the directory serves; null until it does. */
  address: z.string().nullable(),
});

export type LockOwner = z.infer<typeof lockOwner>;

export interface DataDirectoryLock {
  /** Adds to what a refused second start and the CLI are told. */
  note(facts: Partial<Pick<LockOwner, 'url' | 'address'>>): void;
  release(): void;
}

const ownerFile = (dataDir: string) => join(dataDir, 'server.lock');

/**
 * Takes the data directory for this process, or refuses.
 *
 * Two files. `server.mutex` decides: an empty SQLite file, held by an exclusive transaction, which is a POSIX record
 * lock that the kernel drops when the process ends, however it ends. A file made with O_EXCL and a process id in it
 * cannot do that: after kill -9 somebody has to judge it stale and remove it, and two who judge at once remove each
 * other's new one. It also could not see an owner in another container. `server.lock` only tells: who has it, since
 * when, and where it listens.
 *
 * @param dataDir real path of an existing directory
 * @throws Problem `data_directory_in_use`
 */
export function lockDataDirectory(dataDir: string): DataDirectoryLock {
  const mutex = takeMutex(dataDir);
  let owner: LockOwner = {
    pid: process.pid,
    pidStartTime: processIdentity(process.pid) ?? '',
    startedAt: new Date(systemClock.now()).toISOString(),
    url: null,
    address: null,
  };
  const write = () => replacePrivateFile(ownerFile(dataDir), `${JSON.stringify(owner)}\n`);
  write();
  return {
    note(facts) {
      owner = { ...owner, ...facts };
      write();
    },
    release() {
      if (!mutex.isOpen) return;
      // Emptied rather than removed: one name, one inode, nothing for a second starter to race for.
      replacePrivateFile(ownerFile(dataDir), '');
      mutex.close();
    },
  };
}

function takeMutex(dataDir: string): DatabaseSync {
  const path = join(dataDir, 'server.mutex');
  createPrivateFile(path, '');
  const mutex = new DatabaseSync(path);
  try {
    mutex.exec('begin exclusive');
    return mutex;
  } catch (error) {
    mutex.close();
    if (isBusy(error)) throw inUse(dataDir);
    throw error;
  }
}

/** SQLITE_BUSY, https://www.sqlite.org/rescode.html#busy */
function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === 5;
}

function inUse(dataDir: string): Problem {
  const owner = readLiveOwner(dataDir);
  if (owner === null) {
    return problem(
      'data_directory_in_use',
      `${dataDir} is in use by another process that is just starting or stopping`,
    );
  }
  const where = [
    owner.address === null ? [] : [`serving on ${owner.address}`],
    owner.url === null ? ['still starting'] : [`its Postgres on ${owner.url}`],
  ].flat();
  return problem(
    'data_directory_in_use',
    `${dataDir} is in use by process ${owner.pid}, started ${owner.startedAt}, ${where.join(', ')}. ` +
      'Stop that one first, or give this one another DATA_DIR',
  );
}

/** Who holds the data directory, or null when nobody does who is still alive. */
export function readLiveOwner(dataDir: string): LockOwner | null {
  try {
    const owner = lockOwner.parse(JSON.parse(readFileSync(ownerFile(dataDir), 'utf8')));
    return processIdentity(owner.pid) === owner.pidStartTime ? owner : null;
  } catch {
    // Not there, emptied by its owner, or a torn write of one that was killed: nobody to name.
    return null;
  }
}
