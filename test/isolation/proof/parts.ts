/** All parts, in the order in which they are run. */
import type { ProofPart } from './part.ts';

export const parts: readonly ProofPart[] = [];
