import { type RawBuilder, sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import type { SubtaskCreate, SubtaskPatch, SubtaskStatus } from '../contract/subtasks.ts';
import type { ProductUserScope } from '../database/isolation.ts';
import { BaseUserScopedRepository, type JsonDocument } from './base-user-scoped-repository.ts';
import type { Page, PageRequest, Sort } from './page.ts';
import type { TaskTitle } from './task-dependencies.ts';

export interface LockedSubtask {
  readonly id: string;
  readonly task_id: string;
  readonly status: SubtaskStatus;
  readonly progress_percentage: number;
  readonly version: number;
}

export type SubtaskChange = SubtaskPatch & {
  readonly completion_summary?: string;
  readonly completed_at?: RawBuilder<Date> | null;
};

const oldestFirst: Sort = { name: 'created_at', key: 'v.created_at', type: 'timestamptz', direction: 'asc' };

export class SubtaskRepository extends BaseUserScopedRepository {
  protected readonly table = 'task_subtasks';

  list(taskId: string, request: PageRequest): Promise<Page> {
    return this.page(subtaskView(this.db).where('task_subtasks.task_id', '=', taskId), oldestFirst, request);
  }

  get(id: string): Promise<JsonDocument | undefined> {
    return this.document(subtaskView(this.db).where('task_subtasks.id', '=', id));
  }

  async taskOf(id: string): Promise<string | undefined> {
    const row = await this.scope.first(this.db.selectFrom('task_subtasks').select('task_id').where('id', '=', id));
    return row?.task_id;
  }

  /** Its task has to be locked before, always: see lockUser. */
  lock(id: string): Promise<LockedSubtask | undefined> {
    return this.scope.first<LockedSubtask>(
      this.db
        .selectFrom('task_subtasks')
        .select(['id', 'task_id', 'status', 'progress_percentage', 'version'])
        .where('id', '=', id)
        .forNoKeyUpdate(),
    );
  }

  /** @returns the id of the new subtask */
  async create(taskId: string, subtask: SubtaskCreate & { readonly status: SubtaskStatus }): Promise<string> {
    const id = uuidv7();
    await this.write(
      'create',
      this.db
        .insertInto('task_subtasks')
        .values({
          id,
          task_id: taskId,
          title: subtask.title,
          description: subtask.description ?? '',
          status: subtask.status,
          priority: subtask.priority ?? 'medium',
          assignees: subtask.assignees ?? [],
          estimated_effort: subtask.estimated_effort ?? '',
          progress_percentage: subtask.progress_percentage ?? 0,
          completed_at: subtask.status === 'done' ? sql<Date>`now()` : null,
        })
        .returning('id'),
    );
    return id;
  }

  async change(id: string, change: SubtaskChange, operation = 'update'): Promise<void> {
    await this.write(
      operation,
      this.db
        .updateTable('task_subtasks')
        .set({ ...change, version: sql<number>`version + 1`, updated_at: sql<Date>`now()` })
        .where('id', '=', id)
        .returning('id'),
    );
  }

  async remove(id: string): Promise<boolean> {
    return (await this.write('delete', this.db.deleteFrom('task_subtasks').where('id', '=', id).returning('id'))) > 0;
  }

  /** The mean over a task's subtasks, rounded down so that 100 means all; null without subtasks. */
  async progressOf(taskId: string): Promise<number | null> {
    const row = await this.scope.first(
      this.db
        .selectFrom('task_subtasks')
        .where('task_id', '=', taskId)
        .select(sql<number | null>`floor(avg(task_subtasks.progress_percentage))::int`.as('progress')),
    );
    return row?.progress ?? null;
  }

  /** At most 100 of them. */
  unfinishedOf(taskId: string): Promise<TaskTitle[]> {
    return this.scope.all<TaskTitle>(
      this.db
        .selectFrom('task_subtasks')
        .select(['id', 'title'])
        .where('task_id', '=', taskId)
        .where('status', '<>', 'done')
        .orderBy('id')
        .limit(100),
    );
  }
}

/** How a subtask looks on the wire. */
export function subtaskView(db: ProductUserScope['db']) {
  return db
    .selectFrom('task_subtasks')
    .select([
      'id',
      'task_id',
      'title',
      'description',
      'status',
      'priority',
      'assignees',
      'estimated_effort',
      'progress_percentage',
      'progress_notes',
      'blockers',
      'completion_summary',
      'impact_on_parent',
      'insights_found',
      'completed_at',
      'version',
      'created_at',
      'updated_at',
    ])
    .select((eb) =>
      eb
        .selectFrom('tasks')
        .whereRef('tasks.id', '=', 'task_subtasks.task_id')
        .select('tasks.progress_percentage')
        .as('parent_progress'),
    );
}
