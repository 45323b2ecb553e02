import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { mutants } from './mutants/all.ts';
import { hunt } from './mutants/hunt.ts';
import { killedIn, rowStart } from './mutants/matrix.ts';
import { inCode, invariants, suite } from './mutants/mutant.ts';
import { edited } from './mutants/tree.ts';
import { faultsOf, quickMutants } from './mutants.ts';

const at = (path: string) => new URL(`../../../${path}`, import.meta.url);

describe('the list', () => {
  test.each(mutants)('$name: its tests are there, and what it replaces is there once', ({ made, suites }) => {
    expect(suites.filter((file) => !existsSync(at(file)))).toEqual([]);
    if (!('edits' in made)) return;
    const changed = new Map<string, string>();
    for (const edit of made.edits) {
      const text = changed.get(edit.file) ?? readFileSync(at(edit.file), 'utf8');
      changed.set(edit.file, edited(text, edit));
    }
  });

  test('has something for each invariant, and each thing once', () => {
    expect(new Set(mutants.map(({ breaks }) => breaks))).toEqual(new Set(invariants));
    expect(new Set(mutants.map(({ name }) => name)).size).toBe(mutants.length);
    expect(quickMutants).toHaveLength(3);
  });

  test('is what docs/proof.md shows as killed (npm run proof -- --mutants)', () => {
    expect([...killedIn(readFileSync(at('docs/proof.md'), 'utf8')).keys()]).toEqual(mutants.map(rowStart));
  });
});

test('defects are noticed, and what is none is told as a survivor', { timeout: 300_000 }, async () => {
  const none = inCode('I3', 'nothing is changed', suite.ownerFilter, 'src/isolation/owner-filter.ts');
  const found = await hunt([...quickMutants, none], { say: () => {}, signal: new AbortController().signal });
  expect(found.outcomes.map(({ mutant, killedBy }) => [mutant.name, killedBy?.suite])).toEqual([
    ...quickMutants.map(({ name, suites }) => [name, suites[0]]),
    ['nothing is changed', undefined],
  ]);
  expect(faultsOf(found)).toEqual([expect.stringContaining('nothing is changed: no test notices')]);
});
