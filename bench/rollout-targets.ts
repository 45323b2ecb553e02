/** What the figures are held against. */
import { median } from './measurement.ts';
import type { Measured } from './rollout-measure.ts';

export interface RolloutTarget {
  readonly name: string;
  readonly unit: '' | 'ms' | 'MiB';
  readonly atMost: number;
  readonly value: number;
  readonly met: boolean;
}

const ownersRatioMax = 1;
const longestWriteMaxMs = 100;
const memoryMaxMiB = 120;
/** What several times the rows may add: noise of a garbage collector, not a growth with the rows. */
const memoryGrowthMaxMiB = 20;

export const ourWays = ['ours', 'ours, majority owner'] as const;

/** @param small a run of `apply` over far fewer rows */
export function rolloutTargets(measured: readonly Measured[], small: { readonly memoryMiB: number }): RolloutTarget[] {
  const of = (way: string) => measured.filter((one) => one.way === way);
  const middle = (way: string, value: (one: Measured) => number) => median(of(way).map(value));
  const worst = (way: string, value: (one: Measured) => number) => Math.max(...of(way).map(value));
  const owners = (one: Measured) => one.ownersMs ?? Number.NaN;
  const single = middle('single update', owners);
  const memory = Math.max(...ourWays.map((way) => worst(way, (one) => one.memoryMiB ?? Number.NaN)));
  return [
    ...ourWays.flatMap((way) => [
      atMost(`${way}: owners, of the single update`, '', middle(way, owners) / single, ownersRatioMax),
      atMost(
        `${way}: longest blocked write`,
        'ms',
        worst(way, (one) => one.writers.writes.longest),
        longestWriteMaxMs,
      ),
      atMost(
        `${way}: failed statements`,
        '',
        worst(way, (one) => one.writers.failed),
        0,
      ),
    ]),
    atMost('memory, peak', 'MiB', memory, memoryMaxMiB),
    atMost('memory, more than with few rows', 'MiB', memory - small.memoryMiB, memoryGrowthMaxMiB),
  ];
}

function atMost(name: string, unit: RolloutTarget['unit'], value: number, limit: number): RolloutTarget {
  return { name, unit, atMost: limit, value, met: value <= limit };
}
