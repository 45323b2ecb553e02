/** What to do next, and how much there is. */
import { z } from 'zod';
import { name } from './common.ts';
import { subtask } from './subtasks.ts';
import { labelName, priorities, priority, repeated, taskStatus, taskStatuses } from './task-fields.ts';
import { task, taskPlace } from './tasks.ts';

export const nextTaskQuery = z
  .object({ ...taskPlace, assignee: repeated(name(200)).optional(), label: repeated(labelName).optional() })
  .strict();
export type NextTaskQuery = z.infer<typeof nextTaskQuery>;

const waiting = z.object({ id: z.uuid(), title: z.string(), status: taskStatus });

export const nextTask = z.object({
  has_next: z.boolean(),
  next_item: z
    .object({
      type: z.enum(['task', 'subtask']).describe('A subtask, when the task has an unfinished one.'),
      task,
      subtask: subtask.nullable(),
      context: z.object({
        can_start: z.boolean(),
        dependency_count: z.int(),
        blocking_count: z.int().describe('How many unfinished tasks wait for it.'),
        overall_progress: z.int().describe('Of the task, in percent.'),
        subtask_progress: z.object({ total: z.int(), done: z.int() }),
      }),
      reasons: z.array(z.string()).describe('Why this one comes first.'),
    })
    .nullable(),
  message: z.string(),
  blocked_tasks: z.array(waiting.extend({ priority, waits_for: z.array(waiting) })),
  required_completions: z
    .array(waiting.extend({ unblocks: z.int() }))
    .describe('What the blocked tasks wait for, what holds up most first.'),
});

export const taskStatsQuery = z.object(taskPlace).strict();
export type TaskStatsQuery = z.infer<typeof taskStatsQuery>;

function countsOf<const Keys extends readonly [string, ...string[]]>(keys: Keys) {
  return z.record(z.enum(keys), z.int());
}

export const taskStats = z.object({
  total: z.int(),
  by_status: countsOf(taskStatuses),
  by_priority: countsOf(priorities).describe('Of all tasks, whatever their status.'),
  overdue: z.int().describe('Due before now, and neither done nor cancelled nor archived.'),
});
