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

/**
 * Of what was measured: a way that was left out has no target.
 *
 * @param small a run of `apply` over far fewer rows
 */
export function rolloutTargets(
  measured: readonly Measured[],
  small: { readonly memoryMiB: number } | null,
): RolloutTarget[] {
  const of = (way: string) => measured.filter((one) => one.way === way);
  const single = of('single update');
  const memory = Math.max(...ourWays.flatMap((way) => of(way).map((one) => one.memoryMiB ?? Number.NaN)));
  return [
    ...ourWays.flatMap((way) => targetsOf(way, of(way), single)),
    ...(ourWays.some((way) => of(way).length > 0) ? [atMost('memory, peak', 'MiB', memory, memoryMaxMiB)] : []),
    ...(small === null
      ? []
      : [atMost('memory, more than with few rows', 'MiB', memory - small.memoryMiB, memoryGrowthMaxMiB)]),
  ];
}

function targetsOf(way: string, ours: readonly Measured[], single: readonly Measured[]): RolloutTarget[] {
  if (ours.length === 0) return [];
  const owners = (runs: readonly Measured[]) => median(runs.map((one) => one.ownersMs ?? Number.NaN));
  const worst = (value: (one: Measured) => number) => Math.max(...ours.map(value));
  return [
    ...(single.length === 0
      ? []
      : [atMost(`${way}: owners, of the single update`, '', owners(ours) / owners(single), ownersRatioMax)]),
    atMost(
      `${way}: longest blocked write`,
      'ms',
      worst((one) => one.writers.writes.longest),
      longestWriteMaxMs,
    ),
    atMost(
      `${way}: failed statements`,
      '',
      worst((one) => one.writers.failed),
      0,
    ),
  ];
}

function atMost(name: string, unit: RolloutTarget['unit'], value: number, limit: number): RolloutTarget {
  return { name, unit, atMost: limit, value, met: value <= limit };
}
