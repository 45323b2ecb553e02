/** Changing one row that the caller has seen at some version. */
import { problem } from '../errors.ts';
import { found, type JsonDocument } from '../repositories/base-user-scoped-repository.ts';

interface Changeable<Patch> {
  get(id: string): Promise<JsonDocument | undefined>;
  update(id: string, patch: Patch, version?: number): Promise<boolean>;
}

/**
 * @param version the version that the caller has seen; undefined overwrites whatever is there
 * @throws Problem `not_found`, or `version_mismatch` with the present version
 */
export async function change<Patch>(
  repository: Changeable<Patch>,
  what: string,
  id: string,
  patch: Patch,
  version: number | undefined,
): Promise<JsonDocument> {
  const changed = await repository.update(id, patch, version);
  const present = found(await repository.get(id), what);
  if (!changed) requireVersion(what, present, version);
  return present;
}

/** @throws Problem `version_mismatch` with the present version, when the caller has seen another one */
export function requireVersion(
  what: string,
  present: Pick<JsonDocument, 'version'>,
  version: number | undefined,
): void {
  if (version === undefined || version === present.version) return;
  throw problem(
    'version_mismatch',
    `The ${what} is at version ${present.version}, not ${version}: read it again and repeat the change.`,
    { current_version: present.version },
  );
}
