/** What tasks, subtasks and branches have in common on the wire. */
import { z } from 'zod';
import { id, name } from './common.ts';

export const taskStatuses = [
  'todo',
  'in_progress',
  'blocked',
  'review',
  'testing',
  'done',
  'cancelled',
  'archived',
] as const;
export const taskStatus = z.enum(taskStatuses);
export type TaskStatus = z.infer<typeof taskStatus>;

/** From the least to the most urgent. */
export const priorities = ['low', 'medium', 'high', 'urgent', 'critical'] as const;
export const priority = z.enum(priorities);
export type Priority = z.infer<typeof priority>;

/** Who works on a task: any name, and the agent that goes by it if it is one of ours. */
export const assignee = z
  .object({ assignee_id: name(200), agent_id: id.nullable().optional(), role: name(100).optional() })
  .strict();
export type Assignee = z.infer<typeof assignee>;

export const labelName = name(100);

/** A set given as a list: the same member twice is a mistake worth telling. */
export function setOf<Member extends z.ZodType>(
  member: Member,
  max: number,
  key: (item: z.infer<Member>) => unknown = (item) => item,
) {
  return z
    .array(member)
    .max(max)
    .refine((items) => new Set(items.map(key)).size === items.length, 'must not name anything twice');
}

/** One value, several separated by commas, or the parameter repeated. */
export function severalOf<Value extends z.ZodType<unknown, string>>(value: Value) {
  return z
    .union([z.string(), z.array(z.string())])
    .transform((given) => (Array.isArray(given) ? given : [given]).flatMap((part) => part.split(',')))
    .pipe(z.array(value).min(1).max(50));
}

/** One value or the parameter repeated, for texts that may hold a comma. */
export function repeated<Value extends z.ZodType<unknown, string>>(value: Value) {
  return z
    .union([z.string(), z.array(z.string())])
    .transform((given) => (Array.isArray(given) ? given : [given]))
    .pipe(z.array(value).min(1).max(50));
}
