import { z } from 'zod';
import { jsonObject, name, pageOf, patchOf, stored, text } from './common.ts';
import { counts } from './counts.ts';

const shape = {
  name: name(200),
  description: text(0, 2000),
  metadata: jsonObject,
};

export const projectCreate = z
  .object({ ...shape, description: shape.description.optional(), metadata: shape.metadata.optional() })
  .strict();
export type ProjectCreate = z.infer<typeof projectCreate>;

export const projectPatch = patchOf({ ...shape, status: z.enum(['active', 'archived']) });
export type ProjectPatch = z.infer<typeof projectPatch>;

export const project = z.object({
  ...stored,
  name: z.string(),
  description: z.string(),
  status: z.enum(['active', 'archived']),
  metadata: z.record(z.string(), z.json()),
  branch_count: z.int().min(0),
  ...counts,
});
export const projectPage = pageOf(project);
