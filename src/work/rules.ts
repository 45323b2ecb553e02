/** Changing rules: what one applies to has to make sense as a whole, and no rule refines itself. */
import { type RulePatch, type RuleReach, reachFault, ruleScope } from '../contract/rules.ts';
import type { ProductUserScope } from '../database/isolation.ts';
import { problem } from '../errors.ts';
import { found, type JsonDocument } from '../repositories/base-user-scoped-repository.ts';
import { type RuleLink, RuleRepository } from '../repositories/rules.ts';
import { change } from './change.ts';

/** @throws Problem `conflict` with the cycle that a new parent would close */
export async function changeRule(
  scope: ProductUserScope,
  id: string,
  patch: RulePatch,
  version: number | undefined,
): Promise<JsonDocument> {
  const rules = new RuleRepository(scope);
  if (patch.parent_rule_id) await requireNoCycle(rules, id, patch.parent_rule_id);
  const reach = changesReach(patch) ? reachAfter(found(await rules.lock(id), 'rule'), patch) : {};
  return change(rules, 'rule', id, { ...patch, ...reach }, version);
}

function changesReach({ scope, project_id, git_branch_id }: RulePatch): boolean {
  return scope !== undefined || project_id !== undefined || git_branch_id !== undefined;
}

/** With another scope, what the old one referred to no longer counts. */
function reachAfter(present: RuleLink, patch: RulePatch): RuleReach {
  const scope = patch.scope ?? ruleScope.parse(present.scope);
  const kept = scope === present.scope ? present : { project_id: null, git_branch_id: null };
  const reach = {
    scope,
    project_id: patch.project_id === undefined ? kept.project_id : patch.project_id,
    git_branch_id: patch.git_branch_id === undefined ? kept.git_branch_id : patch.git_branch_id,
  };
  const fault = reachFault(reach);
  if (fault) throw problem('validation_failed', `${fault.field}: ${fault.message}`, { errors: [fault] });
  return reach;
}

/**
 * Goes up from the new parent. All rules are locked: two changes at the same time, each harmless alone, could close a
 * cycle together. A user has tens of rules and rarely moves one. A new rule needs no such check: nothing refines it.
 */
async function requireNoCycle(rules: RuleRepository, id: string, parentId: string): Promise<void> {
  const parents = new Map((await rules.lockAll()).map((rule) => [rule.id, rule.parent_rule_id]));
  if (!parents.has(id)) throw problem('not_found', 'There is no such rule.');
  if (!parents.has(parentId)) throw problem('not_found', 'parent_rule_id: there is no such rule.');
  const path = [id];
  for (let at: string | null = parentId; at !== null && !path.includes(at, 1); at = parents.get(at) ?? null) {
    path.push(at);
    if (at !== id) continue;
    throw problem('conflict', `parent_rule_id: it would close a cycle: ${path.join(' → ')}.`, { cycle: path });
  }
}
