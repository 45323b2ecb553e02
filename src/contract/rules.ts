import { z } from 'zod';
import { id, name, pageOf, pageQuery, patchOf, stored, text } from './common.ts';

export const ruleScope = z.enum(['user', 'project', 'branch']);

const shape = {
  name: name(200),
  content: text(1, 100_000),
  parent_rule_id: id.nullable().describe('The rule that this one refines.'),
  scope: ruleScope,
  project_id: id.nullable().describe('For the scope `project`, and for no other.'),
  git_branch_id: id.nullable().describe('For the scope `branch`, and for no other.'),
  priority: z.int().min(-1000).max(1000).describe('The higher wins.'),
  enabled: z.boolean(),
};

/** What a rule applies to. */
export interface RuleReach {
  readonly scope?: z.infer<typeof ruleScope> | undefined;
  readonly project_id?: string | null | undefined;
  readonly git_branch_id?: string | null | undefined;
}

/** @returns the field that does not go with the scope (`user` if there is none), and why */
export function reachFault({ scope = 'user', project_id, git_branch_id }: RuleReach) {
  for (const [field, value, needed] of [
    ['project_id', project_id ?? null, scope === 'project'],
    ['git_branch_id', git_branch_id ?? null, scope === 'branch'],
  ] as const) {
    if (needed && value === null) return { field, message: `must be given with the scope "${scope}"` };
    if (!needed && value !== null) return { field, message: `must not be given with the scope "${scope}"` };
  }
  return undefined;
}

export const ruleCreate = z
  .object({ ...z.object(shape).partial().shape, name: shape.name, content: shape.content })
  .strict()
  .superRefine((body, context) => {
    const fault = reachFault(body);
    if (fault) context.addIssue({ code: 'custom', path: [fault.field], message: fault.message });
  });
export type RuleCreate = z.infer<typeof ruleCreate>;

export const rulePatch = patchOf(shape);
export type RulePatch = z.infer<typeof rulePatch>;

export const ruleQuery = pageQuery.extend({
  scope: ruleScope.optional(),
  project_id: id.optional(),
  git_branch_id: id.optional(),
  parent_rule_id: id.optional(),
  enabled: z
    .enum(['true', 'false'])
    .transform((value) => value === 'true')
    .optional(),
});
export type RuleFilter = Omit<z.infer<typeof ruleQuery>, 'limit' | 'cursor'>;

export const rule = z.object({
  ...stored,
  name: z.string(),
  content: z.string(),
  parent_rule_id: z.uuid().nullable(),
  scope: ruleScope,
  project_id: z.uuid().nullable(),
  git_branch_id: z.uuid().nullable(),
  priority: z.int(),
  enabled: z.boolean(),
});
export const rulePage = pageOf(rule);
