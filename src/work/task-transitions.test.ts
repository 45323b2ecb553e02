import { describe, expect, test } from 'vitest';
import { type TaskStatus, taskStatuses } from '../contract/task-fields.ts';
import { Problem } from '../errors.ts';
import { requireTransition, requireVerb, type TaskVerb, verbs } from './task-transitions.ts';

/** The table of the domain's description, written out again: rows from, columns to, in the order of `taskStatuses`. */
const allowed: Record<TaskStatus, string> = {
  todo: '=xx...x.',
  in_progress: 'x=xxx.x.',
  blocked: 'xx=...x.',
  review: '.xx=x.x.',
  testing: '.xxx=.x.',
  done: '.....=.x',
  cancelled: 'x.....=x',
  archived: '.......=',
};

describe.each(taskStatuses)('from %s', (from) => {
  test.each(taskStatuses.map((to, column) => [to, allowed[from][column]] as const))('to %s: %s', (to, mark) => {
    if (mark === '.') {
      const refused = refusal(() => requireTransition(from, to));
      expect(refused.code).toBe('transition_refused');
      expect(refused.extensions).toMatchObject({
        current_status: from,
        allowed: taskStatuses.filter((_, column) => allowed[from][column] === 'x').sort(byOrderOf(refused)),
      });
      expect(refused.message).toContain(`from ${from} to ${to}`);
    } else {
      expect(() => requireTransition(from, to)).not.toThrow();
    }
  });
});

test.each([
  ['complete', ['todo', 'in_progress', 'review', 'testing']],
  ['reopen', ['done']],
  ['archive', ['done', 'cancelled']],
  ['restore', ['archived']],
] as const)('%s starts from %s alone', (verb: TaskVerb, starts: readonly TaskStatus[]) => {
  for (const status of taskStatuses) {
    if (starts.includes(status)) expect(() => requireVerb(status, verb)).not.toThrow();
    else expect(refusal(() => requireVerb(status, verb)).message).toContain(`is ${status}`);
  }
});

test('the refusal of done says how a task gets there', () => {
  expect(refusal(() => requireTransition('todo', 'done')).message).toBe(
    'status: cannot change from todo to done; allowed: in_progress, blocked, cancelled; or call complete.',
  );
  expect(Object.keys(verbs)).toHaveLength(4);
});

function refusal(work: () => void): Problem {
  try {
    work();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

function byOrderOf(refused: Problem) {
  const order = refused.extensions.allowed as TaskStatus[];
  return (a: TaskStatus, b: TaskStatus) => order.indexOf(a) - order.indexOf(b);
}
