/**
 * What may become of a task. One table, used by every path to a task's status: single changes, bulk, completion,
 * automatic unblocking.
 */
import type { TaskStatus } from '../contract/task-fields.ts';
import { problem } from '../errors.ts';

/** What a plain change of the status may do. `done`, and the way out of `done` and `archived`, have verbs of their own. */
export const transitions: Readonly<Record<TaskStatus, readonly TaskStatus[]>> = {
  todo: ['in_progress', 'blocked', 'cancelled'],
  in_progress: ['todo', 'blocked', 'review', 'testing', 'cancelled'],
  blocked: ['todo', 'in_progress', 'cancelled'],
  review: ['in_progress', 'testing', 'blocked', 'cancelled'],
  testing: ['in_progress', 'review', 'blocked', 'cancelled'],
  done: ['archived'],
  cancelled: ['todo', 'archived'],
  archived: [],
};

/** The verbs, and the statuses they start from. */
export const verbs = {
  complete: ['todo', 'in_progress', 'review', 'testing'],
  reopen: ['done'],
  archive: ['done', 'cancelled'],
  restore: ['archived'],
} as const satisfies Record<string, readonly TaskStatus[]>;

export type TaskVerb = keyof typeof verbs;

/** Nothing about the work of a closed task changes until it is open again. */
export const closedStatuses: readonly TaskStatus[] = ['done', 'cancelled', 'archived'];

/** @throws Problem `transition_refused` naming the present status and the allowed ones; the same status is allowed */
export function requireTransition(from: TaskStatus, to: TaskStatus): void {
  if (from === to || transitions[from].includes(to)) return;
  throw refusal(from, `status: cannot change from ${from} to ${to}`);
}

/** @throws Problem `transition_refused` */
export function requireVerb(from: TaskStatus, verb: TaskVerb): void {
  const starts: readonly TaskStatus[] = verbs[verb];
  if (!starts.includes(from)) {
    throw refusal(from, `A task that is ${from} cannot be ${pastOf[verb]}; it would have to be ${starts.join(' or ')}`);
  }
}

/** @throws Problem `conflict` when the task is done, cancelled or archived */
export function requireOpen(task: { readonly status: TaskStatus }, what: string): void {
  if (!closedStatuses.includes(task.status)) return;
  throw problem('conflict', `The task is ${task.status}, so ${what}; ${wayBack[task.status] ?? ''}`, {
    current_status: task.status,
  });
}

function refusal(from: TaskStatus, sentence: string) {
  const possible = possibleVerbs(from);
  const ways = [
    transitions[from].length > 0 ? `allowed: ${transitions[from].join(', ')}` : 'no other status can be set directly',
    ...(possible.length > 0 ? [`or call ${possible.join(', ')}`] : []),
  ];
  return problem('transition_refused', `${sentence}; ${ways.join('; ')}.`, {
    current_status: from,
    allowed: transitions[from],
    verbs: possible,
  });
}

function possibleVerbs(from: TaskStatus): TaskVerb[] {
  return (Object.keys(verbs) as TaskVerb[]).filter((verb) => (verbs[verb] as readonly TaskStatus[]).includes(from));
}

const pastOf = { complete: 'completed', reopen: 'reopened', archive: 'archived', restore: 'restored' } as const;

const wayBack: Partial<Record<TaskStatus, string>> = {
  done: 'reopen it first.',
  cancelled: 'set it to todo first.',
  archived: 'restore it first.',
};
