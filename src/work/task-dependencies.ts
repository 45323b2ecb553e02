/** Which task waits for which, without cycles. */
import type { ProductUserScope } from '../database/isolation.ts';
import { problem } from '../errors.ts';
import { found, type JsonDocument } from '../repositories/base-user-scoped-repository.ts';
import { TaskDependencyRepository, type TaskTitle } from '../repositories/task-dependencies.ts';
import { TaskRepository } from '../repositories/tasks.ts';
import { lockUser } from '../repositories/user-lock.ts';
import { requireVersion } from './change.ts';
import { lockTask, named, release } from './task-changes.ts';
import { requireOpen } from './task-transitions.ts';

/**
 * Makes one task wait for another.
 *
 * @throws Problem `dependency_cycle` with the cycle, `already_exists`, `not_found`, `conflict` for a closed task
 */
export async function addDependency(
  scope: ProductUserScope,
  id: string,
  dependsOn: string,
  version: number | undefined,
): Promise<JsonDocument> {
  // Two additions of one user take turns, so what the walk sees is still true when the dependency is written.
  await lockUser(scope);
  const tasks = new TaskRepository(scope);
  const locked = await tasks.lockAll([id, dependsOn]);
  const task = found(
    locked.find((row) => row.id === id),
    'task',
  );
  requireVersion('task', task, version);
  const dependency = locked.find((row) => row.id === dependsOn);
  if (!dependency) throw problem('not_found', 'depends_on_task_id: there is no such task.');
  requireOpen(task, 'it waits for nothing more');
  await requireNoCycle(scope, task, dependency);
  await new TaskDependencyRepository(scope).add(id, [dependsOn]);
  await tasks.change(id, {}, 'add_dependency');
  return found(await tasks.get(id), 'task');
}

/** A task that is blocked and then waits for nothing any more is `todo` again. */
export async function removeDependency(
  scope: ProductUserScope,
  id: string,
  dependsOn: string,
  version: number | undefined,
): Promise<JsonDocument> {
  await lockUser(scope);
  const tasks = new TaskRepository(scope);
  await lockTask(scope, id, version);
  found((await new TaskDependencyRepository(scope).remove(id, dependsOn)) || undefined, 'dependency');
  if ((await release(scope, [id])).length === 0) await tasks.change(id, {}, 'remove_dependency');
  return found(await tasks.get(id), 'task');
}

async function requireNoCycle(scope: ProductUserScope, task: TaskTitle, dependency: TaskTitle): Promise<void> {
  if (dependency.id === task.id) throw cycle([task]);
  const dependencies = new TaskDependencyRepository(scope);
  if (!(await dependencies.reaches(dependency.id, task.id))) return;
  throw cycle(wayBack(task, dependency, await dependencies.edgesFrom(dependency.id)));
}

const cycleShownMax = 50;

function cycle(tasks: readonly TaskTitle[]) {
  const around = `${named(tasks)}${tasks.length > 1 ? ' and back' : ', which is the task itself'}`;
  return problem('dependency_cycle', `The dependency would close a cycle: ${around}.`, {
    cycle: tasks.slice(0, cycleShownMax).map(({ id, title }) => ({ id, title })),
    cycle_length: tasks.length,
  });
}

type Edge = Awaited<ReturnType<TaskDependencyRepository['edgesFrom']>>[number];

/** The shortest way from the dependency back to the task, the task first: the cycle that would come about. */
function wayBack(task: TaskTitle, start: TaskTitle, edges: readonly Edge[]): TaskTitle[] {
  const next = Map.groupBy(edges, (edge) => edge.task_id);
  const cameFrom = new Map([[start.id, task.id]]);
  const queue = [start.id];
  for (let at = queue.shift(); at !== undefined && at !== task.id; at = queue.shift()) {
    for (const edge of next.get(at) ?? []) {
      if (cameFrom.has(edge.depends_on_task_id)) continue;
      cameFrom.set(edge.depends_on_task_id, at);
      queue.push(edge.depends_on_task_id);
    }
  }
  const titles = new Map([
    [start.id, start.title],
    ...edges.map((edge) => [edge.depends_on_task_id, edge.title] as const),
  ]);
  const way: TaskTitle[] = [];
  for (let at = cameFrom.get(task.id); at !== undefined && at !== task.id; at = cameFrom.get(at)) {
    way.unshift({ id: at, title: titles.get(at) ?? '' });
  }
  return [task, ...way];
}
