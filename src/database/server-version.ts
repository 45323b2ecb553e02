/** Which Postgres we serve from. */
import { problem } from '../errors.ts';

const oldestMajor = 15;

/** The first releases without CVE-2026-14666, by which a policy may be planned for another role. */
const repaired: Readonly<Record<number, number>> = { 15: 19, 16: 15, 17: 11, 18: 6 };

/**
 * @param version server_version_num: major × 10000 + minor
 * @throws Problem `database_unavailable` below 15: `ON DELETE SET NULL (column)` is missing there
 */
export function requireSupportedServer(version: number): void {
  if (version >= oldestMajor * 10_000) return;
  throw problem('database_unavailable', `Postgres ${spelt(version)} is too old: ${oldestMajor} or newer is needed.`);
}

/** @returns a sentence for the operator, undefined when there is nothing to say */
export function versionWarning(version: number): string | undefined {
  const major = Math.floor(version / 10_000);
  const minor = repaired[major];
  if (minor === undefined || version % 10_000 >= minor) return undefined;
  return `Warning: Postgres ${spelt(version)} has CVE-2026-14666, a way round row-level security; update to ${major}.${minor} or newer`;
}

function spelt(version: number): string {
  return `${Math.floor(version / 10_000)}.${version % 10_000}`;
}
