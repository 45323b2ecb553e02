import { z } from 'zod';
import { id, jsonObject, name, pageOf, pageQuery, patchOf, stored, text } from './common.ts';
import { counts } from './counts.ts';
import { priority, taskStatus as status } from './task-fields.ts';

const shape = {
  name: name(200).describe('Unique in its project.'),
  description: text(0, 2000),
  priority,
  metadata: jsonObject,
};

export const branchCreate = z
  .object({
    project_id: id,
    name: shape.name,
    description: shape.description.optional(),
    priority: shape.priority.optional(),
    metadata: shape.metadata.optional(),
  })
  .strict();
export type BranchCreate = z.infer<typeof branchCreate>;

export const branchPatch = patchOf({ ...shape, status });
export type BranchPatch = z.infer<typeof branchPatch>;

const filters = {
  status: status.optional(),
  priority: priority.optional(),
  assigned_agent_id: id.optional(),
};
export const branchQuery = pageQuery.extend({ ...filters, project_id: id.optional() });
export const projectBranchQuery = pageQuery.extend(filters);
export type BranchFilter = Pick<
  z.infer<typeof branchQuery>,
  'project_id' | 'status' | 'priority' | 'assigned_agent_id'
>;

export const agentAssignment = z
  .object({
    agent_id: id.optional(),
    agent_name: name(200).optional().describe('Registers an agent of this name if there is none.'),
  })
  .strict()
  .refine(
    (body) => (body.agent_id === undefined) !== (body.agent_name === undefined),
    'must name either agent_id or agent_name',
  );
export type AgentAssignment = z.infer<typeof agentAssignment>;

export const branch = z.object({
  ...stored,
  project_id: z.uuid(),
  name: z.string(),
  description: z.string(),
  status,
  priority,
  assigned_agent_id: z.uuid().nullable(),
  metadata: z.record(z.string(), z.json()),
  ...counts,
});
export const branchPage = pageOf(branch);
