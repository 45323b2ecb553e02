/** Looks over many tasks at once: what is next, what is blocked, how much there is. */
import { sql } from 'kysely';
import type { Priority, TaskStatus } from '../contract/task-fields.ts';
import type { NextTaskQuery, TaskStatsQuery } from '../contract/task-overview.ts';
import { BaseUserScopedRepository } from './base-user-scoped-repository.ts';
import { subtaskView } from './subtasks.ts';
import { filterTasks } from './task-filter.ts';
import { taskView, unfinished, unfinishedDependencies } from './task-view.ts';

export interface Candidate {
  /** JSON, as Postgres wrote it. */
  readonly task: string;
  readonly subtask: string | null;
  readonly status: TaskStatus;
  readonly priority: Priority;
  readonly due_date: Date | null;
  readonly overdue: boolean;
  readonly progress_percentage: number;
  readonly dependency_count: number;
  readonly blocking_count: number;
  readonly subtask_count: number;
  readonly subtask_done_count: number;
}

export interface WaitingTask {
  readonly id: string;
  readonly title: string;
  readonly status: TaskStatus;
}

export interface BlockedTask extends WaitingTask {
  readonly priority: Priority;
  readonly waits_for: readonly WaitingTask[];
}

export interface TaskCount {
  readonly status: TaskStatus;
  readonly priority: Priority;
  readonly count: number;
  readonly overdue: number;
}

const blockedShownMax = 20;

export class TaskOverviewRepository extends BaseUserScopedRepository {
  protected readonly table = 'tasks';

  /**
   * The first task that can be worked on: by priority, then begun before not begun, then by due date, then the oldest.
   */
  next(query: NextTaskQuery): Promise<Candidate | undefined> {
    const first = filterTasks(this.db.selectFrom('tasks').select('tasks.id'), query)
      .where('tasks.status', 'in', ['todo', 'in_progress'])
      .where((eb) => eb.not(eb.exists(unfinishedDependencies(eb).select('d.id'))))
      .orderBy('tasks.priority_rank', 'desc')
      .orderBy(sql`tasks.status = 'in_progress'`, 'desc')
      .orderBy(sql`tasks.due_date asc nulls last`)
      .orderBy('tasks.created_at')
      .orderBy('tasks.id')
      .limit(1);
    return this.scope.first<Candidate>(
      this.db
        .selectFrom(taskView(this.db).where('t.id', 'in', first).as('t'))
        .select(['t.status', 't.priority', 't.due_date', 't.progress_percentage'])
        .select(['t.subtask_count', 't.subtask_done_count'])
        .select([
          sql<string>`to_json(t)::text`.as('task'),
          sql<boolean>`coalesce(t.due_date < now(), false)`.as('overdue'),
          sql<number>`json_array_length(t.dependencies)`.as('dependency_count'),
          this.#firstUnfinishedSubtask().as('subtask'),
          this.#waitingCount().as('blocking_count'),
        ]),
    );
  }

  /** Open tasks that cannot be worked on, the most important first, and what they wait for; at most 20. */
  blocked(query: NextTaskQuery): Promise<BlockedTask[]> {
    return this.scope.all<BlockedTask>(
      filterTasks(this.db.selectFrom('tasks').select(['tasks.id', 'tasks.title']), query)
        .select(['tasks.status', 'tasks.priority'])
        .select((eb) =>
          unfinishedDependencies(eb)
            .select(
              sql<WaitingTask[]>`coalesce(json_agg(json_build_object('id', d.id, 'title', d.title, 'status', d.status)
                order by d.id), '[]')`.as('list'),
            )
            .as('waits_for'),
        )
        .where('tasks.status', 'in', ['todo', 'in_progress', 'blocked'])
        .where((eb) =>
          eb.or([eb('tasks.status', '=', 'blocked'), eb.exists(unfinishedDependencies(eb).select('d.id'))]),
        )
        .orderBy('tasks.priority_rank', 'desc')
        .orderBy('tasks.created_at')
        .orderBy('tasks.id')
        .limit(blockedShownMax),
    );
  }

  counts(query: TaskStatsQuery): Promise<TaskCount[]> {
    return this.scope.all<TaskCount>(
      filterTasks(this.db.selectFrom('tasks').select(['tasks.status', 'tasks.priority']), query)
        .select([
          sql<number>`count(*)`.as('count'),
          sql<number>`count(*) filter (where tasks.due_date < now()
            and tasks.status not in ('done', 'cancelled', 'archived'))`.as('overdue'),
        ])
        .groupBy(['tasks.status', 'tasks.priority']),
    );
  }

  /** Of the task `t`, as JSON. */
  #firstUnfinishedSubtask() {
    const first = subtaskView(this.db)
      .where('task_subtasks.task_id', '=', sql.ref<string>('t.id'))
      .where('task_subtasks.status', '<>', 'done')
      .orderBy('task_subtasks.created_at')
      .orderBy('task_subtasks.id')
      .limit(1);
    return this.db.selectFrom(first.as('s')).select(sql<string>`to_json(s)::text`.as('subtask'));
  }

  /** How many unfinished tasks wait for the task `t`. */
  #waitingCount() {
    return this.db
      .selectFrom('task_dependencies as p')
      .innerJoin('tasks as d', 'd.id', 'p.task_id')
      .where('p.depends_on_task_id', '=', sql.ref<string>('t.id'))
      .where(unfinished)
      .select((eb) => eb.fn.countAll<number>().as('count'));
  }
}
