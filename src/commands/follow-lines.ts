/** Reads a file that is being written, line by line and no more of it than a chunk at a time. */
import { type FileHandle, open } from 'node:fs/promises';

export interface LineFollower {
  /**
   * Reads what has come since the last time. A file that was moved away is read to its end before the new one.
   *
   * @returns whether there is a file
   */
  read(): Promise<boolean>;
  close(): Promise<void>;
}

const chunkBytes = 64 * 1024;
/** What is longer is no line of a log. */
const lineBytesMax = 256 * 1024;

/** @param onLine gets each whole line; undefined in place of one that is too long */
export function followLines(path: string, onLine: (line: string | undefined) => void): LineFollower {
  let file: FileHandle | undefined;
  let offset = 0;
  let rest: Buffer<ArrayBufferLike> = Buffer.alloc(0);
  let tooLong = false;

  const begin = (handle: FileHandle | undefined) => {
    file = handle;
    offset = 0;
    rest = Buffer.alloc(0);
    tooLong = false;
  };

  const take = (chunk: Buffer) => {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      const line = Buffer.concat([rest, chunk.subarray(from, end)]);
      rest = Buffer.alloc(0);
      from = end + 1;
      if (tooLong) onLine(undefined);
      else if (line.length > 0) onLine(line.toString('utf8'));
      tooLong = false;
    }
    rest = Buffer.concat([rest, chunk.subarray(from)]);
    if (rest.length <= lineBytesMax) return;
    tooLong = true;
    rest = Buffer.alloc(0);
  };

  const readToEnd = async (handle: FileHandle) => {
    // Truncated in place, as logrotate's copytruncate does it.
    if ((await handle.stat()).size < offset) begin(handle);
    const chunk = Buffer.alloc(chunkBytes);
    for (;;) {
      const { bytesRead } = await handle.read(chunk, 0, chunkBytes, offset);
      if (bytesRead === 0) return;
      offset += bytesRead;
      take(chunk.subarray(0, bytesRead));
    }
  };

  return {
    async read() {
      if (file) await readToEnd(file);
      const next = await openIfThere(path);
      if (!next) return file !== undefined;
      if (file && (await file.stat()).ino === (await next.stat()).ino) {
        await next.close();
        return true;
      }
      await file?.close();
      begin(next);
      await readToEnd(next);
      return true;
    },
    async close() {
      await file?.close();
      file = undefined;
    },
  };
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
