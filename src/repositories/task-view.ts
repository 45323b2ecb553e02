/** How a task looks on the wire. */
import { type ExpressionBuilder, sql } from 'kysely';
import type { ProductUserScope } from '../database/isolation.ts';
import type { Database } from '../database/tables.gen.ts';

type Builder = ProductUserScope['db'];

/** All columns but the rank, which is there for sorting alone. */
const columns = [
  'id',
  'git_branch_id',
  'title',
  'description',
  'details',
  'status',
  'archived_from',
  'priority',
  'estimated_effort',
  'due_date',
  'completed_at',
  'completion_summary',
  'testing_notes',
  'context_id',
  'progress_percentage',
  'version',
  'created_at',
  'updated_at',
] as const;

/** The task that the subqueries below belong to goes by `t`. */
const taskId = sql.ref<string>('t.id');

/**
 * One task, `t`, with what hangs on it: for a lateral join, so that it runs for the rows that are shown and no others.
 *
 * Each owned table is read in one place alone. Each costs a check of the identity, so two counts of the subtasks, or
 * the dependencies and whether they are done, are better got in one go.
 */
export function taskDetails(db: Builder) {
  return db
    .selectFrom(dependenciesOf(db).as('p'))
    .innerJoin(subtasksOf(db).as('s'), (join) => join.onTrue())
    .select(columns.map((column) => sql.ref(`t.${column}`).as(column)))
    .select([
      labelNames(db).as('labels'),
      assignees(db).as('assignees'),
      'p.ids as dependencies',
      sql<boolean>`t.status = 'blocked' or (p.waits and t.status not in ('done', 'cancelled', 'archived'))`.as(
        'is_blocked',
      ),
      's.total as subtask_count',
      's.done as subtask_done_count',
    ]);
}

/** Tasks with what hangs on them; in conditions the task is `t`. For one task or a few: a list limits first. */
export function taskView(db: Builder) {
  return db
    .selectFrom('tasks as t')
    .innerJoinLateral(taskDetails(db).as('shown'), (join) => join.onTrue())
    .selectAll('shown');
}

/**
 * Whether a dependency, under the alias `d`, still has to be done. One that was archived after it was done is done; a
 * cancelled one is not: somebody has to say that it is not needed, by taking the dependency away.
 */
export const unfinished = sql<boolean>`(d.status <> 'done' and d.archived_from is distinct from 'done')`;

/** The unfinished dependencies of `tasks`; the dependency is `d`. */
export function unfinishedDependencies(eb: ExpressionBuilder<Database, 'tasks'>) {
  return eb
    .selectFrom('task_dependencies')
    .innerJoin('tasks as d', 'd.id', 'task_dependencies.depends_on_task_id')
    .whereRef('task_dependencies.task_id', '=', 'tasks.id')
    .where(unfinished);
}

function labelNames(db: Builder) {
  return db
    .selectFrom('task_labels')
    .innerJoin('labels', 'labels.id', 'task_labels.label_id')
    .where('task_labels.task_id', '=', taskId)
    .select(sql<string[]>`coalesce(json_agg(labels.name order by labels.name), '[]')`.as('names'));
}

function assignees(db: Builder) {
  return db
    .selectFrom('task_assignees as a')
    .where('a.task_id', '=', taskId)
    .select(
      sql<unknown[]>`coalesce(json_agg(json_build_object('assignee_id', a.assignee_id, 'agent_id', a.agent_id,
        'role', a.role) order by a.assigned_at, a.id), '[]')`.as('list'),
    );
}

function dependenciesOf(db: Builder) {
  return db
    .selectFrom('task_dependencies as p')
    .innerJoin('tasks as d', 'd.id', 'p.depends_on_task_id')
    .where('p.task_id', '=', taskId)
    .select([
      sql<string[]>`coalesce(json_agg(p.depends_on_task_id order by p.created_at, p.id), '[]')`.as('ids'),
      sql<boolean>`coalesce(bool_or(${unfinished}), false)`.as('waits'),
    ]);
}

function subtasksOf(db: Builder) {
  return db
    .selectFrom('task_subtasks as s')
    .where('s.task_id', '=', taskId)
    .select([sql<number>`count(*)`.as('total'), sql<number>`count(*) filter (where s.status = 'done')`.as('done')]);
}
