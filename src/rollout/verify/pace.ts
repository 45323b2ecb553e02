/** Holds a connection back: so many statements a second, and none but the way out after so long. */
import type { ClientBase } from 'pg';
import { monotonicMs } from '../../clock.ts';
import { problem } from '../../errors.ts';

export interface Pace {
  readonly statementsPerSecond: number;
  readonly maxSeconds: number;
}

export interface PacedClient {
  readonly client: ClientBase;
  /** Statements sent until now. */
  statements(): number;
}

/** What ends a transaction, or an attempt, is always let through. */
const wayOut = /^\s*(rollback|release)/i;

/** @throws Problem `rollout_failed` from a statement that comes too late */
export function paced(client: ClientBase, { statementsPerSecond, maxSeconds }: Pace): PacedClient {
  const gapMs = 1_000 / statementsPerSecond;
  const end = monotonicMs() + maxSeconds * 1_000;
  let next = monotonicMs();
  let statements = 0;
  const turn = async (text: unknown): Promise<void> => {
    statements += 1;
    if (typeof text === 'string' && wayOut.test(text)) return;
    const now = monotonicMs();
    if (now > end) throw problem('rollout_failed', `the time of ${maxSeconds} s was up (--max-seconds)`);
    // What was not used of the time is not saved up: a pause is followed by no burst.
    next = Math.max(next, now) + gapMs;
    // Timers are a millisecond coarse; shorter waits add up to one.
    if (next - now >= 2) await new Promise((resolve) => setTimeout(resolve, next - now));
  };
  const held = new Proxy(client, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property);
      if (typeof value !== 'function') return value;
      if (property !== 'query') return value.bind(target);
      return async (...parameters: unknown[]) => {
        await turn(parameters[0]);
        return Reflect.apply(value, target, parameters);
      };
    },
  });
  return { client: held, statements: () => statements };
}
