/** How far the tasks of a branch or a project are, counted by Postgres when it is read: nothing to keep in step. */
import { sql } from 'kysely';

/** Over `tasks`; what was cancelled, also before it was archived, does not count towards progress. */
export const taskCounts = [
  sql<number>`count(tasks.id)::integer`.as('total'),
  sql<number>`(count(tasks.id) filter (where tasks.status = 'done' or tasks.archived_from = 'done'))::integer`.as(
    'completed',
  ),
  sql<number>`count(tasks.id) filter (where tasks.status = 'cancelled' or tasks.archived_from = 'cancelled')`.as(
    'cancelled',
  ),
] as const;

/** What is told of them; `t` is the sub-select with the counts above. Rounded down: 100 means all of it. */
export const countColumns = [
  sql<number>`t.total`.as('task_count'),
  sql<number>`t.completed`.as('completed_task_count'),
  sql<number>`coalesce(100 * t.completed / nullif(t.total - t.cancelled, 0), 0)::integer`.as('progress_percentage'),
] as const;
