/**
 * The plan: one frozen, hashed list of steps (I9). `plan` prints it, `apply` runs it, `verify` checks it, `rollback` runs
 * its inverses newest first. There is no second description of the work that could drift from this one.
 */
import { createHash } from 'node:crypto';
import type { TableLabel } from './catalog.ts';
import { type Extras, noExtras } from './extras.ts';
import type { Ownership } from './ownership.ts';

/**
 * In order. Up to and with `cutover` everything is added beside what is there and the old application goes on as before;
 * `seal` ends that, `contract` removes the keys it needed.
 *
 * - prepare: schema, roles, owner columns with a default that is metadata only
 * - owners: the owner of every row, while a trigger gives new rows theirs
 * - keys: unique indexes and references that carry the owner
 * - shadow: policies that bind the probe role alone, compared with the truth
 * - cutover: one short transaction puts the policies in force for everybody but the old application's roles
 * - seal: the old application's exemption and its triggers go; a row without an identity is an error from here on
 * - contract: keys and references without the owner go. Point of no return: two users may now use one id
 */
export const phases = ['prepare', 'owners', 'keys', 'shadow', 'cutover', 'seal', 'contract'] as const;
export type Phase = (typeof phases)[number];

/** The strongest lock a step takes on a table (Postgres manual, 13.3.1); writers wait for the last three. */
export type LockLevel =
  | 'none'
  | 'ACCESS SHARE'
  | 'ROW EXCLUSIVE'
  | 'SHARE UPDATE EXCLUSIVE'
  | 'SHARE ROW EXCLUSIVE'
  | 'ACCESS EXCLUSIVE';

/**
 * What is done. Every kind can be run again after a kill at any moment:
 * - sql: one transaction under a short lock_timeout with retries; its entry in the ledger commits with it
 * - index: CREATE INDEX CONCURRENTLY outside a transaction; an invalid leftover is dropped and built again
 * - dropIndex: DROP INDEX CONCURRENTLY IF EXISTS
 * - validate: VALIDATE CONSTRAINT; reads the whole table, writers go on
 * - backfill: the update in ranges of the table's blocks; the range done commits with its rows
 * - reconcile: the updates of all tables, parents first, until none changes a row
 * - check: a query that must return no rows; each row is a sentence (column `fault`). `orElse` puts it right with a loss, in
 *   one transaction, where the operator accepted that
 * - shadow: what the probe role sees under the policies against what the owner column says
 * - saveOwners: user_id_backup is filled
 */
export type Action =
  | { readonly kind: 'sql'; readonly locks: readonly TableLabel[]; readonly statements: readonly string[] }
  | { readonly kind: 'index'; readonly schema: string; readonly name: string; readonly statement: string }
  | { readonly kind: 'dropIndex'; readonly schema: string; readonly name: string }
  | { readonly kind: 'validate'; readonly table: TableLabel; readonly constraint: string }
  | { readonly kind: 'backfill'; readonly sweep: Sweep }
  | { readonly kind: 'reconcile'; readonly sweeps: readonly Sweep[] }
  | {
      readonly kind: 'check';
      readonly query: string;
      readonly remedy: string;
      readonly orElse?: readonly string[];
      /** What a script raises; RF013 where nothing is said. */
      readonly sqlstate?: string;
    }
  | { readonly kind: 'shadow'; readonly tables: readonly ShadowTable[] }
  | { readonly kind: 'saveOwners'; readonly statements: readonly string[] };

/** One table's owner assignment. */
export interface Sweep {
  readonly table: TableLabel;
  /** Leaf tables that hold the rows: the table itself, or its partitions. */
  readonly leaves: readonly TableLabel[];
  /**
   * An UPDATE of rows whose owner is not what the rule says, over `%TABLE%` (a leaf) and rows for which `%RANGE%` (a
   * condition on the alias `t`) holds.
   */
  readonly update: string;
  /** A SELECT of `ctid` of the rows that the update would change, with the same places to fill in. */
  readonly search: string;
  /** A condition on `t`: nobody has given the row an owner yet. */
  readonly unclaimed: string;
  /** A self reference: one pass gives only the next generation its owner, so the update is repeated until it changes nothing. */
  readonly recursive: boolean;
}

export interface ShadowTable {
  readonly table: TableLabel;
  readonly ownerColumn: string;
}

export interface Step {
  /** Unique and stable: `keys/public.tasks/fk_tasks_branch`. */
  readonly id: string;
  readonly phase: Phase;
  /** The table it is about; null for the whole database. */
  readonly table: TableLabel | null;
  /** A sentence of a few words. */
  readonly title: string;
  readonly lock: LockLevel;
  /** Whether rows are rewritten, by the forward direction. */
  readonly rewrites: boolean;
  /** Null: nothing to do forwards; the step is there for its inverse. */
  readonly up: Action | null;
  /** Null: nothing to take back. */
  readonly down: Action | null;
  /** What only serves a running old application: left out of a script that runs in one transaction. */
  readonly onlineOnly: boolean;
  /** The inverse brings back what this phase made: of no use when that phase is taken back as well. */
  readonly restores: Phase | null;
}

export interface Estimate {
  readonly milliseconds: number;
  readonly walBytes: number;
}

export interface Plan {
  /** SHA-256 over all of it, hexadecimal. */
  readonly hash: string;
  readonly database: string;
  readonly ownership: Ownership;
  /** What is meant to be there besides what the rules make. */
  readonly extras: Extras;
  readonly steps: readonly Step[];
}

export function freezePlan(
  database: string,
  ownership: Ownership,
  steps: readonly Step[],
  extras: Extras = noExtras,
): Plan {
  const ids = new Set(steps.map((step) => step.id));
  if (ids.size !== steps.length) throw new Error('two steps of the plan have one id');
  const hash = createHash('sha256').update(JSON.stringify({ database, ownership, extras, steps })).digest('hex');
  return { hash, database, ownership, extras, steps };
}

/** Made for a script that is one transaction: an old application has no part in it, and it goes back as a whole. */
export function isOneTransaction(plan: Plan): boolean {
  return !plan.steps.some((step) => step.onlineOnly);
}

export function upTo(plan: Plan, phase: Phase): readonly Step[] {
  return plan.steps.filter((step) => phases.indexOf(step.phase) <= phases.indexOf(phase));
}

/** Newest first. @param phase the phase to be left standing; null takes everything back */
export function backTo(plan: Plan, phase: Phase | null): readonly Step[] {
  const kept = phase === null ? -1 : phases.indexOf(phase);
  const stays = (step: Step) => step.restores === null || phases.indexOf(step.restores) <= kept;
  return plan.steps.filter((step) => phases.indexOf(step.phase) > kept && stays(step)).toReversed();
}
