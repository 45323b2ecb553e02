/** What the documents name is there. */
import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { securityPage } from '../scripts/reference-pages.ts';
import { parts } from './isolation/proof/parts.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string) => readFileSync(`${root}${path}`, 'utf8');
const missing = (text: string) =>
  [...text.matchAll(/`((?:src|test|scripts|database|bench|docs)\/[^`\s]*)`/g)]
    .map(([, path = '']) => path)
    .filter((path) => globSync(path, { cwd: root }).length === 0);

test.each(['docs/security.md', 'docs/proof.md', 'ARCHITECTURE.md'])('every path that %s names exists', (path) => {
  expect(missing(read(path))).toEqual([]);
});

test('a path that is not there would be found', () => {
  expect(missing('see `src/nowhere.ts` and `src/http/*.nothing`, but `src/cli.ts`')).toEqual([
    'src/nowhere.ts',
    'src/http/*.nothing',
  ]);
});

test('each row of the table of tests names one', () => {
  const [, table = ''] = read('docs/security.md').split('## How it is tested');
  const rows = (table.split('\n## ')[0] ?? '').split('\n').filter((line) => /^\| (?!promise|-)/.test(line));
  expect(rows.length).toBeGreaterThan(12);
  for (const row of rows) expect(row.split('|')[2]).toMatch(/`(?:src|test)\//);
});

test('the list of what cannot be hidden is the one that commands print', () => {
  const page = read('docs/security.md');
  expect(securityPage(page)).toBe(page);
});

test('every part of the proof is explained', () => {
  const page = read('docs/proof.md');
  for (const { name } of parts) expect(page).toContain(`### \`${name}\``);
});
