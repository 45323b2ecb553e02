/** Whether one of two things takes longer, without supposing how times are distributed. */

/** The value below which a share of the sample lies; between two values, in proportion. */
export function quantile(sample: readonly number[], share: number): number {
  const sorted = [...sample].sort((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

/**
 * Wilcoxon's signed-rank test over the differences of pairs (F. Wilcoxon, Individual Comparisons by Ranking Methods,
 * Biometrics Bulletin 1, 1945): differences of nothing are left out, equal ones share their rank, and the variance is
 * corrected for them. For more than some twenty pairs the sum of ranks is normal.
 *
 * @returns how many standard deviations the positive ranks are from what chance would give; positive: the differences are
 */
export function signedRankZ(differences: readonly number[]): number {
  const sorted = differences.filter((one) => one !== 0).sort((a, b) => Math.abs(a) - Math.abs(b));
  const n = sorted.length;
  let positive = 0;
  let ties = 0;
  for (let from = 0; from < n; ) {
    let to = from;
    while (to < n && Math.abs(sorted[to] ?? 0) === Math.abs(sorted[from] ?? 0)) to += 1;
    const rank = (from + 1 + to) / 2;
    for (let i = from; i < to; i += 1) if ((sorted[i] ?? 0) > 0) positive += rank;
    ties += (to - from) ** 3 - (to - from);
    from = to;
  }
  const variance = (n * (n + 1) * (2 * n + 1)) / 24 - ties / 48;
  return variance === 0 ? 0 : (positive - (n * (n + 1)) / 4) / Math.sqrt(variance);
}
