/** What happens to branches beyond plain changes: who works on them, and the archive. */
import type { AgentAssignment } from '../contract/branches.ts';
import type { ProductUserScope } from '../database/isolation.ts';
import { problem } from '../errors.ts';
import { AgentRepository } from '../repositories/agents.ts';
import { found, type JsonDocument } from '../repositories/base-user-scoped-repository.ts';
import { BranchRepository } from '../repositories/branches.ts';
import { change, requireVersion } from './change.ts';

/**
 * Puts an agent on a branch, in place of the one before. An unknown name is registered, an unknown id refused.
 *
 * @param version the version of the branch that the caller has seen
 */
export async function assignAgent(
  scope: ProductUserScope,
  branchId: string,
  { agent_id, agent_name }: AgentAssignment,
  version: number | undefined,
): Promise<JsonDocument> {
  const agents = new AgentRepository(scope);
  const branches = new BranchRepository(scope);
  found(await branches.get(branchId), 'branch');
  if (agent_id !== undefined && !(await agents.exists(agent_id))) {
    throw problem('not_found', 'agent_id: there is no such agent.');
  }
  const assigned_agent_id = agent_id ?? (await agents.register(agent_name ?? ''));
  return change(branches, 'branch', branchId, { assigned_agent_id }, version);
}

/** @throws Problem `transition_refused` when the branch is not in the archive */
export async function restoreBranch(
  scope: ProductUserScope,
  branchId: string,
  version: number | undefined,
): Promise<JsonDocument> {
  const branches = new BranchRepository(scope);
  const restored = await branches.restore(branchId, version);
  const present = found(await branches.get(branchId), 'branch');
  if (restored) return present;
  requireVersion('branch', present, version);
  throw problem('transition_refused', 'The branch is not archived, so there is nothing to restore.');
}
