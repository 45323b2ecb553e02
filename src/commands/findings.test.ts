import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { fail, pass, warn } from '../rollout/finding.ts';
import { printFindings } from './findings.ts';

const findings = [
  pass('version', undefined, 'Postgres 18.6.'),
  warn('public-grants', 'public.tasks', 'Everybody may read it.', 'Revoke it.'),
  fail('inheritance', 'public.old', 'It inherits from public.tasks.', 'Ignore it.'),
  warn('public-grants', 'public.labels', 'Everybody may write it.', 'Revoke it.'),
];

let printed: string;
beforeEach(() => {
  printed = '';
  vi.spyOn(console, 'log').mockImplementation((text: string) => {
    printed += `${text}\n`;
  });
});
afterEach(() => vi.restoreAllMocks());

test('what must be put right comes first, a remedy is said once, and what is well is a count', () => {
  expect(printFindings(findings, {})).toBe(1);
  expect(printed).toBe(`FAIL  inheritance
      public.old: It inherits from public.tasks.
      -> Ignore it.

WARN  public-grants
      public.tasks: Everybody may read it.
      public.labels: Everybody may write it.
      -> Revoke it.

1 to put right, 2 to know of, 1 well (--verbose shows what passed)
`);
});

test('--verbose names what passed', () => {
  printFindings(findings, { verbose: true });
  expect(printed).toContain('pass  version\n      Postgres 18.6.');
  expect(printed).not.toContain('--verbose');
});

test('warnings alone are no reason to fail', () => {
  expect(printFindings(findings.slice(0, 2), {})).toBe(0);
});

test('--json is one document with the findings, what the verb adds and the counts', () => {
  expect(printFindings(findings, { json: true }, { tables: ['t'] })).toBe(1);
  expect(JSON.parse(printed)).toEqual({ findings, tables: ['t'], summary: { fail: 1, warn: 2, pass: 1 } });
});

test('long sentences are broken at a hundred columns and names cannot steer the terminal', () => {
  printFindings([fail('name', 'a\u001b[2J\nb', 'word '.repeat(60).trim(), 'Rename it.')], {});
  expect(Math.max(...printed.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
  expect(printed).toContain('a\\u{1b}[2J\\u{a}b: word');
});
