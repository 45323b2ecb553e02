/** Looks through files and directories: as they are, unpacked where they are packed, and dumps as the SQL they hold. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { lstat, open, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createBrotliDecompress, createGunzip, createZstdDecompress } from 'node:zlib';
import { type Sighting, searchFor } from './search.ts';
import type { Canaries } from './state.ts';

export interface Place {
  readonly path: string;
  /** How it was read: `as it is`, `unpacked`, `through pg_restore`. */
  readonly how: string;
  readonly bytes: number;
  readonly sightings: readonly Sighting[];
}

export interface Unread {
  readonly path: string;
  readonly reason: string;
}

export interface FilesOptions {
  /** A pg_restore that can be run, or null. */
  readonly restore: string | null;
  readonly onPlace: (place: Place) => void;
  readonly onUnread: (unread: Unread) => void;
  /** Told now and then how far a file is. */
  readonly onBytes: (path: string, bytes: number) => void;
}

/** Links are not followed: what they lead to is a place of its own. */
export async function searchPath(path: string, canaries: Canaries, options: FilesOptions): Promise<void> {
  let kind: Awaited<ReturnType<typeof lstat>>;
  try {
    kind = await lstat(path);
    if (kind.isDirectory()) {
      for await (const entry of await opendir(path)) await searchPath(join(path, entry.name), canaries, options);
      return;
    }
  } catch (error) {
    options.onUnread({ path, reason: messageOf(error) });
    return;
  }
  if (kind.isFile()) await searchFile(path, canaries, options);
}

async function searchFile(path: string, canaries: Canaries, options: FilesOptions): Promise<void> {
  const packing = await packingOf(path).catch((error: unknown) => messageOf(error));
  if (typeof packing === 'string') return options.onUnread({ path, reason: packing });
  const look = async (how: string, stream: (into: Writable) => Promise<void>) => {
    const search = searchFor(canaries);
    const into = new Writable({
      write(chunk: Buffer, _, done) {
        search.feed(chunk);
        options.onBytes(path, search.bytes);
        done();
      },
    });
    try {
      await stream(into);
    } catch (error) {
      options.onUnread({ path, reason: `${how}: ${messageOf(error)}` });
    }
    // What was read until then counts all the same.
    options.onPlace({ path, how, bytes: search.bytes, sightings: search.end() });
  };
  const plain = () => look('as it is', (into) => pipeline(createReadStream(path), into));
  if (packing === null) return plain();
  if (packing.kind === 'stream') {
    return look('unpacked', (into) => pipeline(createReadStream(path), packing.make(), into));
  }
  if (options.restore === null) {
    options.onUnread({ path, reason: 'a dump in custom format, and there is no pg_restore: read as it is' });
    return plain();
  }
  const { restore } = options;
  await look('through pg_restore', (into) => restored(restore, path, into));
}

type Packing = { readonly kind: 'stream'; readonly make: () => NodeJS.ReadWriteStream } | { readonly kind: 'dump' };

/** By what a file begins with; Brotli has no such mark and goes by its name. */
async function packingOf(path: string): Promise<Packing | null> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(8), 0, 8, 0);
    const begins = (...bytes: readonly number[]) =>
      bytesRead >= bytes.length && bytes.every((byte, at) => buffer[at] === byte);
    if (begins(0x1f, 0x8b)) return { kind: 'stream', make: createGunzip };
    if (begins(0x28, 0xb5, 0x2f, 0xfd)) return { kind: 'stream', make: createZstdDecompress };
    if (path.endsWith('.br')) return { kind: 'stream', make: createBrotliDecompress };
    return buffer.subarray(0, 5).toString('latin1') === 'PGDMP' && !path.endsWith('toc.dat') ? { kind: 'dump' } : null;
  } finally {
    await file.close();
  }
}

async function restored(program: string, path: string, into: Writable): Promise<void> {
  const child = spawn(program, ['--file=-', path], { stdio: ['ignore', 'pipe', 'ignore'] });
  const ended = once(child, 'close');
  const out: Readable = child.stdout;
  await pipeline(out, into);
  const [code] = await ended;
  if (code !== 0) throw new Error(`pg_restore ended with ${code}`);
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
