/**
 * Marks: texts that nobody can guess and no other data holds. All of one run begin alike, so that one search finds any of
 * them; the end says which it is. Letters and digits alone, so that no escaping of URLs or JSON changes them.
 */
import { randomBytes } from 'node:crypto';

export type Who = 'a' | 'b';

/** What all marks begin with: 96 bits that nobody can guess. */
export const newStem = (): string => `rfc${randomBytes(12).toString('hex')}`;

const digits = 4;
export const markLength = 27 + 1 + digits;

/** Letters that differ in their first four bits: base64 cuts the rest off where it cannot be sure of it. */
const letters: Readonly<Record<Who, string>> = { a: 'a', b: 'q' };

/** What all marks of one user begin with. */
export const stemOf = (stem: string, who: Who): string => `${stem}${letters[who]}`;

/** @param number below 10 000 */
export function markOf(stem: string, who: Who, number: number): string {
  return `${stemOf(stem, who)}${String(number).padStart(digits, '0')}`;
}

/** @param text what stands behind a user's stem. @returns null where it is no mark's end */
export function readMarkNumber(text: string): number | null {
  const [, number] = /^(\d{4})/.exec(text) ?? [];
  return number === undefined ? null : Number(number);
}
