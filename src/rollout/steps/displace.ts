/**
 * What a rollback behind the point of no return does with rows of several users that have one key, where the operator
 * accepted that: all but one of them leave their tables, with everything that hangs on them, and are kept whole in
 * ringfence_rollout.displaced_rows. Left to ON DELETE CASCADE, what hangs on them would be gone without a trace.
 */
import { type ForeignKey, type Index, tableOf } from '../catalog.ts';
import { identifier, literal } from '../identifier.ts';
import type { OwnedReference, OwnedTable } from '../ownership.ts';
import type { PlanContext } from './step.ts';

export interface UniqueKey {
  readonly table: OwnedTable;
  readonly index: Index;
}

/** @returns one statement that moves rows until every key is one row's */
export function displacement(context: PlanContext, keys: readonly UniqueKey[]): string {
  const bonds = bondsOf(context);
  const tables = context.ownership.owned.filter((table) => table.class === 'owned');
  const emptied = bonds.filter(({ fk }) => fk.onDelete.startsWith('set'));
  const carried = bonds.filter(({ fk }) => !fk.onDelete.startsWith('set'));
  return `do $$
declare
  found bigint;
  moved bigint;
begin
  create table ringfence_rollout.displacing (label text, leaf oid, place tid, primary key (label, leaf, place));
${keys.map((key) => `${losers(key, bonds)}\n${closure(carried)}`).join('\n')}
${tables.map(keep).join('\n')}
${emptied.map(keepEmptied).join('\n')}
${removal(tables)}
  drop table ringfence_rollout.displacing;
end
$$;`;
}

interface Bond {
  readonly child: OwnedTable;
  readonly parent: OwnedTable;
  readonly reference: OwnedReference;
  readonly fk: ForeignKey;
}

function bondsOf({ catalog, ownership }: PlanContext): Bond[] {
  return ownership.owned.flatMap((child) =>
    child.references.flatMap((reference) => {
      const fk = tableOf(catalog, child.table).foreignKeys.find((key) => key.name === reference.name);
      const parent = ownership.owned.find((table) => table.table === reference.table);
      return fk && parent ? [{ child, parent, reference, fk }] : [];
    }),
  );
}

const isDisplaced = (table: OwnedTable, alias: string) =>
  `exists (select from ringfence_rollout.displacing d where d.label = ${literal(table.table)} and d.leaf = ${alias}.tableoid and d.place = ${alias}.ctid)`;

/** Of rows with one key the one stays that something hangs on, else the first owner's. */
function losers({ table, index }: UniqueKey, bonds: readonly Bond[]): string {
  const columns = index.columns.flatMap((column) => (column === null ? [] : [identifier(column)]));
  const list = (alias: string) => columns.map((column) => `${alias}.${column}`).join(', ');
  const inbound = bonds.filter(({ parent }) => parent.table === table.table);
  const used = inbound.map((bond) => `exists (select from ${bond.child.table} c where ${joined(bond)})`);
  const several = `select ${list('t')} from ${table.table} t where not ${isDisplaced(table, 't')}
      group by ${list('t')} having count(*) > 1`;
  const alike = columns.map((column) => `g.${column} is not distinct from p.${column}`).join(' and ');
  return `  insert into ringfence_rollout.displacing
  select ${literal(table.table)}, x.leaf, x.place from (
    select p.tableoid as leaf, p.ctid as place, row_number() over (
      partition by ${list('p')}
      order by ${used.length > 0 ? `(${used.join(' or ')}) desc, ` : ''}p.${identifier(table.ownerColumn)}
    ) as number
    from ${table.table} p
    where ${
      index.nullsNotDistinct
        ? `exists (select from (
      ${several}
    ) g where ${alike})`
        : `(${list('p')}) in (
      ${several}
    )`
    } and not ${isDisplaced(table, 'p')}
  ) x where x.number > 1;`;
}

/** Whatever refers to a row that leaves leaves with it, to any depth. */
function closure(bonds: readonly Bond[]): string {
  if (bonds.length === 0) return '';
  const rounds = bonds.map(
    (bond) => `    insert into ringfence_rollout.displacing
    select ${literal(bond.child.table)}, c.tableoid, c.ctid
    from ${bond.child.table} c join ${bond.parent.table} p on ${joined(bond)}
    where ${isDisplaced(bond.parent, 'p')}
    on conflict do nothing;
    get diagnostics found = row_count;
    moved := moved + found;`,
  );
  return `  loop
    moved := 0;
${rounds.join('\n')}
    exit when moved = 0;
  end loop;`;
}

function joined({ child, parent, reference }: Bond): string {
  const pairs = reference.columns.map(
    (column, at) => `p.${identifier(reference.referencedColumns[at] ?? '')} = c.${identifier(column)}`,
  );
  return [...pairs, `p.${identifier(parent.ownerColumn)} = c.${identifier(child.ownerColumn)}`].join(' and ');
}

function keep(table: OwnedTable): string {
  return `  insert into ringfence_rollout.displaced_rows (table_name, document)
  select ${literal(table.table)}, to_jsonb(t) from ${table.table} t where ${isDisplaced(table, 't')};`;
}

/** Rows that stay, and whose reference Postgres empties: as they were before. */
function keepEmptied(bond: Bond): string {
  return `  insert into ringfence_rollout.displaced_rows (table_name, document)
  select ${literal(`${bond.child.table} before ${bond.reference.columns.join(', ')} was emptied`)}, to_jsonb(c)
  from ${bond.child.table} c join ${bond.parent.table} p on ${joined(bond)}
  where ${isDisplaced(bond.parent, 'p')} and not ${isDisplaced(bond.child, 'c')};`;
}

/** One statement: references are checked when all of it is done. */
function removal(tables: readonly OwnedTable[]): string {
  const parts = tables.map(
    (table, at) => `gone_${at} as (delete from ${table.table} t where ${isDisplaced(table, 't')} returning 1)`,
  );
  const counted = tables.map((_, at) => `(select count(*) from gone_${at})`);
  return `  with ${parts.join(',\n  ')}
  select ${counted.join(' + ')} into moved;`;
}
