/** Lets only so many pieces of heavy work run at once; the rest wait their turn, up to a limit. */

import { problem } from '../errors.ts';

export interface WorkLimit {
  /**
   * Runs the work when its turn comes, in the order of arrival.
   *
   * @throws Problem `unavailable` at once when too many wait already
   */
  run<T>(work: () => Promise<T>): Promise<T>;
}

/**
 * @param atOnce how many run at the same time
 * @param waiting how many more may wait; beyond that the caller is told to come back instead of growing the queue
 */
export function createWorkLimit(atOnce: number, waiting: number): WorkLimit {
  let running = 0;
  const queue: (() => void)[] = [];

  return {
    async run(work) {
      if (running < atOnce) running++;
      else if (queue.length < waiting) await new Promise<void>((resolve) => queue.push(resolve));
      else throw problem('unavailable', 'Too many log-ins at once; try again in a moment');
      try {
        return await work();
      } finally {
        // The place is handed over, not freed, so that a newcomer cannot overtake who waits.
        const next = queue.shift();
        if (next === undefined) running--;
        else next();
      }
    },
  };
}
