/** Takes down what the program sends to Postgres, so that the limit runs the very same and not a copy that ages. */
import pg from 'pg';
import { z } from 'zod';

export interface CapturedStatement {
  readonly text: string;
  readonly values: readonly unknown[];
}

const sentStatement = z.object({ text: z.string(), values: z.array(z.unknown()) });

/**
 * @param work one transaction of a user
 * @returns what it sent between the scope's own statements (forgetting the session, BEGIN, identity, admission) and COMMIT
 * @throws Error when a transaction does not begin and end as expected: then this file has to follow the scope
 */
export async function capture(
  work: () => Promise<unknown>,
): Promise<{ statements: CapturedStatement[]; result: unknown }> {
  const sent: CapturedStatement[] = [];
  const { query } = pg.Client.prototype;
  const listening = function (this: pg.Client, ...given: unknown[]): unknown {
    const statement = sentStatement.safeParse(given[0]);
    if (statement.success) sent.push(statement.data);
    return Reflect.apply(query, this, given);
  };
  Object.defineProperty(pg.Client.prototype, 'query', { value: listening, configurable: true, writable: true });
  try {
    const result = await work();
    return { statements: withoutScope(sent), result };
  } finally {
    Object.defineProperty(pg.Client.prototype, 'query', { value: query, configurable: true, writable: true });
  }
}

function withoutScope(sent: readonly CapturedStatement[]): CapturedStatement[] {
  const [begin, identity, admission] = sent;
  const expected =
    begin?.text.startsWith('begin') &&
    identity?.text.includes('ringfence.identity') &&
    admission?.text.includes('users') &&
    sent.at(-1)?.text === 'commit';
  if (!expected) throw new Error(`a transaction looks different by now:\n${sent.map(({ text }) => text).join('\n')}`);
  return sent.slice(3, -1);
}
