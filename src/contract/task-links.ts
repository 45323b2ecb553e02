/** What hangs on a task by reference: dependencies, labels, assignees. */
import { z } from 'zod';
import { id, name, pageOf, pageQuery } from './common.ts';
import { assignee, labelName, priority, setOf, taskStatus } from './task-fields.ts';

export const dependencyCreate = z.object({ depends_on_task_id: id }).strict();

export const dependencyParams = z.object({ id, depends_on_task_id: id }).strict();

export const dependencyQuery = pageQuery.extend({
  direction: z
    .enum(['depends_on', 'dependents'])
    .default('depends_on')
    .describe('What the task waits for, or what waits for the task.'),
});

export const dependencyPage = pageOf(
  z.object({
    id: z.uuid(),
    task_id: z.uuid(),
    depends_on_task_id: z.uuid(),
    dependency_type: z.literal('blocks'),
    created_at: z.string(),
    title: z.string().describe('Of the other task; so are status and priority.'),
    status: taskStatus,
    priority,
    is_done: z.boolean(),
  }),
);

/** Sets to add and to remove, so that two who change different members do not undo each other. */
function setChange<Member extends z.ZodType, Key extends z.ZodType>(
  member: Member,
  key: Key,
  keyOf: (item: z.infer<Member>) => unknown,
) {
  return z
    .object({ add: setOf(member, 50, keyOf).default([]), remove: setOf(key, 50).default([]) })
    .strict()
    .refine((body) => body.add.length + body.remove.length > 0, 'must add or remove something')
    .refine(
      (body) => !body.add.some((item) => body.remove.some((removed) => removed === keyOf(item))),
      'must not add and remove the same',
    );
}

export const labelsChange = setChange(labelName, labelName, (one) => one);
export type LabelsChange = z.infer<typeof labelsChange>;

export const assigneesChange = setChange(assignee, name(200), (one) => one.assignee_id);
export type AssigneesChange = z.infer<typeof assigneesChange>;
