/** Short forms in which the phases write their steps. */
import type { Catalog, Table, TableLabel } from '../catalog.ts';
import { tableOf } from '../catalog.ts';
import type { Extras } from '../extras.ts';
import type { OwnedTable, Ownership } from '../ownership.ts';
import type { Action, LockLevel, Phase, Step } from '../plan.ts';

export interface PlanContext {
  readonly catalog: Catalog;
  readonly ownership: Ownership;
  readonly database: DatabasePrivileges;
  readonly extras: Extras;
  /** For a script that is one transaction: what only serves a running old application is left out. */
  readonly oneTransaction: boolean;
}

/** What everybody may do in the database today; taken away and given to those who are there, so that nothing breaks. */
export interface DatabasePrivileges {
  readonly publicTemporary: boolean;
  readonly publicCreate: boolean;
  /** Roles that have one of these rights by name, in the database or a schema. */
  readonly creators: readonly string[];
  /** Schemas of owned tables in which everybody may create. */
  readonly publicCreateSchemas: readonly string[];
  /** Views and functions that run above the policies and are open to everybody. */
  readonly open: readonly OpenObject[];
  /** Views over tables that run with their owner's rights. */
  readonly ownerViews: readonly string[];
  /** Sequences behind columns, by table. */
  readonly sequences: ReadonlyMap<TableLabel, readonly string[]>;
}

export interface OpenObject {
  readonly kind: 'view' | 'materialized view' | 'function' | 'procedure';
  /** Quoted; a function with its argument types. */
  readonly name: string;
  /** What everybody may do with it. */
  readonly privileges: readonly string[];
}

interface StepOptions {
  readonly lock?: LockLevel;
  readonly rewrites?: boolean;
  readonly onlineOnly?: boolean;
  readonly restores?: Phase;
}

/** Makes the steps of one table in one phase: `step('column', 'add …', up, down)`. */
export function stepsOf(phase: Phase, table: TableLabel | null) {
  return (name: string, title: string, up: Action | null, down: Action | null, options: StepOptions = {}): Step => ({
    id: [phase, ...(table === null ? [] : [table]), name].join('/'),
    phase,
    table,
    title,
    lock: options.lock ?? 'none',
    rewrites: options.rewrites ?? false,
    up,
    down,
    onlineOnly: options.onlineOnly ?? false,
    restores: options.restores ?? null,
  });
}

export function sql(locks: readonly TableLabel[], ...statements: readonly string[]): Action {
  return { kind: 'sql', locks, statements };
}

/** The tables that hold a table's rows. */
export function leavesOf(catalog: Catalog, table: Table): readonly TableLabel[] {
  if (table.kind !== 'partitioned') return [table.label];
  return table.partitions.filter((label) => tableOf(catalog, label).kind !== 'partitioned');
}

/** The table and all its partitions: each needs policies of its own, since it can be named directly. */
export function withPartitions(table: OwnedTable): readonly TableLabel[] {
  return [table.table, ...table.partitions];
}
