/** How a task looks on the wire, in one statement: columns, and what hangs on the task as correlated subqueries. */
import { type ExpressionBuilder, sql } from 'kysely';
import type { ProductUserScope } from '../database/isolation.ts';
import type { Database } from '../database/tables.gen.ts';

const columns = [
  'tasks.id',
  'tasks.git_branch_id',
  'tasks.title',
  'tasks.description',
  'tasks.details',
  'tasks.status',
  'tasks.archived_from',
  'tasks.priority',
  'tasks.estimated_effort',
  'tasks.due_date',
  'tasks.completed_at',
  'tasks.completion_summary',
  'tasks.testing_notes',
  'tasks.context_id',
  'tasks.progress_percentage',
  'tasks.version',
  'tasks.created_at',
  'tasks.updated_at',
] as const;

type Tasks = ExpressionBuilder<Database, 'tasks'>;

/** Subqueries and no joins: they run for the rows that are returned and for no others. */
export function taskView(db: ProductUserScope['db']) {
  return db
    .selectFrom('tasks')
    .select(columns)
    .select((eb) => [
      labelNames(eb).as('labels'),
      assignees(eb).as('assignees'),
      dependencyIds(eb).as('dependencies'),
      isBlocked(eb).as('is_blocked'),
      subtaskCount(eb).as('subtask_count'),
      subtaskCount(eb).where('task_subtasks.status', '=', 'done').as('subtask_done_count'),
    ]);
}

/**
 * Whether a dependency, under the alias `d`, still has to be done. One that was archived after it was done is done; a
 * cancelled one is not: somebody has to say that it is not needed, by taking the dependency away.
 */
export const unfinished = sql<boolean>`(d.status <> 'done' and d.archived_from is distinct from 'done')`;

/** The unfinished dependencies of `tasks`; the dependency is `d`. */
export function unfinishedDependencies(eb: Tasks) {
  return eb
    .selectFrom('task_dependencies')
    .innerJoin('tasks as d', 'd.id', 'task_dependencies.depends_on_task_id')
    .whereRef('task_dependencies.task_id', '=', 'tasks.id')
    .where(unfinished);
}

function isBlocked(eb: Tasks) {
  // An aggregate, not `exists`: Postgres guesses that it is asked for every task of the user and hashes all their
  // dependencies for an `exists` (50 ms at 50 k tasks), while this is one look into an index for a row that is shown.
  const waits = unfinishedDependencies(eb).select(sql<boolean>`count(*) > 0`.as('waits'));
  return sql<boolean>`case when tasks.status = 'blocked' then true
    when tasks.status in ('done', 'cancelled', 'archived') then false else ${waits} end`;
}

function labelNames(eb: Tasks) {
  return eb
    .selectFrom('task_labels')
    .innerJoin('labels', 'labels.id', 'task_labels.label_id')
    .whereRef('task_labels.task_id', '=', 'tasks.id')
    .select(sql<string[]>`coalesce(json_agg(labels.name order by labels.name), '[]')`.as('names'));
}

function assignees(eb: Tasks) {
  return eb
    .selectFrom('task_assignees as a')
    .whereRef('a.task_id', '=', 'tasks.id')
    .select(
      sql<unknown[]>`coalesce(json_agg(json_build_object('assignee_id', a.assignee_id, 'agent_id', a.agent_id,
        'role', a.role) order by a.assigned_at, a.id), '[]')`.as('list'),
    );
}

function dependencyIds(eb: Tasks) {
  return eb
    .selectFrom('task_dependencies as p')
    .whereRef('p.task_id', '=', 'tasks.id')
    .select(sql<string[]>`coalesce(json_agg(p.depends_on_task_id order by p.created_at, p.id), '[]')`.as('ids'));
}

function subtaskCount(eb: Tasks) {
  return eb
    .selectFrom('task_subtasks')
    .whereRef('task_subtasks.task_id', '=', 'tasks.id')
    .select((inner) => inner.fn.countAll<number>().as('count'));
}
