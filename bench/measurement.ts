/** What is measured, and how a window of time becomes figures. */
import { z } from 'zod';
import { parseUserId, type UserId } from '../src/isolation/identity.ts';

export const operations = ['list', 'read', 'create'] as const;
export type Operation = (typeof operations)[number];

/**
 * `on` and `off`: over HTTP, with and without isolation. `limit`: a bare `pg` loop with the very same statements, as a
 * role that policies do not bind. `core`: the isolation core alone, in process.
 */
export const variants = ['on', 'off', 'limit', 'core'] as const;
export type Variant = (typeof variants)[number];

export const measureOrder = z.object({
  operation: z.enum(operations),
  connections: z.int().positive(),
  /** Length of the window in milliseconds. */
  windowMs: z.number().positive(),
});
export type MeasureOrder = z.infer<typeof measureOrder>;

export const sample = z.object({
  requests: z.int(),
  perSecond: z.number(),
  /** Milliseconds. */
  p50: z.number(),
  p99: z.number(),
});
export type Sample = z.infer<typeof sample>;

export interface Measured {
  measure(order: MeasureOrder): Promise<Sample>;
  close(): Promise<void>;
}

const userId = z.string().transform((text, context): UserId => {
  const parsed = parseUserId(text);
  if (parsed !== null) return parsed;
  context.addIssue('not a user id');
  return z.NEVER;
});

/** A user who sends requests, with a few of the user's tasks. */
export const benchCaller = z.object({
  userId,
  sessionId: z.string(),
  token: z.string(),
  taskIds: z.array(z.string()).min(1),
});
export type BenchCaller = z.infer<typeof benchCaller>;

/** Those who create are others than those who read, so that the lists stay as long as they were. */
export const benchCallers = z.object({ readers: z.array(benchCaller).min(1), writers: z.array(benchCaller).min(1) });
export type BenchCallers = z.infer<typeof benchCallers>;

/** The page that is asked for. */
export const listLimit = 50;

/** What is created; small, as most tasks are. */
export const newTask = { title: 'Measured task', description: 'Created by the benchmark, to see how long that takes.' };

/** The first part of a window does not count: connections are made and statements are prepared there. */
const settleShare = 0.1;

export class EmptyWindowError extends Error {
  override readonly name = 'EmptyWindowError';
  constructor({ operation, connections, windowMs }: MeasureOrder) {
    super(`no ${operation} with ${connections} connections ended within ${windowMs} ms; try --window with more`);
  }
}

/** Takes the durations of one window. What ends outside of it is left out. */
export class Recorder {
  readonly #order: MeasureOrder;
  readonly #durations: number[] = [];
  readonly #from: number;
  readonly #until: number;

  constructor(order: MeasureOrder) {
    const { windowMs } = order;
    this.#order = order;
    const now = performance.now();
    this.#from = now + windowMs * settleShare;
    this.#until = now + windowMs;
  }

  get running(): boolean {
    return performance.now() < this.#until;
  }

  record(durationMs: number): void {
    const now = performance.now();
    if (now >= this.#from && now < this.#until) this.#durations.push(durationMs);
  }

  /** @throws EmptyWindowError when nothing was measured, for figures of nothing would look like any others */
  sample(): Sample {
    const sorted = Float64Array.from(this.#durations).sort();
    if (sorted.length === 0) throw new EmptyWindowError(this.#order);
    return {
      requests: sorted.length,
      perSecond: (sorted.length * 1000) / (this.#until - this.#from),
      p50: quantile(sorted, 0.5),
      p99: quantile(sorted, 0.99),
    };
  }
}

export function quantile(sorted: Float64Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2;
}
