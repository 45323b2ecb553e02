/** Completing a task: the one way to `done`. */
import { sql } from 'kysely';
import type { TaskComplete } from '../contract/tasks.ts';
import type { ProductUserScope } from '../database/isolation.ts';
import { problem } from '../errors.ts';
import { found, type JsonDocument } from '../repositories/base-user-scoped-repository.ts';
import { SubtaskRepository } from '../repositories/subtasks.ts';
import { TaskDependencyRepository } from '../repositories/task-dependencies.ts';
import { TaskRepository } from '../repositories/tasks.ts';
import { lockUser } from '../repositories/user-lock.ts';
import { ensureContext } from './contexts.ts';
import { lockTask, named, release, requireDependenciesDone } from './task-changes.ts';
import { requireVerb } from './task-transitions.ts';

export interface Completion {
  readonly task: JsonDocument;
  /** The tasks that waited for this one alone, which are `todo` again. */
  readonly unblocked: readonly string[];
}

/**
 * A second call changes the summary, and the notes if there are new ones, and nothing else.
 *
 * @throws Problem `dependencies_unfinished`, `subtasks_unfinished`, `transition_refused`
 */
export async function completeTask(
  scope: ProductUserScope,
  id: string,
  { completion_summary, testing_notes }: TaskComplete,
  version: number | undefined,
): Promise<Completion> {
  await lockUser(scope);
  const tasks = new TaskRepository(scope);
  const task = await lockTask(scope, id, version);
  const words = { completion_summary, ...(testing_notes === undefined ? {} : { testing_notes }) };
  if (task.status === 'done') {
    await tasks.change(id, words);
    return { task: found(await tasks.get(id), 'task'), unblocked: [] };
  }
  // The dependencies first: for a task that they block they are the better answer.
  if (task.status === 'blocked') await requireDependenciesDone(scope, id);
  requireVerb(task.status, 'complete');
  await requireDependenciesDone(scope, id);
  await requireSubtasksDone(scope, id);
  await ensureContext(scope, 'task', id);
  await tasks.change(
    id,
    { ...words, status: 'done', progress_percentage: 100, completed_at: sql<Date>`now()`, context_id: id },
    'complete',
  );
  const unblocked = await release(scope, await new TaskDependencyRepository(scope).dependentsOf(id));
  return { task: found(await tasks.get(id), 'task'), unblocked };
}

async function requireSubtasksDone(scope: ProductUserScope, id: string): Promise<void> {
  const open = await new SubtaskRepository(scope).unfinishedOf(id);
  if (open.length === 0) return;
  throw problem('subtasks_unfinished', `Unfinished: ${named(open)}.`, { subtasks: open });
}
