/** What a database should look like: whose its rows are, how far the rollout has come, and what is meant to be otherwise. */
import type { Catalog, Table, TableLabel } from '../catalog.ts';
import { type Extras, mostGrants, type TableGrants } from '../extras.ts';
import { identifier } from '../identifier.ts';
import type { OwnedTable, Ownership } from '../ownership.ts';
import { type Phase, type Plan, phases } from '../plan.ts';

export interface Expectation {
  readonly ownership: Ownership;
  /** The last phase that is complete; null when not even the first is. */
  readonly reached: Phase | null;
  readonly extras: Extras;
}

/** A table that policies guard, or one of its partitions. */
export interface Guarded {
  readonly label: TableLabel;
  readonly table: Table;
  readonly owned: OwnedTable;
  readonly isPartition: boolean;
}

/** Whether a phase is complete. */
export function hasReached({ reached }: Expectation, phase: Phase): boolean {
  return reached !== null && phases.indexOf(reached) >= phases.indexOf(phase);
}

/** @param done ids of the steps that the ledger says are done */
export function reachedPhase(plan: Plan, done: ReadonlySet<string>): Phase | null {
  let reached: Phase | null = null;
  for (const phase of phases) {
    const steps = plan.steps.filter((step) => step.phase === phase && step.up !== null);
    if (!steps.every((step) => done.has(step.id))) break;
    reached = phase;
  }
  return reached;
}

/** Those that are there, with their partitions as they are now: one that was attached since the plan counts as well. */
export function guardedTables(catalog: Catalog, { ownership }: Expectation): Guarded[] {
  return ownership.owned.flatMap((owned) => {
    const table = catalog.tables.get(owned.table);
    if (!table) return [];
    const partitions = table.partitions.flatMap((label) => catalog.tables.get(label) ?? []);
    return [
      { label: table.label, table, owned, isPartition: false },
      ...partitions.map((partition) => ({ label: partition.label, table: partition, owned, isPartition: true })),
    ];
  });
}

/** The users themselves: their own id is the owner, so there is nothing to default to. */
export function isUsersOwnId({ users }: Ownership, owned: OwnedTable): boolean {
  return users !== null && users.table === owned.table && users.id === owned.ownerColumn;
}

export const userPolicy = 'user_isolation';
export const systemPolicy = 'system_mode';
export const legacyPolicy = 'legacy_application';
export const shadowRole = 'ringfence_shadow';
export const systemRole = 'ringfence_system';

/** What the condition of a policy (steps/shadow.ts) is once Postgres has read it. */
export function canonicalCondition(ownerColumn: string): string {
  return `((true, ${identifier(ownerColumn)}) = ( SELECT (u.u IS NOT NULL),\n    u.u\n   FROM ringfence.verified_user_id(false) u(u)))`;
}

/** The policies of a table as the catalogue would show them, by name. */
export function canonicalPolicies(label: TableLabel, ownerColumn: string, bound: string): ReadonlyMap<string, string> {
  const condition = canonicalCondition(ownerColumn);
  const policy = (name: string, roles: string, expression: string) =>
    `create policy ${name} on ${label} as permissive for all to ${roles} using (${expression}) with check (${expression})`;
  return new Map([
    [userPolicy, policy(userPolicy, bound, condition)],
    [systemPolicy, policy(systemPolicy, systemRole, 'true')],
  ]);
}

/**
 * What the application's role may do, by the table's class.
 *
 * @returns null for an account table: it is the plan's business, as long as it is not more than on an owned one
 */
export function expectedGrants({ extras }: Expectation, { owned, table }: Guarded): TableGrants | null {
  const given = extras.grants[owned.table];
  if (given) return given;
  return owned.class === 'account' ? null : mostGrants(owned, table);
}
