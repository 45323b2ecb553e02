/**
 * The signing secret of a server that brings its own database: made on the first start and kept in the data directory,
 * so that tokens stay valid over a restart and nobody has to invent one.
 */

import { randomBytes, randomUUID } from 'node:crypto';
import { link, mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Problem, problem } from '../errors.ts';
import { secretWeakness } from './secret-strength.ts';

export const secretFileName = 'jwt-secret';

/** 64 characters: enough for HS512 as well (RFC 7518 §3.2 asks for 64 bytes there). */
function newSecret(): string {
  return randomBytes(48).toString('base64url');
}

function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

async function readSecret(path: string): Promise<string | undefined> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const { mode } = await file.stat();
    // Windows has no such bits; there the directory's access list decides.
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw problem('config_invalid', `${path} can be read by other users of this machine; run: chmod 600 ${path}`);
    }
    return (await file.readFile('utf8')).replace(/\r?\n$/, '');
  } finally {
    await file.close();
  }
}

/**
 * Writes the secret beside its place and links it there. `link` fails if the place is taken, so of several servers that
 * start at once one wins and the others read its secret; and the file is never seen half-written, even after a crash.
 */
async function writeSecretOnce(path: string): Promise<void> {
  const draft = `${path}.${randomUUID()}`;
  const file = await open(draft, 'wx', 0o600);
  try {
    await file.writeFile(`${newSecret()}\n`);
    await file.sync();
    await file.close();
    await link(draft, path);
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
  } finally {
    await file.close().catch(() => undefined);
    await rm(draft, { force: true });
  }
}

/**
 * The signing secret kept in the data directory; made on first use, mode 0600. Safe when several processes start at once.
 *
 * @param dataDir made if it is not there, with mode 0700
 * @throws Problem `config_invalid` when the file or the directory cannot be used, with what to do about it
 */
export async function loadOrCreateSecret(dataDir: string): Promise<string> {
  const path = join(dataDir, secretFileName);
  let secret: string | undefined;
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    secret = await readSecret(path);
    if (secret === undefined) {
      await writeSecretOnce(path);
      secret = await readSecret(path);
    }
  } catch (error) {
    const code = errorCode(error);
    if (error instanceof Problem || code === undefined) throw error;
    const detail = `DATA_DIR: the signing secret ${path} cannot be read or made (${code})`;
    throw problem('config_invalid', detail, undefined, { cause: error });
  }
  const weakness = secret === undefined ? 'was removed while it was being read' : secretWeakness(secret);
  if (secret === undefined || weakness !== undefined) {
    const remedy = 'remove the file to have a new one made (everybody then has to log in again)';
    throw problem('config_invalid', `${path}: the secret ${weakness}; or ${remedy}`);
  }
  return secret;
}
