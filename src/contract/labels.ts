import { z } from 'zod';
import { pageOf, patchOf, stored, text } from './common.ts';
import { labelName } from './task-fields.ts';

const shape = {
  name: labelName,
  color: z
    .string()
    .regex(/^#[0-9a-fA-F]{6}$/, 'must be a colour such as #0066cc')
    .transform((color) => color.toLowerCase()),
  description: text(0, 2000),
};

export const labelCreate = z
  .object({ name: shape.name, color: shape.color.optional(), description: shape.description.optional() })
  .strict();
export type LabelCreate = z.infer<typeof labelCreate>;

export const labelPatch = patchOf(shape);
export type LabelPatch = z.infer<typeof labelPatch>;

export const label = z.object({
  ...stored,
  name: z.string(),
  color: z.string(),
  description: z.string(),
  task_count: z.int(),
});
export const labelPage = pageOf(label);
