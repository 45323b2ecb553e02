import { chownSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Writes a file for its owner's eyes only, whole or not at all: a reader never meets half of it.
 * When root works in somebody's directory the file becomes that person's, so that he can go on without root.
 */
export function replacePrivateFile(path: string, content: string): void {
  const draft = `${path}.${process.pid}`;
  rmSync(draft, { force: true });
  createPrivateFile(draft, content);
  renameSync(draft, path);
}

/** As `replacePrivateFile`, but leaves a file that is there already untouched (and unopened). */
export function createPrivateFile(path: string, content: string): void {
  try {
    writeFileSync(path, content, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return;
    throw error;
  }
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(dirname(path));
  chownSync(path, uid, gid);
}
