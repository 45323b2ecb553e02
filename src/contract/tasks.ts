import { z } from 'zod';
import { id, name, pageOf, pageQuery, patchOf, stored, text, timestamp } from './common.ts';
import { assignee, labelName, priority, repeated, setOf, severalOf, taskStatus } from './task-fields.ts';

const shape = {
  title: name(200),
  description: text(1, 2000),
  details: text(0, 20_000),
  priority,
  estimated_effort: text(0, 100).describe('Free text, or a named size from quick to massive.'),
  due_date: timestamp.nullable(),
  git_branch_id: id,
};

export const taskCreate = z
  .object({
    ...shape,
    details: shape.details.optional(),
    priority: shape.priority.optional(),
    estimated_effort: shape.estimated_effort.optional(),
    due_date: shape.due_date.optional(),
    git_branch_id: shape.git_branch_id.optional().describe('Without one the task goes to your inbox.'),
    status: z.literal('todo', 'must be "todo": a task begins there; change the status afterwards').optional(),
    labels: setOf(labelName, 50).optional().describe('Names; a label that does not exist yet is made.'),
    assignees: setOf(assignee, 50, (one) => one.assignee_id).optional(),
    dependencies: setOf(id, 50).optional().describe('Ids of the tasks that have to be done first.'),
  })
  .strict();
export type TaskCreate = z.infer<typeof taskCreate>;

export const taskPatch = patchOf({
  ...shape,
  status: taskStatus,
  progress_percentage: z.int().min(0).max(100),
});
export type TaskPatch = z.infer<typeof taskPatch>;

export const taskComplete = z
  .object({ completion_summary: text(1, 20_000), testing_notes: text(0, 20_000).optional() })
  .strict();
export type TaskComplete = z.infer<typeof taskComplete>;

export const taskReopen = z.object({ reason: text(1, 500) }).strict();

export const taskSorts = ['created_at', 'updated_at', 'due_date', 'priority', 'title'] as const;
export type TaskSort = (typeof taskSorts)[number];

/** Which tasks: shared by the list, the next task and the figures. */
export const taskPlace = { git_branch_id: id.optional(), project_id: id.optional() };

export const taskQuery = pageQuery.extend({
  ...taskPlace,
  status: severalOf(taskStatus).optional(),
  priority: severalOf(priority).optional(),
  assignee: repeated(name(200)).optional().describe('An assignee_id; repeated: any of them.'),
  label: repeated(labelName).optional().describe('A label name; repeated: any of them.'),
  due_before: timestamp.optional(),
  due_after: timestamp.optional(),
  q: text(1, 200).optional().describe('Text in title, description or details, in either case.'),
  sort: z
    .enum(taskSorts.flatMap((sort) => [sort, `-${sort}` as const]))
    .default('-created_at')
    .describe('A leading - turns the order round.'),
});
export type TaskQuery = z.infer<typeof taskQuery>;

export const task = z.object({
  ...stored,
  git_branch_id: z.uuid(),
  title: z.string(),
  description: z.string(),
  details: z.string(),
  status: taskStatus,
  archived_from: z.enum(['done', 'cancelled']).nullable(),
  priority,
  estimated_effort: z.string(),
  due_date: z.string().nullable(),
  completed_at: z.string().nullable(),
  completion_summary: z.string(),
  testing_notes: z.string(),
  context_id: z.uuid().nullable(),
  progress_percentage: z.int().min(0).max(100),
  labels: z.array(z.string()),
  assignees: z.array(z.object({ assignee_id: z.string(), agent_id: z.uuid().nullable(), role: z.string() })),
  dependencies: z.array(z.uuid()).describe('Ids of the tasks that have to be done first.'),
  is_blocked: z.boolean().describe('It is open, and its status is blocked or a dependency is unfinished.'),
  subtask_count: z.int(),
  subtask_done_count: z.int(),
});
export const taskPage = pageOf(task);

export const taskRemoved = z.object({ unblocked: z.array(z.uuid()).describe('Tasks that waited for it alone.') });
