/** Writing contexts: each of them brings the ones above it into being. */
import { type ContextLevel, contextMeta, contextTiers } from '../contract/contexts.ts';
import type { ProductUserScope } from '../database/isolation.ts';
import { problem } from '../errors.ts';
import { found, type JsonDocument } from '../repositories/base-user-scoped-repository.ts';
import { type Chain, ContextRepository, type ContextValues } from '../repositories/contexts.ts';
import { isJsonObject, type JsonObject, mergeObject } from './merge-patch.ts';

/** As much as one body may hold: patches must not let a context grow without end. */
export const contextBytesMax = 1024 * 1024;

export interface WrittenContext {
  readonly document: JsonDocument;
  readonly created: boolean;
}

/** Replaces the context, or makes it: fields that are not given become empty. */
export function putContext(
  scope: ProductUserScope,
  level: ContextLevel,
  id: string,
  body: JsonObject,
  version: number | undefined,
): Promise<WrittenContext> {
  const { known, unknown } = sorted(level, body);
  const { open } = contextTiers[level];
  const fields = { ...known, [open]: { ...objectOf(known[open]), ...unknown } };
  return write(scope, level, id, version, () => columns(level, fields));
}

/** Merges the body into the context field by field (RFC 7396), or into an empty one. */
export function patchContext(
  scope: ProductUserScope,
  level: ContextLevel,
  id: string,
  body: JsonObject,
  version: number | undefined,
): Promise<WrittenContext> {
  const { known, unknown } = sorted(level, body);
  const { open } = contextTiers[level];
  return write(scope, level, id, version, (present) => {
    const merged = mergeObject(sorted(level, present).known, known);
    return columns(level, { ...merged, [open]: mergeObject(merged[open], unknown) });
  });
}

/** Makes an empty context, and those above it, where there is none. */
export async function ensureContext(
  scope: ProductUserScope,
  level: Exclude<ContextLevel, 'global'>,
  id: string,
): Promise<void> {
  const links = await linksOf(scope, level, id);
  if (links) await new ContextRepository(scope, level).make(id, links);
}

async function write(
  scope: ProductUserScope,
  level: ContextLevel,
  id: string,
  version: number | undefined,
  valuesFrom: (present: JsonObject) => ContextValues,
): Promise<WrittenContext> {
  const contexts = new ContextRepository(scope, level);
  const links = await linksOf(scope, level, id);
  let present = await contexts.lock(id);
  if (!present && links) {
    if (version !== undefined) throw mismatch(version, null);
    if (await contexts.make(id, { ...links, ...valuesFrom({}) })) {
      return { document: found(await contexts.get(id), 'context'), created: true };
    }
    // Somebody was quicker.
    present = await contexts.lock(id);
  }
  const { version: presentVersion } = found(present, 'context');
  if (version !== undefined && presentVersion !== version) throw mismatch(version, presentVersion);
  await contexts.update(id, { ...parents(level, links), ...valuesFrom(present ?? {}) });
  return { document: found(await contexts.get(id), 'context'), created: false };
}

function mismatch(expected: number, present: number | null) {
  const is = present === null ? 'does not exist yet' : `is at version ${present}, not ${expected}`;
  return problem('version_mismatch', `The context ${is}: read it again and repeat the change.`, {
    current_version: present,
  });
}

/**
 * The ids that a context refers to; those above it exist afterwards.
 *
 * @returns undefined for a global context that is not the caller's: it can be written where it is visible, never made
 * @throws Problem `not_found` when there is nothing that it could describe
 */
async function linksOf(scope: ProductUserScope, level: ContextLevel, id: string): Promise<ContextValues | undefined> {
  if (level === 'global') return id === scope.caller.userId ? {} : undefined;
  const chain = found(await new ContextRepository(scope, level).chain(id), level);
  if (level === 'project') return projectLinks(scope, chain);
  await ensure(scope, 'project', chain.project, await projectLinks(scope, chain));
  const branch = { branch_id: chain.branch ?? '', parent_project_id: chain.project };
  if (level === 'branch') return branch;
  await ensure(scope, 'branch', branch.branch_id, branch);
  return { task_id: id, parent_branch_id: branch.branch_id, parent_branch_context_id: branch.branch_id };
}

async function projectLinks(scope: ProductUserScope, { owner, project }: Chain): Promise<ContextValues> {
  const globals = new ContextRepository(scope, 'global');
  // While isolation is off the project may be another user's, and so has to be the global context above it.
  const own = owner === scope.caller.userId;
  if (own) await globals.make(owner, {});
  return { project_id: project, parent_global_id: own || (await globals.exists(owner)) ? owner : null };
}

/** There is such a context, and it refers to the one above it. */
async function ensure(scope: ProductUserScope, level: ContextLevel, id: string, links: ContextValues): Promise<void> {
  const contexts = new ContextRepository(scope, level);
  if (await contexts.make(id, links)) return;
  const [parent] = Object.entries(parents(level, links));
  if (parent) await contexts.fillParent(id, ...parent);
}

/** Of the links, those that point upwards; what it describes never changes. */
function parents(level: ContextLevel, links: ContextValues = {}): ContextValues {
  return Object.fromEntries(Object.entries(links).filter(([name]) => name !== `${level}_id`));
}

/** What a tier knows and what it does not; what the server says about a context is neither. */
function sorted(level: ContextLevel, body: JsonObject): { known: JsonObject; unknown: JsonObject } {
  const { objects, flags, texts, links } = contextTiers[level];
  const fields = new Set([...objects, ...flags, ...Object.keys(texts)]);
  const ignored = new Set<string>([...contextMeta, ...links]);
  const entries = Object.entries(body);
  return {
    known: Object.fromEntries(entries.filter(([name]) => fields.has(name))),
    unknown: Object.fromEntries(entries.filter(([name]) => !fields.has(name) && !ignored.has(name))),
  };
}

/** @throws Problem `payload_too_large` */
function columns(level: ContextLevel, fields: JsonObject): ContextValues {
  const { objects, flags, texts } = contextTiers[level];
  const values = {
    ...Object.fromEntries(objects.map((name) => [name, JSON.stringify(objectOf(fields[name]))])),
    ...Object.fromEntries(flags.map((name) => [name, fields[name] === true])),
    ...Object.fromEntries(Object.keys(texts).map((name) => [name, String(fields[name] ?? '')])),
  };
  const bytes = Object.values(values).reduce((sum, value) => sum + Buffer.byteLength(String(value)), 0);
  if (bytes <= contextBytesMax) return values;
  throw problem('payload_too_large', 'body: the context would grow beyond 1 MiB; take something out of it first.');
}

function objectOf(value: unknown): JsonObject {
  return isJsonObject(value) ? value : {};
}
