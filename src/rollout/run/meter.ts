/** Rate and time left of work in ranges. */
import { monotonicMs } from '../../clock.ts';
import type { StepRun } from './step-run.ts';
import type { Throttle } from './throttle.ts';

export interface Meter {
  add(blocks: number, rows: number): void;
  readonly done: number;
  readonly rows: number;
}

/** The rate is that of the latest while, since a throttle, a cache and a neighbour change it. */
const windowMs = 10_000;

/** @param from what an earlier run has done */
export function createMeter(
  run: StepRun,
  throttle: Throttle,
  from: { readonly done: number; readonly total: number; readonly rows: number },
): Meter {
  let { done, rows } = from;
  let window = [{ at: monotonicMs(), done, rows }];

  function report(): void {
    const now = monotonicMs();
    const last = window.at(-1);
    if (last && now - last.at > 200) window.push({ at: now, done, rows });
    window = window.filter((mark, at) => now - mark.at < windowMs || at === window.length - 1);
    const [first] = window;
    const seconds = first ? (now - first.at) / 1000 : 0;
    const blocksPerSecond = first && seconds > 0 ? (done - first.done) / seconds : 0;
    run.report({
      done: Math.round(done),
      total: from.total,
      unit: 'blocks',
      rows,
      rowsPerSecond: first && seconds > 0 ? (rows - first.rows) / seconds : null,
      secondsLeft: blocksPerSecond > 0 ? (from.total - done) / blocksPerSecond : null,
      note: throttle.reason === null ? null : `held back: ${throttle.reason}`,
    });
  }

  return {
    add(blocks, changed) {
      done += blocks;
      rows += changed;
      report();
    },
    get done() {
      return done;
    },
    get rows() {
      return rows;
    },
  };
}
