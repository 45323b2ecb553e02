/** The one source of time, so that a test can move it. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

/** Milliseconds of a clock that never jumps; for differences only. */
export function monotonicMs(): number {
  return performance.now();
}
