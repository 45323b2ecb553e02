import { expect, test } from 'vitest';
import { missingFrom, readPackages } from '../scripts/complete-lockfile.ts';

const packages = readPackages(new URL('../package-lock.json', import.meta.url).pathname);

test('the lockfile has every platform, without which npm ci refuses it (run scripts/complete-lockfile.ts)', () => {
  expect(missingFrom(packages)).toEqual([]);
});

test('the lockfile names no registry host, so that any mirror serves', () => {
  const resolved = Object.entries(packages).filter(([, entry]) => 'resolved' in entry);
  expect(resolved).toEqual([]);
});
