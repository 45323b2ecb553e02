/** Labels and assignees of a task, changed as sets; a change that changes something makes a new version of the task. */
import type { AssigneesChange, LabelsChange } from '../contract/task-links.ts';
import type { ProductUserScope } from '../database/isolation.ts';
import { found, type JsonDocument } from '../repositories/base-user-scoped-repository.ts';
import { LabelRepository } from '../repositories/labels.ts';
import { TaskAssigneeRepository } from '../repositories/task-assignees.ts';
import { TaskLabelRepository } from '../repositories/task-labels.ts';
import { TaskRepository } from '../repositories/tasks.ts';
import { lockUser } from '../repositories/user-lock.ts';
import { lockTask } from './task-changes.ts';

/** Labels that do not exist yet are made. */
export async function changeLabels(
  scope: ProductUserScope,
  id: string,
  { add, remove }: LabelsChange,
  version: number | undefined,
): Promise<JsonDocument> {
  if (add.length > 0) await lockUser(scope);
  const tasks = new TaskRepository(scope);
  const links = new TaskLabelRepository(scope);
  await lockTask(scope, id, version);
  const removed = remove.length > 0 ? await links.remove(id, remove) : 0;
  const added = add.length > 0 ? await links.add(id, await new LabelRepository(scope).idsFor(id, add)) : 0;
  if (added + removed > 0) await tasks.change(id, {}, 'label');
  return found(await tasks.get(id), 'task');
}

/** Adding somebody who is assigned already changes the role and the agent. */
export async function changeAssignees(
  scope: ProductUserScope,
  id: string,
  { add, remove }: AssigneesChange,
  version: number | undefined,
): Promise<JsonDocument> {
  const tasks = new TaskRepository(scope);
  const links = new TaskAssigneeRepository(scope);
  await lockTask(scope, id, version);
  const removed = await links.remove(id, [...remove, ...add.map((one) => one.assignee_id)]);
  if (add.length > 0) await links.add(id, add);
  if (add.length + removed > 0) await tasks.change(id, {}, 'assign');
  return found(await tasks.get(id), 'task');
}
