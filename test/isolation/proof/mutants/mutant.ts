/** A defect that somebody could make: how it is made, what it breaks, and the test files that have to notice. */
import { condition } from '../../../../src/rollout/steps/shadow.ts';

/** As ARCHITECTURE.md numbers them. */
export const invariants = ['I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8', 'I9', 'I10'] as const;
export type Invariant = (typeof invariants)[number];

/** A piece of a file that stands there once, and what stands there instead. */
export interface Edit {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

export interface Mutant {
  readonly name: string;
  readonly breaks: Invariant;
  /**
   * Run by the owner in the migrated template, before a test clones it; or done to a copy of the sources. `undo` takes back
   * what is the whole server's: roles.
   */
  readonly made: { readonly sql: string; readonly undo?: string } | { readonly edits: readonly Edit[] };
  /** Tried in this order until one fails: the fastest first. */
  readonly suites: readonly string[];
}

type Suites = string | readonly string[];

export function inDatabase(breaks: Invariant, name: string, suites: Suites, sql: string, undo?: string): Mutant {
  return { name, breaks, made: { sql, ...(undo === undefined ? {} : { undo }) }, suites: [suites].flat() };
}

/** @param replacements pairs of what stands in the file once and what stands there instead */
export function inCode(
  breaks: Invariant,
  name: string,
  suites: Suites,
  file: string,
  ...replacements: readonly (readonly [from: string, to: string])[]
): Mutant {
  const edits = replacements.map(([from, to]) => ({ file, from, to }));
  return { name, breaks, made: { edits }, suites: [suites].flat() };
}

/** The policy's own condition, for mutants that keep it in places. */
export const canonical = condition('user_id');

/** Runs a statement for each table with policies; `%s` is the table. Those of accounts named by `id` are left out. */
export function onEachTable(statement: string): string {
  return `do $do$ declare t regclass; begin
    for t in select polrelid from pg_policy where polname = 'user_isolation' and polrelid <> 'users'::regclass loop
      execute format($sql$${statement}$sql$, t);
    end loop; end $do$`;
}

/** Makes the verifier anew with another body; fails when the piece does not stand there once. */
export function rewriteVerifier(from: string, to: string): string {
  return `do $do$ declare
    body text := pg_get_functiondef('ringfence.verified_user_id(boolean)'::regprocedure);
    piece text := $from$${from}$from$;
  begin
    if length(body) - length(replace(body, piece, '')) <> length(piece) then
      raise 'the verifier does not hold this once: %', piece;
    end if;
    execute replace(body, piece, $to$${to}$to$);
  end $do$`;
}

/** The test files that are asked most. */
export const suite = {
  closure: 'test/isolation/closure.test.ts',
  forging: 'test/isolation/forging.test.ts',
  identityOracle: 'test/isolation/identity-oracle.test.ts',
  matrix: 'test/isolation/matrix.test.ts',
  plans: 'test/isolation/plans.test.ts',
  preparedNames: 'test/isolation/prepared-names.test.ts',
  repositories: 'test/isolation/repository-matrix.test.ts',
  walls: 'test/isolation/walls.test.ts',
  ownerFilter: 'src/isolation/owner-filter.test.ts',
  roleCheck: 'src/isolation/role-check.test.ts',
  scope: 'src/isolation/scope.test.ts',
} as const;
