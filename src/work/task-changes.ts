/** Changing a task that exists: its fields, its status, and its end. */
import type { TaskPatch } from '../contract/tasks.ts';
import type { ProductUserScope } from '../database/isolation.ts';
import { problem } from '../errors.ts';
import { found, type JsonDocument } from '../repositories/base-user-scoped-repository.ts';
import { SubtaskRepository } from '../repositories/subtasks.ts';
import { TaskDependencyRepository, type TaskTitle } from '../repositories/task-dependencies.ts';
import { type LockedTask, type TaskChange, TaskRepository } from '../repositories/tasks.ts';
import { lockUser } from '../repositories/user-lock.ts';
import { requireVersion } from './change.ts';
import { requireOpen, requireTransition, requireVerb } from './task-transitions.ts';

/**
 * Locks a task for a change.
 *
 * @param version the version that the caller has seen; undefined takes whatever is there
 * @throws Problem `not_found`, `version_mismatch`
 */
export async function lockTask(scope: ProductUserScope, id: string, version: number | undefined): Promise<LockedTask> {
  const task = found(await new TaskRepository(scope).lock(id), 'task');
  requireVersion('task', task, version);
  return task;
}

export async function changeTask(
  scope: ProductUserScope,
  id: string,
  patch: TaskPatch,
  version: number | undefined,
): Promise<JsonDocument> {
  const tasks = new TaskRepository(scope);
  const task = await lockTask(scope, id, version);
  const { status, progress_percentage, ...fields } = patch;
  let change: TaskChange = fields;
  if (status !== undefined && status !== task.status) change = { ...change, ...(await enter(scope, task, status)) };
  if (progress_percentage !== undefined && progress_percentage !== task.progress_percentage) {
    await requireOwnProgress(scope, task);
    change = { ...change, progress_percentage };
  }
  // The same status again is no change, so it makes no new version either.
  if (Object.keys(change).length > 0) await tasks.change(id, change);
  return found(await tasks.get(id), 'task');
}

/** What a task's row becomes when its status is set. */
async function enter(scope: ProductUserScope, task: LockedTask, to: LockedTask['status']): Promise<TaskChange> {
  requireTransition(task.status, to);
  if (task.status === 'blocked' && to === 'in_progress') await requireDependenciesDone(scope, task.id);
  if (to === 'archived') return { status: to, archived_from: task.status === 'done' ? 'done' : 'cancelled' };
  return { status: to };
}

/** @throws Problem `dependencies_unfinished` naming them */
export async function requireDependenciesDone(scope: ProductUserScope, id: string): Promise<void> {
  const waitsFor = await new TaskDependencyRepository(scope).unfinishedOf(id);
  if (waitsFor.length === 0) return;
  throw problem('dependencies_unfinished', `The task waits for ${named(waitsFor)}.`, { dependencies: waitsFor });
}

const namedMax = 5;

/** The first few of a list of tasks, as part of a sentence. */
export function named(tasks: readonly TaskTitle[]): string {
  const rest = tasks.length - namedMax;
  const shown = tasks.slice(0, namedMax).map((task) => `"${task.title}" (${task.id})`);
  return `${shown.join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}

async function requireOwnProgress(scope: ProductUserScope, task: LockedTask): Promise<void> {
  requireOpen(task, 'its progress stands');
  if ((await new SubtaskRepository(scope).progressOf(task.id)) !== null) {
    throw problem('conflict', 'progress_percentage: it is the mean over the subtasks; change theirs.');
  }
}

/** Opens a task again that was done. The reason goes into the access log. */
export async function reopenTask(
  scope: ProductUserScope,
  id: string,
  reason: string,
  version: number | undefined,
): Promise<JsonDocument> {
  const tasks = new TaskRepository(scope);
  const task = await lockTask(scope, id, version);
  requireVerb(task.status, 'reopen');
  // Work in progress that does not say how far it is counts as half done.
  const progress = (await new SubtaskRepository(scope).progressOf(id)) ?? 50;
  await tasks.change(
    id,
    { status: 'in_progress', completed_at: null, progress_percentage: progress },
    'reopen',
    reason,
  );
  return found(await tasks.get(id), 'task');
}

export async function archiveTask(
  scope: ProductUserScope,
  id: string,
  version: number | undefined,
): Promise<JsonDocument> {
  const tasks = new TaskRepository(scope);
  const task = await lockTask(scope, id, version);
  if (task.status !== 'archived') {
    requireVerb(task.status, 'archive');
    await tasks.change(id, await enter(scope, task, 'archived'), 'archive');
  }
  return found(await tasks.get(id), 'task');
}

/** Back to the status it was archived from. */
export async function restoreTask(
  scope: ProductUserScope,
  id: string,
  version: number | undefined,
): Promise<JsonDocument> {
  const tasks = new TaskRepository(scope);
  const task = await lockTask(scope, id, version);
  requireVerb(task.status, 'restore');
  await tasks.change(id, { status: task.archived_from ?? 'cancelled', archived_from: null }, 'restore');
  return found(await tasks.get(id), 'task');
}

/** @returns the ids of the tasks that waited for it alone, which are `todo` again */
export async function removeTask(scope: ProductUserScope, id: string, version: number | undefined): Promise<string[]> {
  await lockUser(scope);
  await lockTask(scope, id, version);
  const dependents = await new TaskDependencyRepository(scope).dependentsOf(id);
  await new TaskRepository(scope).remove(id);
  return release(scope, dependents);
}

/**
 * Unblocks those of the tasks that wait for nothing any more. Needs the user's lock.
 *
 * @returns their ids
 */
export async function release(scope: ProductUserScope, ids: readonly string[]): Promise<string[]> {
  if (ids.length === 0) return [];
  const tasks = new TaskRepository(scope);
  await tasks.lockAll(ids);
  const free = await new TaskDependencyRepository(scope).releasable(ids);
  if (free.length > 0) await tasks.changeAll(free, { status: 'todo' }, 'unblock');
  return free;
}
