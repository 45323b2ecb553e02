/** What has to be known of tables before a synthetic row is put into them. */
import type { ClientBase } from 'pg';
import type { ForeignKey, Table, TableLabel } from '../catalog.ts';
import { identifier } from '../identifier.ts';
import type { Guarded } from '../verify/expectation.ts';
import type { NamedType } from './column-value.ts';

/** Those that a table's references lead to come before it, as far as there is no circle. */
export function parentsFirst(guarded: readonly Guarded[]): Guarded[] {
  const ordered: Guarded[] = [];
  const left = new Set(guarded);
  while (left.size > 0) {
    const waits = ({ table, label }: Guarded) =>
      table.foreignKeys.some(
        ({ references }) => references !== label && [...left].some((one) => one.label === references),
      );
    const [next] = [[...left].find((one) => !waits(one)) ?? [...left][0]];
    if (next === undefined) break;
    left.delete(next);
    ordered.push(next);
  }
  return ordered;
}

export async function readTypes(client: ClientBase): Promise<ReadonlyMap<string, NamedType>> {
  const { rows } = await client.query<NamedType>(
    `select format_type(t.oid, null) as name,
       (select e.enumlabel::text from pg_enum e where e.enumtypid = t.oid order by e.enumsortorder limit 1) as label,
       case t.typtype when 'd' then format_type(t.typbasetype, t.typtypmod) end as base
     from pg_type t where t.typtype in ('e', 'd')`,
  );
  return new Map(rows.map((row) => [row.name, row]));
}

export const keysTo = ({ table }: Guarded, label: TableLabel) =>
  table.foreignKeys.filter((key) => key.references === label);

/** The columns of a reference but for the owner's: the same for a reference and its twin that carries the owner. */
export const ownColumns = ({ owned }: Guarded, { columns }: ForeignKey) =>
  columns.filter((column) => column !== owned.ownerColumn).join('\0');

const ofTheRollout = /EXECUTE FUNCTION ringfence_rollout\./;

/** What a row would set off besides itself cannot be known, and need not end with a rollback. */
export function actsElsewhere({ triggers, rules, kind }: Table): string | null {
  const acting = triggers.filter(({ enabled, definition }) => enabled !== 'disabled' && !ofTheRollout.test(definition));
  if (acting.length > 0)
    return `the trigger ${acting.map(({ name }) => identifier(name)).join(', ')} may act elsewhere`;
  if (rules.length > 0) return `the rule ${rules.map(identifier).join(', ')} may act elsewhere`;
  return kind === 'foreign' ? 'its rows lie elsewhere' : null;
}
