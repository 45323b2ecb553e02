import { z } from 'zod';
import { id } from './common.ts';
import { task, taskCreate, taskPatch } from './tasks.ts';

const version = z.int().min(1).optional().describe('The version that you have seen; without it, whatever is there.');

export const taskOperation = z.discriminatedUnion(
  'op',
  [
    z.object({ op: z.literal('create'), task: taskCreate }).strict(),
    z.object({ op: z.literal('update'), id, patch: taskPatch, version }).strict(),
    z.object({ op: z.literal('delete'), id, version }).strict(),
  ],
  'op: must be create, update or delete',
);
export type TaskOperation = z.infer<typeof taskOperation>;

export const taskBulk = z
  .object({
    operations: z.array(taskOperation).min(1).max(100),
    atomic: z.boolean().default(false).describe('All of them or none; otherwise each by itself.'),
  })
  .strict();
export type TaskBulk = z.infer<typeof taskBulk>;

export const taskBulkResult = z.object({
  succeeded: z.int(),
  failed: z.int(),
  results: z.array(
    z.object({
      index: z.int(),
      op: z.enum(['create', 'update', 'delete']),
      status: z.int().describe('The HTTP status that the call by itself would have had.'),
      task: task.optional(),
      unblocked: z.array(z.uuid()).optional(),
      error: z
        .object({ code: z.string(), title: z.string(), detail: z.string() })
        .loose()
        .optional()
        .describe('As in a problem document.'),
    }),
  ),
});
