/**
 * Contexts: what agents should know, in four tiers from the widest to the narrowest. A context has the id of what it
 * describes; the global one has its user's.
 *
 * A field that a tier does not know is kept, not dropped: it goes into the tier's open field (`data`, globally
 * `nested_structure`) and is read back from there.
 */
import { z } from 'zod';
import { id, jsonObject, pageOf, stored, text } from './common.ts';

export const contextLevels = ['global', 'project', 'branch', 'task'] as const;
export type ContextLevel = (typeof contextLevels)[number];

interface Tier {
  /** Fields that hold a JSON object. */
  readonly objects: readonly string[];
  /** The one of them that takes the fields nobody knows. */
  readonly open: string;
  readonly flags: readonly string[];
  /** Fields that hold a text, with their longest length. */
  readonly texts: Readonly<Record<string, number>>;
  /** Ids of what it describes and of the tier above; filled by the server. */
  readonly links: readonly string[];
}

export const contextTiers: Readonly<Record<ContextLevel, Tier>> = {
  global: {
    objects: [
      'organization_standards',
      'security_policies',
      'compliance_requirements',
      'shared_resources',
      'reusable_patterns',
      'global_preferences',
      'delegation_rules',
      'nested_structure',
    ],
    open: 'nested_structure',
    flags: [],
    texts: { organization_id: 200 },
    links: [],
  },
  project: {
    objects: [
      'data',
      'project_info',
      'team_preferences',
      'technology_stack',
      'project_workflow',
      'local_standards',
      'project_settings',
      'technical_specifications',
      'global_overrides',
      'delegation_rules',
    ],
    open: 'data',
    flags: ['inheritance_disabled'],
    texts: {},
    links: ['project_id', 'parent_global_id'],
  },
  branch: {
    objects: [
      'data',
      'branch_info',
      'branch_workflow',
      'feature_flags',
      'discovered_patterns',
      'branch_decisions',
      'active_patterns',
      'local_overrides',
      'delegation_rules',
    ],
    open: 'data',
    flags: ['inheritance_disabled'],
    texts: {},
    links: ['branch_id', 'parent_project_id'],
  },
  task: {
    objects: [
      'data',
      'task_data',
      'execution_context',
      'discovered_patterns',
      'implementation_notes',
      'test_results',
      'blockers',
      'local_decisions',
      'delegation_queue',
      'local_overrides',
      'delegation_triggers',
    ],
    open: 'data',
    flags: ['inheritance_disabled', 'force_local_only'],
    texts: {},
    links: ['task_id', 'parent_branch_id', 'parent_branch_context_id'],
  },
};

/** What the server says about a context. They are ignored in a body, so that what was read can be sent back. */
export const contextMeta = ['id', 'level', 'version', 'created_at', 'updated_at'] as const;

/** The global context's id is its user's; `me` is short for one's own. */
const globalId = z
  .string()
  .regex(/^(me|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$/, 'must be a UUID or "me"')
  .transform((value) => value.toLowerCase())
  .describe('The user’s id, or `me`.');

export function contextParams(level: ContextLevel) {
  return z.object({ id: level === 'global' ? globalId : id }).strict();
}

/** The whole context: what is not named becomes empty. */
export function contextPut(level: ContextLevel) {
  return body(level, (field) => field.optional());
}

/** RFC 7396, field by field: null empties, objects merge, anything else replaces. */
export function contextPatch(level: ContextLevel) {
  return body(level, (field) => field.nullable().optional()).refine(
    (given) => Object.keys(given).length > 0,
    'must name at least one field to change',
  );
}

function body(level: ContextLevel, wrap: (field: z.ZodType) => z.ZodType) {
  const { objects, flags, texts } = contextTiers[level];
  return z
    .looseObject({
      ...Object.fromEntries(objects.map((name) => [name, wrap(jsonObject)])),
      ...Object.fromEntries(flags.map((name) => [name, wrap(z.boolean())])),
      ...Object.fromEntries(Object.entries(texts).map(([name, max]) => [name, wrap(text(0, max))])),
    })
    .refine((given) => !Object.hasOwn(given, 'user_id'), {
      path: ['user_id'],
      message: 'must not be given; a context belongs to whoever owns what it describes',
    });
}

export function context(level: ContextLevel) {
  const { objects, flags, texts, links } = contextTiers[level];
  return z.object({
    ...stored,
    level: z.literal(level),
    ...Object.fromEntries(links.map((name) => [name, z.uuid().nullable()])),
    ...Object.fromEntries(Object.keys(texts).map((name) => [name, z.string()])),
    ...Object.fromEntries(objects.map((name) => [name, z.record(z.string(), z.json())])),
    ...Object.fromEntries(flags.map((name) => [name, z.boolean()])),
  });
}

export function contextPage(level: ContextLevel) {
  return pageOf(context(level));
}
