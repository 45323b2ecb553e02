/** Every defect, in the order of the matrix. */
import { accessMutants } from './access.ts';
import { accountMutants } from './accounts.ts';
import { coreMutants } from './core.ts';
import { filterMutants } from './filter.ts';
import type { Mutant } from './mutant.ts';
import { policyMutants } from './policies.ts';
import { privilegeMutants } from './privileges.ts';
import { productMutants } from './product.ts';
import { rolloutMutants } from './rollout.ts';
import { structureMutants } from './structure.ts';

export const mutants: readonly Mutant[] = [
  ...policyMutants,
  ...structureMutants,
  ...privilegeMutants,
  ...coreMutants,
  ...filterMutants,
  ...productMutants,
  ...accessMutants,
  ...accountMutants,
  ...rolloutMutants,
];
