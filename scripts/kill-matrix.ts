/** `npm run proof -- --mutants`: defects are made, the matrix is printed, and docs/proof.md shows those that were noticed. */
import { readFileSync, writeFileSync } from 'node:fs';
import { mutants } from '../test/isolation/proof/mutants/all.ts';
import { type HuntOptions, hunt } from '../test/isolation/proof/mutants/hunt.ts';
import { rowsOf, tableOf, withRows } from '../test/isolation/proof/mutants/matrix.ts';
import { faultsOf } from '../test/isolation/proof/mutants.ts';

const page = new URL('../docs/proof.md', import.meta.url);

/**
 * @param named only mutants with this in their name or in that of a test file; the rows of the others stay as they are
 * @returns whether every one was noticed
 */
export async function killMatrix(named: string, options: HuntOptions): Promise<boolean> {
  const chosen = mutants.filter(({ name, suites }) => [name, ...suites].some((text) => text.includes(named)));
  if (chosen.length === 0) {
    console.log(`! no mutant has "${named}" in its name or tests`);
    return false;
  }
  const found = await hunt(chosen, options);
  console.log(tableOf(mutants, rowsOf(found.outcomes)));
  const faults = faultsOf(found);
  for (const fault of faults) console.log(`! ${fault}`);
  // A test that fails without any defect says nothing of one.
  if (found.failing.length > 0) return false;
  writeFileSync(page, withRows(readFileSync(page, 'utf8'), mutants, rowsOf(found.outcomes)));
  options.say('wrote docs/proof.md');
  return faults.length === 0;
}
