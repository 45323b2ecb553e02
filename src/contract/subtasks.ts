import { z } from 'zod';
import { name, pageOf, patchOf, stored, text } from './common.ts';
import { priority, setOf } from './task-fields.ts';

export const subtaskStatus = z.enum(['todo', 'in_progress', 'done']);
export type SubtaskStatus = z.infer<typeof subtaskStatus>;

const shape = {
  title: name(200),
  description: text(0, 2000),
  priority,
  estimated_effort: text(0, 100),
  assignees: setOf(name(200), 50).describe('Names; the task’s when none are given.'),
};

/** What the work on it brought to light. */
const findings = {
  progress_notes: text(0, 20_000),
  blockers: text(0, 20_000),
  impact_on_parent: text(0, 20_000),
  insights_found: z.array(text(1, 2000)).max(50),
};

const progress = z.int().min(0).max(100).describe('0 is todo, 1 to 99 in_progress, 100 done.');

export const subtaskCreate = z
  .object({
    ...shape,
    description: shape.description.optional(),
    priority: shape.priority.optional(),
    estimated_effort: shape.estimated_effort.optional(),
    assignees: shape.assignees.optional(),
    progress_percentage: progress.optional(),
  })
  .strict();
export type SubtaskCreate = z.infer<typeof subtaskCreate>;

export const subtaskPatch = patchOf({ ...shape, ...findings, status: subtaskStatus, progress_percentage: progress });
export type SubtaskPatch = z.infer<typeof subtaskPatch>;

export const subtaskComplete = z
  .object({
    completion_summary: text(1, 20_000),
    progress_notes: findings.progress_notes.optional(),
    impact_on_parent: findings.impact_on_parent.optional(),
    insights_found: findings.insights_found.optional(),
  })
  .strict();
export type SubtaskComplete = z.infer<typeof subtaskComplete>;

export const subtask = z.object({
  ...stored,
  task_id: z.uuid(),
  title: z.string(),
  description: z.string(),
  status: subtaskStatus,
  priority,
  assignees: z.array(z.string()),
  estimated_effort: z.string(),
  progress_percentage: z.int(),
  progress_notes: z.string(),
  blockers: z.string(),
  completion_summary: z.string(),
  impact_on_parent: z.string(),
  insights_found: z.array(z.string()),
  completed_at: z.string().nullable(),
  parent_progress: z.int().describe('The task’s progress: the mean over its subtasks.'),
});
export const subtaskPage = pageOf(subtask);
export const subtaskRemoved = z.object({ parent_progress: z.int() });
