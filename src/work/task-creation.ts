/** Making a task, with everything that hangs on it. */
import { v7 as uuidv7 } from 'uuid';
import type { TaskCreate } from '../contract/tasks.ts';
import type { ProductUserScope } from '../database/isolation.ts';
import { problem } from '../errors.ts';
import { found, type JsonDocument } from '../repositories/base-user-scoped-repository.ts';
import { inboxBranch } from '../repositories/inbox.ts';
import { LabelRepository } from '../repositories/labels.ts';
import { TaskAssigneeRepository } from '../repositories/task-assignees.ts';
import { TaskDependencyRepository } from '../repositories/task-dependencies.ts';
import { TaskLabelRepository } from '../repositories/task-labels.ts';
import { TaskRepository } from '../repositories/tasks.ts';
import { lockUser } from '../repositories/user-lock.ts';

/** @throws Problem `not_found` for a branch, agent or dependency that is not one's own */
export async function createTask(scope: ProductUserScope, task: TaskCreate): Promise<JsonDocument> {
  const { git_branch_id, labels = [], assignees = [], dependencies = [], status: _, ...columns } = task;
  const tasks = new TaskRepository(scope);
  // First of all, as everywhere: see lockUser.
  if (labels.length > 0 || dependencies.length > 0) await lockUser(scope);
  if (dependencies.length > 0) await requireTasks(tasks, dependencies);
  const id = uuidv7();
  // In one flush: the first of them to fail is the one that is told.
  const inbox = git_branch_id === undefined ? inboxBranch(scope) : undefined;
  const sent: Promise<unknown>[] = [
    ...(inbox ? [inbox.made] : []),
    tasks.create(id, { ...columns, git_branch_id: git_branch_id ?? scope.caller.userId }),
  ];
  if (assignees.length > 0) sent.push(new TaskAssigneeRepository(scope).add(id, assignees));
  if (dependencies.length > 0) sent.push(new TaskDependencyRepository(scope).add(id, dependencies));
  if (labels.length > 0) {
    await inOrder(sent);
    await new TaskLabelRepository(scope).add(id, await new LabelRepository(scope).idsFor(id, labels));
    return found(await tasks.get(id), 'task');
  }
  const document = tasks.get(id);
  await inOrder([...sent, document]);
  return found(await document, 'task');
}

/**
 * Of statements that left together the first to fail is the cause and the rest is aftermath (25P02). Which of them
 * answers first is chance; a bulk request that met the aftermath took it for a fault of our own and failed as a whole.
 */
async function inOrder(sent: readonly Promise<unknown>[]): Promise<void> {
  for (const answer of await Promise.allSettled(sent)) if (answer.status === 'rejected') throw answer.reason;
}

async function requireTasks(tasks: TaskRepository, ids: readonly string[]): Promise<void> {
  if ((await tasks.lockAll(ids)).length < ids.length) {
    throw problem('not_found', 'dependencies: there is no such task.');
  }
}
