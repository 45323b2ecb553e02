/** Which task has to wait for which. */
import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { BaseUserScopedRepository } from './base-user-scoped-repository.ts';
import type { Page, PageRequest, Sort } from './page.ts';
import { unfinished, unfinishedDependencies } from './task-view.ts';

export interface TaskTitle {
  readonly id: string;
  readonly title: string;
}

const oldestFirst: Sort = { name: 'created_at', key: 'v.created_at', type: 'timestamptz', direction: 'asc' };

export class TaskDependencyRepository extends BaseUserScopedRepository {
  protected readonly table = 'task_dependencies';

  /** What a task waits for, or what waits for it. */
  list(taskId: string, direction: 'depends_on' | 'dependents', request: PageRequest): Promise<Page> {
    const [mine, other] =
      direction === 'depends_on'
        ? (['p.task_id', 'p.depends_on_task_id'] as const)
        : (['p.depends_on_task_id', 'p.task_id'] as const);
    const view = this.db
      .selectFrom('task_dependencies as p')
      .innerJoin('tasks as d', 'd.id', other)
      .where(mine, '=', taskId)
      .select(['p.id', 'p.task_id', 'p.depends_on_task_id', 'p.dependency_type', 'p.created_at'])
      .select(['d.title', 'd.status', 'd.priority', sql<boolean>`not ${unfinished}`.as('is_done')]);
    return this.page(view, oldestFirst, request);
  }

  async add(taskId: string, dependsOn: readonly string[]): Promise<void> {
    const rows = dependsOn.map((id) => ({ id: uuidv7(), task_id: taskId, depends_on_task_id: id }));
    await this.write('create', this.db.insertInto('task_dependencies').values(rows).returning('id'));
  }

  async remove(taskId: string, dependsOn: string): Promise<boolean> {
    const removed = await this.write(
      'delete',
      this.db
        .deleteFrom('task_dependencies')
        .where('task_id', '=', taskId)
        .where('depends_on_task_id', '=', dependsOn)
        .returning('id'),
    );
    return removed > 0;
  }

  /** What a task still waits for, at most 100 of it. */
  unfinishedOf(taskId: string): Promise<TaskTitle[]> {
    return this.scope.all<TaskTitle>(
      this.db
        .selectFrom('task_dependencies as p')
        .innerJoin('tasks as d', 'd.id', 'p.depends_on_task_id')
        .where('p.task_id', '=', taskId)
        .where(unfinished)
        .select(['d.id', 'd.title'])
        .orderBy('d.id')
        .limit(100),
    );
  }

  /** The tasks that wait for this one. */
  async dependentsOf(taskId: string): Promise<string[]> {
    const rows = await this.scope.all(
      this.db.selectFrom('task_dependencies').select('task_id').where('depends_on_task_id', '=', taskId),
    );
    return rows.map((row) => row.task_id);
  }

  /** Those of the tasks that are blocked although everything they wait for is done. */
  async releasable(taskIds: readonly string[]): Promise<string[]> {
    const rows = await this.scope.all(
      this.db
        .selectFrom('tasks')
        .select('tasks.id')
        .where(sql<boolean>`tasks.id = any(${[...taskIds]}::uuid[])`)
        .where('tasks.status', '=', 'blocked')
        .where((eb) => eb.not(eb.exists(unfinishedDependencies(eb).select('d.id'))))
        .orderBy('tasks.id'),
    );
    return rows.map((row) => row.id);
  }

  /** Whether one comes to the other by going from task to dependency, over any number of tasks. */
  async reaches(from: string, to: string): Promise<boolean> {
    const row = await this.scope.first(
      this.#reachable(from).selectFrom('reachable').select('reachable.id').where('reachable.id', '=', to).limit(1),
    );
    return row !== undefined;
  }

  /** All dependencies among what can be reached, with both titles; for naming a cycle. */
  edgesFrom(from: string): Promise<{ task_id: string; depends_on_task_id: string; title: string }[]> {
    return this.scope.all(
      this.#reachable(from)
        .selectFrom('reachable')
        .innerJoin('task_dependencies as e', 'e.task_id', 'reachable.id')
        .innerJoin('tasks as d', 'd.id', 'e.depends_on_task_id')
        .select(['e.task_id', 'e.depends_on_task_id', 'd.title']),
    );
  }

  /** `union`, not `union all`: each task is visited once, however many ways lead to it. */
  #reachable(from: string) {
    return this.db.withRecursive('reachable', (db) =>
      db
        .selectFrom('tasks')
        .select('tasks.id')
        .where('tasks.id', '=', from)
        .union(
          db
            .selectFrom('reachable')
            .innerJoin('task_dependencies', 'task_dependencies.task_id', 'reachable.id')
            .select('task_dependencies.depends_on_task_id as id'),
        ),
    );
  }
}
