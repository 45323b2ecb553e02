import { expect, test } from 'vitest';
import { nextSize } from './block-ranges.ts';

test('a range grows and shrinks with the time that it has rows locked', () => {
  expect(nextSize(16, 20, 50)).toBe(16);
  expect(nextSize(16, 10, 50)).toBe(32);
  expect(nextSize(16, 1, 50)).toBe(32);
  expect(nextSize(16, 25, 50)).toBe(13);
  expect(nextSize(16, 4_000, 4_000)).toBe(8);
  expect(nextSize(1, 4_000, 4_000)).toBe(1);
  expect(nextSize(4_096, 1, 1)).toBe(4_096);
});

test('what takes long before the first row is locked makes no range smaller, but lets none grow for ever', () => {
  expect(nextSize(16, 20, 900)).toBe(16);
  expect(nextSize(16, 10, 900)).toBe(18);
  expect(nextSize(1_024, 0, 5_000)).toBe(1_024);
});
