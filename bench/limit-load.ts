/**
 * The limit: the statements that the program sends, in a bare `pg` loop: prepared, as a role that policies do not bind,
 * without HTTP, without a scope, without an identity. Nothing that answers the same question can be faster.
 */
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import { type CapturedStatement, capture } from './capture.ts';
import { coreCalls, openCoreIsolation, taskOf } from './core-load.ts';
import { inLoops } from './loops.ts';
import { type BenchCaller, type BenchCallers, type Measured, type Operation, operations } from './measurement.ts';

type Run = (client: pg.Client, caller: BenchCaller, turn: number) => Promise<unknown>;

export async function openLimit(
  ownerUrl: string,
  secret: string,
  callers: BenchCallers,
  connections: number,
): Promise<Measured> {
  const runs = await captureRuns(ownerUrl, secret, callers);
  const clients = Array.from(
    { length: connections },
    () => new pg.Client({ connectionString: ownerUrl, pipeline: true }),
  );
  await Promise.all(clients.map((client) => client.connect()));
  return {
    measure: (order) =>
      inLoops(order, callers, (loop, caller, turn) => {
        const client = clients[loop];
        if (!client) throw new Error('more loops than clients');
        return runs[order.operation](client, caller, turn);
      }),
    close: async () => {
      await Promise.all(clients.map((client) => client.end()));
    },
  };
}

/** Lets the program itself make the statements, once for each operation, and takes down what it sends. */
async function captureRuns(ownerUrl: string, secret: string, callers: BenchCallers): Promise<Record<Operation, Run>> {
  const { isolation, close } = openCoreIsolation(ownerUrl, secret);
  try {
    const runs: Partial<Record<Operation, Run>> = {};
    for (const operation of operations) {
      const [caller] = operation === 'create' ? callers.writers : callers.readers;
      if (!caller) throw new Error('there are no callers');
      const { statements, result } = await capture(() => coreCalls[operation](isolation, caller, 0));
      runs[operation] =
        operation === 'create' ? creation(statements, caller, result) : reading(operation, statements, caller);
    }
    const { list, read, create } = runs;
    if (!list || !read || !create) throw new Error('an operation was not captured');
    return { list, read, create };
  } finally {
    await close();
  }
}

/** One statement and no transaction. */
function reading(operation: Operation, statements: readonly CapturedStatement[], captured: BenchCaller): Run {
  const [statement, ...rest] = statements;
  if (!statement || rest.length > 0) throw new Error(`${operation} is ${statements.length} statements, not one`);
  const name = `limit_${operation}`;
  const parameters = parametersOf(statement, captured.userId, taskOf(captured, 0));
  return (client, caller, turn) =>
    client.query({ name, text: statement.text, values: parameters(caller.userId, taskOf(caller, turn)) });
}

const created = z.object({
  json: z.string().transform((text) => z.object({ id: z.string() }).parse(JSON.parse(text))),
});

/** All statements of the transaction in one flush. */
function creation(statements: readonly CapturedStatement[], captured: BenchCaller, result: unknown): Run {
  const { id } = created.parse(result).json;
  const steps = statements.map((statement, index) => ({
    name: `limit_create_${index}`,
    text: statement.text,
    parameters: parametersOf(statement, captured.userId, id),
  }));
  return (client, caller) => {
    const newId = uuidv7();
    const sent = steps.map(({ name, text, parameters }) => ({ name, text, values: parameters(caller.userId, newId) }));
    return Promise.all([client.query('begin'), ...sent.map((query) => client.query(query)), client.query('commit')]);
  };
}

/** The captured parameters with another user's ids in the places of the captured ones. */
function parametersOf(statement: CapturedStatement, capturedUser: string, capturedTask: string) {
  return (user: string, task: string): unknown[] =>
    statement.values.map((value) => (value === capturedUser ? user : value === capturedTask ? task : value));
}
