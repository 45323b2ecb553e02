import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { copyFile, filesBelow, readableBytes, requireRoom, sha256Of, syncToDisk } from './disk.ts';

const root = mkdtempSync(join(tmpdir(), 'ringfence-disk-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const { signal } = new AbortController();

test('a copy is for its owner alone and has its checksum on record', async () => {
  const content = Buffer.alloc(2_500_000, 'ring fence ');
  writeFileSync(join(root, 'from'), content);
  chmodSync(join(root, 'from'), 0o644);
  const copied = await copyFile(join(root, 'from'), join(root, 'to'), signal);
  expect(copied?.bytes).toBe(2_500_000);
  expect(copied?.sha256).toBe(await sha256Of(join(root, 'from'), signal));
  expect(readFileSync(join(root, 'to')).equals(content)).toBe(true);
  expect(statSync(join(root, 'to')).mode & 0o777).toBe(0o600);
  writeFileSync(join(root, 'nothing'), '');
  expect((await copyFile(join(root, 'nothing'), join(root, 'to nothing'), signal))?.bytes).toBe(0);
});

test('a file that is gone is no fault; one that is there is not written over, a link not followed', async () => {
  expect(await copyFile(join(root, 'gone'), join(root, 'never'), signal)).toBeNull();
  await expect(copyFile(join(root, 'from'), join(root, 'to'), signal)).rejects.toThrow('EEXIST');
  symlinkSync(join(root, 'from'), join(root, 'link'));
  await expect(copyFile(join(root, 'link'), join(root, 'elsewhere'), signal)).rejects.toThrow('ELOOP');
});

test('an interruption ends a copy', async () => {
  await expect(
    copyFile(join(root, 'from'), join(root, 'late'), AbortSignal.abort(new Error('enough'))),
  ).rejects.toThrow('enough');
});

test('regular files alone, at any depth', async () => {
  const tree = join(root, 'tree');
  mkdirSync(join(tree, 'a/b'), { recursive: true });
  writeFileSync(join(tree, 'a/b/c'), '');
  writeFileSync(join(tree, 'd'), '');
  symlinkSync(join(tree, 'd'), join(tree, 'e'));
  expect((await filesBelow(tree)).toSorted()).toEqual(['a/b/c', 'd']);
  await syncToDisk(tree);
});

test('room is asked for by the disk, also for a directory that is not there yet', async () => {
  await requireRoom([{ path: join(root, 'not/yet'), bytes: 1000 }]);
  const half = 2 ** 60;
  await expect(requireRoom([{ path: join(root, 'not/yet'), bytes: half }])).rejects.toThrow(
    /The disk of .* has \d.* free and 1048576 TB are needed/,
  );
  await expect(
    requireRoom([
      { path: join(root, 'not/yet'), bytes: half },
      { path: root, bytes: half },
    ]),
  ).rejects.toThrow('2097152 TB are needed');
});

test('sizes for people', () => {
  expect([0, 1023, 1024, 1536, 52_428_800, 5 * 1024 ** 3].map(readableBytes)).toEqual([
    ...['0 bytes', '1023 bytes', '1.0 kB', '1.5 kB', '50 MB', '5.0 GB'],
  ]);
});
