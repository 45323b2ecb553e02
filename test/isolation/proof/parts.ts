/** All parts, in the order in which they are run. */
import { part as faults } from './faults.ts';
import { part as frame } from './frame.ts';
import { part as fuzz } from './fuzz.ts';
import { part as hostileSql } from './hostile-sql.ts';
import { part as mutants } from './mutants.ts';
import { part as oracle } from './oracle.ts';
import type { ProofPart } from './part.ts';
import { part as timing } from './timing.ts';
import { part as twin } from './twin.ts';

export const parts: readonly ProofPart[] = [oracle, twin, frame, hostileSql, faults, fuzz, mutants, timing];
