/**
 * What a rollout does beyond the rules, because the product it is made for needs it: grants that are narrower, policies
 * of further roles, steps of its own. The plan keeps the description, so that `verify` knows what is meant without
 * knowing the product.
 */
import type { Table, TableLabel } from './catalog.ts';
import { columnList, identifier } from './identifier.ts';
import type { OwnedTable } from './ownership.ts';
import type { Step } from './plan.ts';
import type { PlanContext } from './steps/step.ts';

/** Columns, or the whole table. */
export type Columns = 'all' | readonly string[];

/** What a role may do on a table. */
export interface TableGrants {
  readonly select: Columns;
  readonly insert: Columns;
  readonly update: Columns;
  readonly delete: boolean;
}

export interface ExtraPolicy {
  readonly table: TableLabel;
  readonly name: string;
  /** CREATE POLICY as the catalogue has it. */
  readonly definition: string;
}

/** What is otherwise than the rule on purpose. Everything else that is there besides is a fault. */
export interface Extras {
  readonly policies: readonly ExtraPolicy[];
  /** Grants of the application's role that are not those of the table's class. */
  readonly grants: Readonly<Record<TableLabel, TableGrants>>;
  /** The same of other roles, by table and role: those of system mode, and roles of the product's own. */
  readonly furtherGrants: Readonly<Record<TableLabel, Readonly<Record<string, TableGrants>>>>;
  /** SECURITY DEFINER functions that were looked at and may be called: as regprocedure has them. */
  readonly functions: readonly string[];
}

export const noExtras: Extras = { policies: [], grants: {}, furtherGrants: {}, functions: [] };

/** Extras with the work that they take. */
export interface ExtraWork {
  readonly extras: Extras;
  /** Steps of any phase: they come after the rollout's own of that phase. */
  steps(context: PlanContext): readonly Step[];
}

export const noExtraWork: ExtraWork = { extras: noExtras, steps: () => [] };

/** Everything but changing whose a row is, or which. */
export function mostGrants(owned: OwnedTable, table: Table): TableGrants {
  const fixed = new Set([owned.ownerColumn, ...owned.key]);
  const update = table.columns.filter((column) => !column.generated && !fixed.has(column.name));
  return { select: 'all', insert: 'all', update: update.map((column) => column.name), delete: true };
}

/** `select, insert (a, b)`: as GRANT has it; empty where nothing may be done. */
function privileges(grants: TableGrants): string {
  const verbs = (['select', 'insert', 'update'] as const).flatMap((verb) => {
    const columns = grants[verb];
    if (columns === 'all') return [verb];
    return columns.length > 0 ? [`${verb} (${columnList(columns)})`] : [];
  });
  return [...verbs, ...(grants.delete ? ['delete'] : [])].join(', ');
}

export function grant(label: TableLabel, role: string, grants: TableGrants): string[] {
  const list = privileges(grants);
  return list === '' ? [] : [`grant ${list} on table ${label} to ${identifier(role)};`];
}
