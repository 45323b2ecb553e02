import { expect, test } from 'vitest';
import { contextInVitest } from './model/in-vitest.ts';
import { compare } from './timing/measure.ts';
import { quantile, signedRankZ } from './timing/statistics.ts';
import { part } from './timing.ts';

const minutes = 60_000;

// How large differences are is for `npm run proof` on a machine that does nothing else; that one which is there is seen, for here.
test(
  'a planted difference is told, and everything has been timed',
  async () => {
    const { figures, faults } = await part.run(contextInVitest());
    expect(faults).toEqual([]);
    expect(figures['pairs below HTTP']).toBe(125);
    expect(Number(figures['pairs over HTTP'])).toBeGreaterThanOrEqual(25);
    expect(figures['smallest wait seen: GET /api/tasks/{id}']).toBe('120000 µs');
  },
  4 * minutes,
);

test('quantiles lie between values', () => {
  expect([0.25, 0.5, 1].map((share) => quantile([4, 1, 3, 2], share))).toEqual([1.75, 2.5, 4]);
});

test('signed ranks, as in the tables', () => {
  // Wilcoxon's own example, of Darwin's plants: 15 pairs, a sum of positive ranks of 96, p = 0.04.
  const plants = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48];
  expect(signedRankZ(plants)).toBeCloseTo(2.045, 2);
  expect(signedRankZ(plants.map((one) => -one))).toBeCloseTo(-2.045, 2);
  expect(signedRankZ([1, -1, 2, -2, 0])).toBe(0);
});

test('a difference counts when the blocks agree', () => {
  const block = (from: number) => ({
    hidden: [from + 1, from + 2],
    absent: [from, from + 1],
    alsoAbsent: [from, from + 1],
  });
  const { effect, floor } = compare({ blocks: [block(0), block(10)] });
  expect(effect).toMatchObject({ p25: 1, p50: 1, slower: 2, faster: 0 });
  expect(floor).toMatchObject({ p25: 0, p50: 0, z: 0, slower: 0, faster: 0 });
});
