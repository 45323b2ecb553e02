import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readOwnerCsv } from './owner-csv.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ringfence-csv-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function file(content: string | Buffer): string {
  const path = join(directory, 'owners.csv');
  writeFileSync(path, content);
  return path;
}

const read = async (content: string | Buffer) => Array.fromAsync(readOwnerCsv(file(content)));

test('a value may hold commas, quotation marks, line breaks; a byte order mark and empty lines do no harm', async () => {
  const content = '\uFEFFlogin,user\r\n"a, ""b""\n c",ann@example.com\r\n\r\nümit,bob@example.com\r\n';
  expect(await read(content)).toEqual([
    { line: 3, value: 'a, "b"\n c', user: 'ann@example.com' },
    { line: 5, value: 'ümit', user: 'bob@example.com' },
  ]);
});

test('a header alone is an empty list', async () => {
  expect(await read('login,user\n')).toEqual([]);
});

test.each([
  ['', /owners\.csv: is empty/],
  ['login;user\na;b\n', /line 1: the columns must be separated by commas/],
  ['login,user,more\n', /line 1: must have two columns.*has 3/],
  ['ann,0198c0de-0000-7000-8000-000000000001\n', /line 1: must be a header/],
  ['login,user\nann,\n', /line 2, column 2: no user is named/],
  ['login,user\nann,x\nbob\n', /line 3: has another number of columns/],
  ['login,user\nann,"x\nbob,y\n', /line \d: a quotation mark is never closed/],
  ['login,user\nan"n,x\n', /line 2: a quotation mark stands inside/],
  ['login,user\n"ann"n,x\n', /line 2: a quotation mark inside a quoted field/],
  ['login,user\nan\0n,x\n', /line 2, column 1: has a NUL/],
  [Buffer.from('login,user\n\xfcmit,x\n', 'latin1'), /is not UTF-8/],
  [`login,user\n"${'x'.repeat(70_000)}",y\n`, /line 2: is too long/],
])('%j is refused', async (content, sentence) => {
  await expect(read(content)).rejects.toThrow(sentence);
  await expect(read(content)).rejects.toMatchObject({ code: 'usage_error' });
});

test('a file that is not there, or no file, is said plainly', async () => {
  await expect(Array.fromAsync(readOwnerCsv(join(directory, 'none.csv')))).rejects.toThrow(
    /none\.csv: there is no such/,
  );
  await expect(Array.fromAsync(readOwnerCsv(directory))).rejects.toThrow(/is a directory/);
});
