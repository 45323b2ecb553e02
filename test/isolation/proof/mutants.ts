/** Whether the tests would notice: defects are made one at a time, and each has to make a test fail. */

import { mutants } from './mutants/all.ts';
import { type Hunt, hunt } from './mutants/hunt.ts';
import type { Mutant } from './mutants/mutant.ts';
import type { ProofPart } from './part.ts';

/** At the short size: one in the database and two in the code, with tests that take a moment. */
const quick = ['counters of tables are open to everybody', 'joins are not confined', 'updates are not confined'];

export const quickMutants: readonly Mutant[] = mutants.filter(({ name }) => quick.includes(name));

export function faultsOf({ failing, outcomes }: Hunt): string[] {
  const again = 'npm run proof -- --mutants';
  return [
    ...failing.map((test) => `fails without any defect, so that nothing can be said: ${test}`),
    ...outcomes.flatMap(({ mutant, killedBy, fault }) => {
      if (fault !== null) return [`${named(mutant)}: nothing can be said: ${fault} (${again})`];
      return killedBy === null ? [`${named(mutant)}: no test notices (${again})`] : [];
    }),
  ];
}

const named = ({ breaks, name }: Mutant) => `${breaks}, ${name}`;

export const part: ProofPart = {
  name: 'mutants',
  title: 'each of these defects would be noticed',
  async run(context) {
    const found = await hunt(context.size === 'full' ? mutants : quickMutants, context);
    const killed = found.outcomes.filter(({ killedBy }) => killedBy !== null);
    const in_ = (kind: 'sql' | 'edits') => found.outcomes.filter(({ mutant }) => kind in mutant.made).length;
    return {
      figures: {
        defects: found.outcomes.length,
        'defects in the database': in_('sql'),
        'defects in the code': in_('edits'),
        'noticed by a test': killed.length,
      },
      faults: faultsOf(found),
    };
  },
};
