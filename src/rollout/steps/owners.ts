/** Phase 2: the owner of every row, of those that the old application writes meanwhile too. */
import { createHash } from 'node:crypto';
import { tableOf } from '../catalog.ts';
import { columnList, identifier, literal } from '../identifier.ts';
import { overrideSweepOf, ownerExpression, sweepOf } from '../owner-expression.ts';
import type { OwnedReference, OwnedTable } from '../ownership.ts';
import type { Step, Sweep } from '../plan.ts';
import { leavesOf, type PlanContext, sql, stepsOf } from './step.ts';

export function owners(context: PlanContext): Step[] {
  const filled = context.ownership.owned.filter((table) => !table.adopted);
  const whole = stepsOf('owners', null);
  return [
    ...filled.map((table) => newRows(context, table, 'owners')),
    ...(context.oneTransaction ? [] : filled.map((table) => backfill(context, table))),
    whole(
      'reconcile',
      context.oneTransaction ? 'give every row its owner' : 'go over rows that were written meanwhile',
      { kind: 'reconcile', sweeps: sweeps(context) },
      null,
    ),
    ...conflicts(context),
    ...context.ownership.owned.flatMap((table) => children(context, table, 'owners')),
  ];
}

export function sweeps({ catalog, ownership }: PlanContext): Sweep[] {
  return ownership.owned
    .filter((table) => !table.adopted)
    .flatMap((table) => {
      const leaves = leavesOf(catalog, tableOf(catalog, table.table));
      const override = overrideSweepOf(ownership, table, leaves);
      return [
        ...(table.sources.length > 0 ? [sweepOf(ownership, table, leaves)] : []),
        ...(override ? [override] : []),
      ];
    });
}

function backfill({ catalog, ownership }: PlanContext, table: OwnedTable): Step {
  const leaves = leavesOf(catalog, tableOf(catalog, table.table));
  const up =
    table.sources.length > 0 ? ({ kind: 'backfill', sweep: sweepOf(ownership, table, leaves) } as const) : null;
  return stepsOf('owners', table.table)('rows', `give every row its owner: ${table.reason}`, up, null, {
    lock: 'ROW EXCLUSIVE',
    rewrites: up !== null,
  });
}

/** A function's name that is the table's alone, however long the table's is. */
const functionName = (purpose: string, table: OwnedTable) =>
  `ringfence_rollout.${purpose}_${createHash('sha256').update(table.table).digest('hex').slice(0, 12)}`;

/**
 * The old application does not know of owners: a trigger gives its new rows theirs, and follows when it moves a row to
 * another parent or user. What carries a signed identity is the new application's and belongs to who signed.
 *
 * security definer, because the old application's roles reach neither the users nor our schema. An update that does not
 * touch what the owner comes from leaves the owner: what was given by hand stays given.
 */
export function newRows({ ownership }: PlanContext, table: OwnedTable, phase: 'owners' | 'seal'): Step {
  const owner = identifier(table.ownerColumn);
  const from = sourceColumns(table);
  const name = functionName('owner', table);
  const moved = from.map((column) => `new.${identifier(column)} is distinct from old.${identifier(column)}`);
  const create = `create or replace function ${name}() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if coalesce(current_setting('ringfence.identity', true), '') <> '' then
    if tg_op = 'INSERT' and new.${owner} = ${literal(table.defaultOwner)} then
      new.${owner} := ringfence.current_user_id();
    end if;
  elsif tg_op = 'INSERT'${moved.length > 0 ? ` or ${moved.join(' or ')}` : ''} then
    new.${owner} := ${ownerExpression(ownership, table, 'new')};
  else
    new.${owner} := old.${owner};
  end if;
  return new;
end
$$;
revoke all on function ${name}() from public;`;
  const event = from.length > 0 ? `insert or update of ${columnList(from)}` : 'insert';
  const trigger = `create trigger ringfence_owner before ${event} on ${table.table}
for each row when (coalesce(current_setting('ringfence.rollout', true), '') <> 'on') execute function ${name}();`;
  const make = sql([table.table], create, `drop trigger if exists ringfence_owner on ${table.table};`, trigger);
  const remove = sql(
    [table.table],
    `drop trigger if exists ringfence_owner on ${table.table};`,
    `drop function if exists ${name}();`,
  );
  const step = stepsOf(phase, table.table);
  const options = { lock: 'SHARE ROW EXCLUSIVE', onlineOnly: true } as const;
  return phase === 'owners'
    ? step('trigger', 'give rows of the old application their owner as they come', make, remove, options)
    : step('trigger', 'stop giving rows of the old application an owner', remove, make, options);
}

function sourceColumns(table: OwnedTable): string[] {
  const columns = table.sources.flatMap((source) =>
    source.kind === 'reference' ? source.reference.columns : [source.column],
  );
  return [...new Set(columns)];
}

interface Child {
  readonly table: OwnedTable;
  readonly reference: OwnedReference;
}

function childrenOf({ ownership }: PlanContext, parent: OwnedTable): Child[] {
  return ownership.owned.flatMap((table) =>
    table.sources.flatMap((source) =>
      source.kind === 'reference' && source.reference.table === parent.table
        ? [{ table, reference: source.reference }]
        : [],
    ),
  );
}

/**
 * When a row changes hands, what hangs on it goes along, at any depth: each level's own trigger does the next. Its name
 * sorts before Postgres' own (RI_…), so the children are there when the composite reference is checked.
 */
export function children(context: PlanContext, table: OwnedTable, phase: 'owners' | 'seal'): Step[] {
  const below = childrenOf(context, table);
  if (below.length === 0) return [];
  const owner = identifier(table.ownerColumn);
  const name = functionName('children', table);
  const updates = below.map(({ table: child, reference }) => {
    const childOwner = identifier(child.ownerColumn);
    const pairs = reference.columns.map(
      (column, at) => `c.${identifier(column)} = new.${identifier(reference.referencedColumns[at] ?? '')}`,
    );
    return `  update ${child.table} c set ${childOwner} = new.${owner} where ${[...pairs, `c.${childOwner} = old.${owner}`].join(' and ')};`;
  });
  const create = `create or replace function ${name}() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
${updates.join('\n')}
  return null;
end
$$;
revoke all on function ${name}() from public;`;
  const trigger = `create trigger "0_ringfence_children" after update on ${table.table}
for each row when (old.${owner} is distinct from new.${owner} and coalesce(current_setting('ringfence.rollout', true), '') <> 'on')
execute function ${name}();`;
  const make = sql([table.table], create, `drop trigger if exists "0_ringfence_children" on ${table.table};`, trigger);
  const remove = sql(
    [table.table],
    `drop trigger if exists "0_ringfence_children" on ${table.table};`,
    `drop function if exists ${name}();`,
  );
  const step = stepsOf(phase, table.table);
  const options = { lock: 'SHARE ROW EXCLUSIVE', onlineOnly: true } as const;
  return [
    phase === 'owners'
      ? step('children', 'let children follow when a row changes hands', make, remove, options)
      : step('children', 'children follow their parents by key from here on', remove, make, options),
  ];
}

/** Rows tied together across users cannot be kept apart: each is named, and somebody has to decide. */
function conflicts({ ownership, oneTransaction }: PlanContext): Step[] {
  return ownership.owned
    .filter((table) => table.references.length > 0)
    .map((table) => {
      const queries = table.references.map((reference) => conflictQuery(ownership.owned, table, reference));
      return stepsOf('owners', table.table)(
        'conflicts',
        'make sure that no row refers to another user’s',
        {
          kind: 'check',
          sqlstate: 'RF011',
          query: queries.join('\nunion all\n'),
          remedy: oneTransaction
            ? 'Remove these references or give both ends one owner, then run this again.'
            : 'Remove these references, or give both ends one owner (`ringfence assign`), then run `ringfence apply` again.',
        },
        null,
        { lock: 'ACCESS SHARE' },
      );
    });
}

function conflictQuery(owned: readonly OwnedTable[], table: OwnedTable, reference: OwnedReference): string {
  const parent = owned.find((other) => other.table === reference.table);
  if (!parent) throw new Error(`${reference.table} is not an owned table`);
  const pairs = reference.columns.map(
    (column, at) => `p.${identifier(reference.referencedColumns[at] ?? '')} = t.${identifier(column)}`,
  );
  const key = (alias: string, columns: readonly string[]) =>
    columns.map((column) => `${alias}.${identifier(column)}`).join(', ');
  const row = table.key.length > 0 ? `concat_ws(', ', ${key('t', table.key)})` : 't.ctid::text';
  return `select format('row %s of %s belongs to %s and refers by %s to a row of %s that belongs to %s', ${row}, ${literal(table.table)}, t.${identifier(table.ownerColumn)}, ${literal(reference.columns.join(', '))}, ${literal(reference.table)}, p.${identifier(parent.ownerColumn)}) as fault
from ${table.table} t join ${reference.table} p on ${pairs.join(' and ')}
where t.${identifier(table.ownerColumn)} <> p.${identifier(parent.ownerColumn)}`;
}
