/** Subtasks, and what they do to the progress of their task. The task is always locked first: see lockUser. */
import { sql } from 'kysely';
import type { SubtaskComplete, SubtaskCreate, SubtaskPatch, SubtaskStatus } from '../contract/subtasks.ts';
import type { ProductUserScope } from '../database/isolation.ts';
import { problem } from '../errors.ts';
import { found, type JsonDocument } from '../repositories/base-user-scoped-repository.ts';
import { type LockedSubtask, type SubtaskChange, SubtaskRepository } from '../repositories/subtasks.ts';
import { TaskAssigneeRepository } from '../repositories/task-assignees.ts';
import { type LockedTask, TaskRepository } from '../repositories/tasks.ts';
import { requireVersion } from './change.ts';
import { lockTask } from './task-changes.ts';
import { closedStatuses, requireOpen } from './task-transitions.ts';

/** Takes the task's assignees when it names none. */
export async function createSubtask(
  scope: ProductUserScope,
  taskId: string,
  subtask: SubtaskCreate,
): Promise<JsonDocument> {
  const task = await lockTask(scope, taskId, undefined);
  requireOpen(task, 'it gets no more subtasks');
  const subtasks = new SubtaskRepository(scope);
  const assignees =
    subtask.assignees ?? (await new TaskAssigneeRepository(scope).list(taskId)).map((one) => one.assignee_id);
  const id = await subtasks.create(taskId, {
    ...subtask,
    assignees,
    status: statusAt(subtask.progress_percentage ?? 0),
  });
  await carryProgress(scope, task);
  return found(await subtasks.get(id), 'subtask');
}

export async function changeSubtask(
  scope: ProductUserScope,
  id: string,
  patch: SubtaskPatch,
  version: number | undefined,
): Promise<JsonDocument> {
  const { task, subtask } = await lockSubtask(scope, id, version);
  const { status, progress_percentage, ...fields } = patch;
  const subtasks = new SubtaskRepository(scope);
  const change: SubtaskChange = { ...fields, ...progressChange(subtask, status, progress_percentage) };
  const moves = change.progress_percentage !== undefined;
  if (moves) requireOpen(task, 'the progress of its subtasks stands');
  if (Object.keys(change).length > 0) await subtasks.change(id, change);
  if (moves) await carryProgress(scope, task);
  return found(await subtasks.get(id), 'subtask');
}

/** A second call changes the summary and the findings, and nothing else. */
export async function completeSubtask(
  scope: ProductUserScope,
  id: string,
  completion: SubtaskComplete,
  version: number | undefined,
): Promise<JsonDocument> {
  const { task, subtask } = await lockSubtask(scope, id, version);
  const subtasks = new SubtaskRepository(scope);
  if (subtask.status !== 'done') requireOpen(task, 'the progress of its subtasks stands');
  await subtasks.change(id, { ...completion, ...progressChange(subtask, 'done', undefined) }, 'complete');
  await carryProgress(scope, task);
  return found(await subtasks.get(id), 'subtask');
}

/** @returns the progress of the task without it */
export async function removeSubtask(scope: ProductUserScope, id: string, version: number | undefined): Promise<number> {
  const { task } = await lockSubtask(scope, id, version);
  await new SubtaskRepository(scope).remove(id);
  return carryProgress(scope, task);
}

async function lockSubtask(
  scope: ProductUserScope,
  id: string,
  version: number | undefined,
): Promise<{ task: LockedTask; subtask: LockedSubtask }> {
  const subtasks = new SubtaskRepository(scope);
  const task = await new TaskRepository(scope).lock(found(await subtasks.taskOf(id), 'subtask'));
  const subtask = found(await subtasks.lock(id), 'subtask');
  requireVersion('subtask', subtask, version);
  return { task: found(task, 'subtask'), subtask };
}

/** Writes the mean over the subtasks to their task, if that is news to it. Without subtasks it keeps what it has. */
async function carryProgress(scope: ProductUserScope, task: LockedTask): Promise<number> {
  const progress = await new SubtaskRepository(scope).progressOf(task.id);
  const stands = progress === null || progress === task.progress_percentage || closedStatuses.includes(task.status);
  if (stands) return task.progress_percentage;
  await new TaskRepository(scope).change(task.id, { progress_percentage: progress }, 'progress');
  return progress;
}

/**
 * Status and percentage are one fact. A status alone brings its percentage along; work in progress that does not say
 * how far it is counts as half done.
 *
 * @returns nothing when the subtask is there already
 */
function progressChange(
  subtask: LockedSubtask,
  status: SubtaskStatus | undefined,
  percentage: number | undefined,
): SubtaskChange {
  const to = percentage ?? (status === undefined || status === subtask.status ? undefined : percentageOf[status]);
  if (to === undefined) return {};
  if (status !== undefined && status !== statusAt(to)) {
    throw problem('validation_failed', `progress_percentage: ${to} means ${statusAt(to)}, not ${status}.`);
  }
  if (to === subtask.progress_percentage) return {};
  return {
    status: statusAt(to),
    progress_percentage: to,
    completed_at: to === 100 ? sql<Date>`now()` : null,
  };
}

const percentageOf = { todo: 0, in_progress: 50, done: 100 } as const satisfies Record<SubtaskStatus, number>;

function statusAt(percentage: number): SubtaskStatus {
  if (percentage === 0) return 'todo';
  return percentage === 100 ? 'done' : 'in_progress';
}
