/** Many changes to tasks in one transaction, by the same rules as one by one. */
import type { TaskBulk, TaskOperation } from '../contract/task-bulk.ts';
import type { ProductUserScope } from '../database/isolation.ts';
import { Problem } from '../errors.ts';
import { postgresFault } from '../repositories/postgres-faults.ts';
import { inSavepoint } from '../repositories/savepoint.ts';
import { lockUser } from '../repositories/user-lock.ts';
import { changeTask, removeTask } from './task-changes.ts';
import { createTask } from './task-creation.ts';

/** What became of the operation: its HTTP status, and the rest of its result as members of a JSON object. */
interface Outcome {
  readonly status: number;
  readonly members: string;
}

export interface ChangedTasks {
  /** What became of each. */
  readonly json: string;
  /** The operations that named something the user does not have. */
  readonly notFound: readonly TaskOperation[];
}

/**
 * In their order, each seeing what those before it did.
 *
 * @throws Problem of the first operation that fails, naming it, when the request is atomic
 */
export async function changeTasks(scope: ProductUserScope, { operations, atomic }: TaskBulk): Promise<ChangedTasks> {
  await lockUser(scope);
  const results: string[] = [];
  const notFound: TaskOperation[] = [];
  let failed = 0;
  for (const [index, operation] of operations.entries()) {
    const outcome = await attempt(scope, operation).catch((error: unknown) => {
      const fault = expected(error);
      if (atomic)
        throw new Problem(fault.code, `operations.${index}: ${fault.message}`, { ...fault.extensions, index });
      failed += 1;
      if (fault.kind.status === 404) notFound.push(operation);
      return refused(fault);
    });
    results.push(`{"index":${index},"op":"${operation.op}","status":${outcome.status},${outcome.members}}`);
  }
  const succeeded = operations.length - failed;
  return { json: `{"succeeded":${succeeded},"failed":${failed},"results":[${results.join(',')}]}`, notFound };
}

function attempt(scope: ProductUserScope, operation: TaskOperation): Promise<Outcome> {
  return inSavepoint(scope, async () => {
    switch (operation.op) {
      case 'create':
        return { status: 201, members: `"task":${(await createTask(scope, operation.task)).json}` };
      case 'update': {
        const { id, patch, version } = operation;
        return { status: 200, members: `"task":${(await changeTask(scope, id, patch, version)).json}` };
      }
      case 'delete': {
        const unblocked = await removeTask(scope, operation.id, operation.version);
        return { status: 200, members: `"unblocked":${JSON.stringify(unblocked)}` };
      }
    }
  });
}

/** @throws whatever is our own fault: then nothing of the whole is kept */
function expected(error: unknown): Problem {
  const fault = error instanceof Problem ? error : postgresFault(error);
  if (!fault || fault.kind.status >= 500) throw error;
  return fault;
}

function refused(fault: Problem): Outcome {
  const { status, title } = fault.kind;
  const error = { ...fault.extensions, code: fault.code, title, detail: fault.message };
  return { status, members: `"error":${JSON.stringify(error)}` };
}
