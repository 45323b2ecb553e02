/** What to do next, with reasons, and how much there is. */
import { priorities, taskStatuses } from '../contract/task-fields.ts';
import type { BlockedTask, Candidate, TaskCount, WaitingTask } from '../repositories/task-overview.ts';

/** @returns JSON; the task and the subtask in it are as Postgres wrote them */
export function nextTaskAnswer(candidate: Candidate | undefined, blocked: readonly BlockedTask[]): string {
  return `{"has_next":${candidate !== undefined},"next_item":${candidate ? item(candidate) : 'null'},${JSON.stringify({
    message: message(candidate, blocked),
    blocked_tasks: blocked,
    required_completions: required(blocked),
  }).slice(1)}`;
}

function item(candidate: Candidate): string {
  const { task, subtask } = candidate;
  const rest = JSON.stringify({
    context: {
      can_start: true,
      dependency_count: candidate.dependency_count,
      blocking_count: candidate.blocking_count,
      overall_progress: candidate.progress_percentage,
      subtask_progress: { total: candidate.subtask_count, done: candidate.subtask_done_count },
    },
    reasons: reasons(candidate),
  });
  return `{"type":"${subtask === null ? 'task' : 'subtask'}","task":${task},"subtask":${subtask},${rest.slice(1)}`;
}

function reasons(candidate: Candidate): string[] {
  const { priority, status, due_date, overdue, dependency_count, blocking_count } = candidate;
  return [
    `No open task that can be worked on has a higher priority than ${priority}.`,
    ...(status === 'in_progress' ? ['Work on it has begun.'] : []),
    ...(due_date ? [`It ${overdue ? 'was' : 'is'} due ${due_date.toISOString()}.`] : []),
    ...(dependency_count > 0 ? ['Everything it depends on is done.'] : []),
    ...(blocking_count > 0
      ? [`${blocking_count} unfinished ${blocking_count === 1 ? 'task waits' : 'tasks wait'} for it.`]
      : []),
  ];
}

function message(candidate: Candidate | undefined, blocked: readonly BlockedTask[]): string {
  if (candidate)
    return candidate.subtask === null ? 'This task is next.' : 'This task is next; begin with its subtask.';
  return blocked.length > 0 ? 'Everything that is open is blocked.' : 'There is nothing to do.';
}

/** What the blocked tasks wait for, what holds up most of them first. */
function required(blocked: readonly BlockedTask[]): (WaitingTask & { unblocks: number })[] {
  const waitedFor = Map.groupBy(
    blocked.flatMap((task) => task.waits_for),
    (task) => task.id,
  );
  return [...waitedFor.values()]
    .flatMap((waits) => (waits[0] ? [{ ...waits[0], unblocks: waits.length }] : []))
    .sort((a, b) => b.unblocks - a.unblocks || a.id.localeCompare(b.id));
}

export function taskFigures(counts: readonly TaskCount[]) {
  const sum = (of: readonly TaskCount[]) => of.reduce((total, each) => total + each.count, 0);
  const by = <Key extends 'status' | 'priority'>(key: Key, values: readonly TaskCount[Key][]) =>
    Object.fromEntries(values.map((value) => [value, sum(counts.filter((each) => each[key] === value))]));
  return {
    total: sum(counts),
    by_status: by('status', taskStatuses),
    by_priority: by('priority', priorities),
    overdue: counts.reduce((total, each) => total + each.overdue, 0),
  };
}
