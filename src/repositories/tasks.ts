import { type RawBuilder, sql } from 'kysely';
import type { Priority, TaskStatus } from '../contract/task-fields.ts';
import type { TaskQuery } from '../contract/tasks.ts';
import type { Database } from '../database/tables.gen.ts';
import { PreparedStatement } from '../isolation/prepared.ts';
import { BaseUserScopedRepository, documentStatement, type JsonDocument } from './base-user-scoped-repository.ts';
import { type Page, type PageRow, pageOf, pageStatement, readCursor, usualLimits } from './page.ts';
import { filterTasks, taskSort } from './task-filter.ts';
import { taskDetails, taskView } from './task-view.ts';

/** A task as the rules need it, read and locked. */
export interface LockedTask {
  readonly id: string;
  readonly title: string;
  readonly git_branch_id: string;
  readonly status: TaskStatus;
  readonly archived_from: 'done' | 'cancelled' | null;
  readonly progress_percentage: number;
  readonly version: number;
}

export interface NewTask {
  readonly git_branch_id: string;
  readonly title: string;
  readonly description: string;
  readonly details?: string | undefined;
  readonly priority?: Priority | undefined;
  readonly estimated_effort?: string | undefined;
  readonly due_date?: string | null | undefined;
}

/** What may be written to a task; its version and time of change come by themselves. */
export interface TaskChange {
  readonly git_branch_id?: string | undefined;
  readonly title?: string | undefined;
  readonly description?: string | undefined;
  readonly details?: string | undefined;
  readonly status?: TaskStatus | undefined;
  readonly archived_from?: 'done' | 'cancelled' | null | undefined;
  readonly priority?: Priority | undefined;
  readonly estimated_effort?: string | undefined;
  readonly due_date?: string | null | undefined;
  readonly completed_at?: RawBuilder<Date> | null | undefined;
  readonly completion_summary?: string | undefined;
  readonly testing_notes?: string | undefined;
  readonly context_id?: string | undefined;
  readonly progress_percentage?: number | undefined;
}

const oneTask = new PreparedStatement<Database, { id: string }, JsonDocument>((db, argument) =>
  documentStatement(db, taskView(db).where('t.id', '=', argument('id'))),
);

type PlainList = PreparedStatement<Database, { key: string; id: string }, PageRow>;
const plainLists = new Map<string, PlainList>();
const noPosition = { key: '', id: '' };

/** The list without a filter, as it is asked for most: one statement for each order, usual limit, and first or later page. */
function plainList(name: TaskQuery['sort'], limit: number, later: boolean): PlainList {
  const known = plainLists.get(`${name} ${limit} ${later}`);
  if (known) return known;
  const made: PlainList = new PreparedStatement((db, argument) => {
    const after = later ? { key: argument('key'), id: argument('id') } : undefined;
    return pageStatement(db, db.selectFrom('tasks').selectAll('tasks'), taskSort(name), limit, after, taskDetails(db));
  });
  plainLists.set(`${name} ${limit} ${later}`, made);
  return made;
}

export class TaskRepository extends BaseUserScopedRepository {
  protected readonly table = 'tasks';

  async list(query: TaskQuery): Promise<Page> {
    const { sort: name, limit, cursor, ...filter } = query;
    const sort = taskSort(name);
    if (Object.keys(filter).length === 0 && usualLimits.has(limit)) {
      const after = readCursor(sort, cursor);
      const statement = plainList(name, limit, after !== undefined);
      return pageOf(await this.scope.firstPrepared(statement, after ?? noPosition), sort, limit);
    }
    const tasks = filterTasks(this.db.selectFrom('tasks').selectAll('tasks'), filter);
    return this.page(tasks, sort, query, taskDetails(this.db));
  }

  get(id: string): Promise<JsonDocument | undefined> {
    return this.scope.firstPrepared(oneTask, { id });
  }

  async exists(id: string): Promise<boolean> {
    return (await this.scope.first(this.db.selectFrom('tasks').select('id').where('id', '=', id))) !== undefined;
  }

  /** @param id a new one: the caller needs it for what follows in the same flush */
  async create(id: string, task: NewTask): Promise<void> {
    await this.write(
      'create',
      this.db
        .insertInto('tasks')
        .values({
          id,
          git_branch_id: task.git_branch_id,
          title: task.title,
          description: task.description,
          details: task.details ?? '',
          priority: task.priority ?? 'medium',
          estimated_effort: task.estimated_effort ?? '',
          due_date: task.due_date ?? null,
        })
        .returning('id'),
    );
  }

  /** Reads a task and keeps others from changing it until the transaction ends. */
  async lock(id: string): Promise<LockedTask | undefined> {
    return (await this.lockAll([id]))[0];
  }

  /** In the order of their ids, so that two who lock the same tasks wait for each other and never deadlock. */
  lockAll(ids: readonly string[]): Promise<LockedTask[]> {
    return this.scope.all<LockedTask>(
      this.db
        .selectFrom('tasks')
        .select(['id', 'title', 'git_branch_id', 'status', 'archived_from', 'progress_percentage', 'version'])
        .where(sql<boolean>`tasks.id = any(${[...ids]}::uuid[])`)
        .orderBy('id')
        // Not `for update`: that would also hold up everybody who adds a row that refers to the task.
        .forNoKeyUpdate(),
    );
  }

  /**
   * Changes a task that is locked.
   *
   * @param operation for the access log
   * @param reason why, where the caller was asked for it
   */
  async change(id: string, change: TaskChange, operation = 'update', reason = ''): Promise<void> {
    await this.changeAll([id], change, operation, reason);
  }

  async changeAll(ids: readonly string[], change: TaskChange, operation: string, reason = ''): Promise<void> {
    await this.write(
      operation,
      this.db
        .updateTable('tasks')
        .set({ ...change, version: sql<number>`version + 1`, updated_at: sql<Date>`now()` })
        .where(sql<boolean>`tasks.id = any(${[...ids]}::uuid[])`)
        .returning('id'),
      reason,
    );
  }

  /** Takes its subtasks, dependencies, assignees, label links and context with it. */
  async remove(id: string): Promise<boolean> {
    return (await this.write('delete', this.db.deleteFrom('tasks').where('id', '=', id).returning('id'))) > 0;
  }
}
