/** Files of a backup: for their owner's eyes only, with what they hold on record, and room for them before they are begun. */
import { createHash } from 'node:crypto';
import { constants, createReadStream, statSync } from 'node:fs';
import { type FileHandle, open, readdir, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { problem } from '../../errors.ts';
import type { SavedFile } from './manifest.ts';

const blockBytes = 1024 * 1024;

/**
 * Copies a file that a server may be writing: what is there now and no more. (copy_file_range and sendfile promise nothing
 * of the kind when the file is cut off meanwhile.)
 *
 * @returns null when the file is gone
 */
export async function copyFile(from: string, to: string, signal: AbortSignal): Promise<Omit<SavedFile, 'path'> | null> {
  const source = await openUnlessGone(from);
  if (source === null) return null;
  const target = await open(to, 'wx', 0o600).catch(async (error: unknown) => {
    await source.close();
    throw error;
  });
  try {
    const hash = createHash('sha256');
    const { size } = await source.stat();
    const buffer = Buffer.allocUnsafe(Math.min(Math.max(size, 1), blockBytes));
    let bytes = 0;
    for (;;) {
      signal.throwIfAborted();
      const { bytesRead } = await source.read(buffer, 0, buffer.length, bytes);
      if (bytesRead === 0) break;
      const part = buffer.subarray(0, bytesRead);
      hash.update(part);
      await writeWhole(target, part);
      bytes += bytesRead;
    }
    return { bytes, sha256: hash.digest('hex') };
  } finally {
    await Promise.all([source.close(), target.close()]);
  }
}

async function openUnlessGone(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

async function writeWhole(target: FileHandle, part: Buffer): Promise<void> {
  for (let at = 0; at < part.length; ) at += (await target.write(part, at)).bytesWritten;
}

export async function sha256Of(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for await (const part of createReadStream(path, { signal, highWaterMark: blockBytes })) hash.update(part);
  return hash.digest('hex');
}

/** All regular files below a directory, relative to it. */
export async function filesBelow(directory: string, within = ''): Promise<string[]> {
  const entries = await readdir(join(directory, within), { withFileTypes: true });
  const below = await Promise.all(
    entries.map((entry) => {
      const path = join(within, entry.name);
      if (entry.isDirectory()) return filesBelow(directory, path);
      return entry.isFile() ? [path] : [];
    }),
  );
  return below.flat();
}

/** Until then a power cut may take the backup. All at the end: each on its own takes ten times as long. */
export async function syncToDisk(directory: string): Promise<void> {
  const paths = (await filesBelow(directory)).values();
  const worker = async () => {
    for (const path of paths) await sync(join(directory, path));
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
  await sync(directory);
}

async function sync(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

export interface Room {
  /** Where, by a path that may not exist yet. */
  readonly path: string;
  readonly bytes: number;
}

/** @throws Problem `rollout_refused` when a disk has less free than all that goes there */
export async function requireRoom(rooms: readonly Room[]): Promise<void> {
  const byDevice = new Map<number, Room>();
  for (const { path, bytes } of rooms) {
    const existing = nearestExisting(path);
    const { dev } = statSync(existing);
    byDevice.set(dev, { path: existing, bytes: (byDevice.get(dev)?.bytes ?? 0) + bytes });
  }
  for (const { path, bytes } of byDevice.values()) {
    const { bavail, bsize } = await statfs(path);
    if (bavail * bsize >= bytes) continue;
    throw problem(
      'rollout_refused',
      `The disk of ${path} has ${readableBytes(bavail * bsize)} free and ${readableBytes(bytes)} are needed. ` +
        'Make room, choose another --output, or go without the restore test (--no-restore-test)',
    );
  }
}

function nearestExisting(path: string): string {
  return statSync(path, { throwIfNoEntry: false }) === undefined ? nearestExisting(dirname(path)) : path;
}

export function readableBytes(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  const step = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(bytes, 1)) / 10)));
  const value = bytes / 1024 ** step;
  return `${step === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${units[step]}`;
}
