/** Which tasks a list, a next task or a figure is about, and in what order. */
import { type SelectQueryBuilder, sql } from 'kysely';
import type { TaskQuery, TaskSort } from '../contract/tasks.ts';
import type { Database } from '../database/tables.gen.ts';
import type { Sort } from './page.ts';

export type TaskFilter = Partial<Omit<TaskQuery, 'limit' | 'cursor' | 'sort'>>;

/** Lists go as one array parameter, so that a statement's text does not depend on their length. */
export function filterTasks<Row>(
  query: SelectQueryBuilder<Database, 'tasks', Row>,
  filter: TaskFilter,
): SelectQueryBuilder<Database, 'tasks', Row> {
  let tasks = query;
  if (filter.status) tasks = tasks.where(sql<boolean>`tasks.status = any(${filter.status}::text[])`);
  if (filter.priority) tasks = tasks.where(sql<boolean>`tasks.priority = any(${filter.priority}::text[])`);
  if (filter.git_branch_id) tasks = tasks.where('tasks.git_branch_id', '=', filter.git_branch_id);
  if (filter.due_before) tasks = tasks.where('tasks.due_date', '<', sql<Date>`${filter.due_before}::timestamptz`);
  if (filter.due_after) tasks = tasks.where('tasks.due_date', '>', sql<Date>`${filter.due_after}::timestamptz`);
  const { project_id, assignee, label, q } = filter;
  if (project_id) {
    tasks = tasks.where((eb) =>
      eb(
        'tasks.git_branch_id',
        'in',
        eb.selectFrom('project_git_branchs as b').where('b.project_id', '=', project_id).select('b.id'),
      ),
    );
  }
  if (assignee) {
    tasks = tasks.where((eb) =>
      eb(
        'tasks.id',
        'in',
        eb
          .selectFrom('task_assignees as f')
          .where(sql<boolean>`f.assignee_id = any(${assignee}::text[])`)
          .select('f.task_id'),
      ),
    );
  }
  if (label) {
    tasks = tasks.where((eb) =>
      eb(
        'tasks.id',
        'in',
        eb
          .selectFrom('task_labels as f')
          .innerJoin('labels as l', 'l.id', 'f.label_id')
          .where(sql<boolean>`l.name = any(${label}::text[])`)
          .select('f.task_id'),
      ),
    );
  }
  if (q) {
    const pattern = `%${q.replaceAll(/[\\%_]/g, '\\$&')}%`;
    tasks = tasks.where((eb) =>
      eb.or([
        eb('tasks.title', 'ilike', pattern),
        eb('tasks.description', 'ilike', pattern),
        eb('tasks.details', 'ilike', pattern),
      ]),
    );
  }
  return tasks;
}

const sorts = {
  created_at: { key: 'v.created_at', type: 'timestamptz' },
  updated_at: { key: 'v.updated_at', type: 'timestamptz' },
  // Tasks without a due date come last, and first when the order is turned round.
  due_date: { key: "coalesce(v.due_date, 'infinity')", type: 'timestamptz' },
  priority: { key: 'v.priority_rank', type: 'smallint' },
  title: { key: 'v.title', type: 'text' },
} as const satisfies Record<TaskSort, Pick<Sort, 'key' | 'type'>>;

export function taskSort(sort: TaskQuery['sort']): Sort {
  const descending = sort.startsWith('-');
  const name = (descending ? sort.slice(1) : sort) as TaskSort;
  return { name, ...sorts[name], direction: descending ? 'desc' : 'asc' };
}
