/** What Postgres refuses, as what the caller may be told: never a value, never a constraint's name. */
import pg from 'pg';
import { type Problem, problem } from '../errors.ts';
import { isConnectionFailure } from '../isolation/connection.ts';

/** What a unique constraint means to the caller. */
const taken: Readonly<Record<string, string>> = {
  uq_agents_name: 'name: an agent with this name exists already.',
  uq_labels_name: 'name: a label with this name exists already.',
  uq_project_git_branchs_name: 'name: the project has a branch with this name already.',
  uq_task_dependencies_pair: 'depends_on_task_id: the task depends on it already.',
  uq_task_assignees_pair: 'assignee_id: it is assigned to the task already.',
  uq_task_labels_pair: 'label: the task has it already.',
};

/** @returns undefined when the error is our own fault */
export function postgresFault(error: unknown): Problem | undefined {
  if (isConnectionFailure(error)) {
    return problem('database_unavailable', 'The database cannot be reached at the moment.', {}, { cause: error });
  }
  if (!(error instanceof pg.DatabaseError) || error.code === undefined) return undefined;
  const cause = { cause: error };
  switch (error.code) {
    case '23505':
      return problem('already_exists', taken[error.constraint ?? ''] ?? 'It exists already.', {}, cause);
    case '23503':
      return problem('not_found', `${referenceOf(error)}: there is no such row.`, {}, cause);
    case '22001': // string_data_right_truncation
    case '22003': // numeric_value_out_of_range
    case '22007': // invalid_datetime_format
    case '22008': // datetime_field_overflow
    case '22009': // invalid_time_zone_displacement_value
    case '22021': // character_not_in_repertoire
    case '22P02': // invalid_text_representation
    case '22P05': // untranslatable_character
    case '23514': // check_violation
      return problem('validation_failed', 'A value is out of range for its field.', {}, cause);
    case '40001': // serialization_failure
    case '40P01': // deadlock_detected
    case '55P03': // lock_not_available
      return problem('conflict', 'Somebody else is changing the same rows; try again.', {}, cause);
    case '57014': // query_canceled
    case 'RF003': // our own: the identity has expired, so the transaction has been open for two minutes
      return problem('unavailable', 'The request took too long and was given up.', {}, cause);
    case '53300': // too_many_connections
      return problem('database_unavailable', 'The database has no connection left; try again.', {}, cause);
    default:
      return undefined;
  }
}

/** fk_tasks_git_branch_id → git_branch_id: our foreign keys are named for table and column. */
function referenceOf(error: pg.DatabaseError): string {
  const prefix = `fk_${error.table ?? ''}_`;
  return error.constraint?.startsWith(prefix) ? error.constraint.slice(prefix.length) : 'reference';
}
