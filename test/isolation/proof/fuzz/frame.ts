/** The frame condition: whatever attackers do, the victims' rows stay as they were, byte for byte. */
import { fingerprint } from '../../../support/world.ts';
import type { Person } from './people.ts';

export class Frame {
  readonly #ownerUrl: string;
  readonly #victims: readonly Person[];
  #last: readonly string[] = [];
  checks = 0;

  constructor(ownerUrl: string, victims: readonly Person[]) {
    this.#ownerUrl = ownerUrl;
    this.#victims = victims;
  }

  async remember(): Promise<void> {
    this.#last = await this.#look();
  }

  /** @returns the tables that changed since the last time, and takes them as they are now */
  async changes(): Promise<string[]> {
    const now = await this.#look();
    const changed = now.filter((line, at) => line !== this.#last[at]).map((line) => line.split(' ', 1)[0] ?? '');
    this.#last = now;
    this.checks += 1;
    return [...new Set(changed)];
  }

  async #look(): Promise<string[]> {
    const lines: string[] = [];
    for (const { id } of this.#victims) {
      const tables = await fingerprint(this.#ownerUrl, id);
      lines.push(...Object.entries(tables).map(([table, hash]) => `${table} ${hash}`));
    }
    return lines;
  }
}

/**
 * Finds the one that changes something, by halves.
 *
 * @param changes does the things and tells whether anything changed
 * @returns undefined when it does not happen again
 */
export async function culprit<T>(
  things: readonly T[],
  changes: (some: readonly T[]) => Promise<boolean>,
): Promise<T | undefined> {
  if (things.length === 0 || !(await changes(things))) return undefined;
  let suspects = things;
  while (suspects.length > 1) {
    const half = suspects.slice(0, Math.ceil(suspects.length / 2));
    suspects = (await changes(half)) ? half : suspects.slice(half.length);
  }
  return suspects[0];
}
