import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadOrCreateSecret, secretFileName } from './secret.ts';
import { secretWeakness } from './secret-strength.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'secret-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

describe('loadOrCreateSecret', () => {
  test('makes a strong one that only its user can read, and keeps it', async () => {
    const dir = join(root, 'deep', 'data');
    const secret = await loadOrCreateSecret(dir);
    expect(secretWeakness(secret, 64)).toBeUndefined();
    expect((await stat(join(dir, secretFileName))).mode & 0o777).toBe(0o600);
    expect((await stat(dir)).mode & 0o777).toBe(0o700);
    expect(await loadOrCreateSecret(dir)).toBe(secret);
    expect(await readdir(dir)).toEqual([secretFileName]);
  });

  test('many at once agree on one, and leave nothing else behind', async () => {
    const secrets = await Promise.all(Array.from({ length: 50 }, () => loadOrCreateSecret(root)));
    expect(new Set(secrets).size).toBe(1);
    expect(await readdir(root)).toEqual([secretFileName]);
  });

  test('several processes at once agree on one', async () => {
    const script = `import { loadOrCreateSecret } from ${JSON.stringify(import.meta.resolve('./secret.ts'))};
      console.log(await loadOrCreateSecret(process.argv[1]));`;
    const run = () => promisify(execFile)(process.execPath, ['--input-type=module', '-e', script, root]);
    const outputs = await Promise.all(Array.from({ length: 4 }, run));
    expect(new Set(outputs.map(({ stdout }) => stdout)).size).toBe(1);
  });

  test.each([
    ['', /must be at least 32 bytes, got 0.*remove the file/],
    ['your-production-jwt-secret\n', /placeholder/],
    ['short\n', /at least 32 bytes/],
  ])('refuses a file that holds %j', async (content, reason) => {
    await writeFile(join(root, secretFileName), content, { mode: 0o600 });
    await expect(loadOrCreateSecret(root)).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringMatching(reason),
    });
    expect(await readFile(join(root, secretFileName), 'utf8')).toBe(content);
  });

  test('refuses a file that others can read', async () => {
    await loadOrCreateSecret(root);
    await chmod(join(root, secretFileName), 0o640);
    await expect(loadOrCreateSecret(root)).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringMatching(/can be read by other users.*chmod 600/),
    });
  });

  test('a data directory that is a file is one line', async () => {
    const file = join(root, 'file');
    await writeFile(file, '');
    await expect(loadOrCreateSecret(file)).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringMatching(/^DATA_DIR: .*\((EEXIST|ENOTDIR)\)$/),
    });
  });
});
