import { z } from 'zod';
import { jsonObject, name, pageOf, pageQuery, patchOf, stored, text, timestamp } from './common.ts';

const agentStatus = z.enum(['available', 'busy', 'offline', 'retired']);

const shape = {
  name: name(200).describe('Unique among its owner’s agents.'),
  description: text(0, 2000),
  role: name(100),
  capabilities: z.array(name(100)).max(100),
  status: agentStatus,
  availability_score: z.number().min(0).max(1),
  metadata: jsonObject,
};

export const agentCreate = z.object({ ...z.object(shape).partial().shape, name: shape.name }).strict();
export type AgentCreate = z.infer<typeof agentCreate>;

export const agentPatch = patchOf({ ...shape, last_active_at: timestamp.nullable() });
export type AgentPatch = z.infer<typeof agentPatch>;

export const agentQuery = pageQuery.extend({
  status: agentStatus.optional(),
  role: name(100).optional(),
  q: text(1, 200).optional().describe('Text that the name or the description contains.'),
});
export type AgentFilter = Pick<z.infer<typeof agentQuery>, 'status' | 'role' | 'q'>;

export const agent = z.object({
  ...stored,
  name: z.string(),
  description: z.string(),
  role: z.string(),
  capabilities: z.array(z.string()),
  status: agentStatus,
  availability_score: z.number().min(0).max(1),
  last_active_at: z.string().nullable(),
  metadata: z.record(z.string(), z.json()),
});
export const agentPage = pageOf(agent);
