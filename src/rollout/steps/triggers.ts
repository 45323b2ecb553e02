/** What gives rows of the old application their owner while it goes on: triggers, from the owners phase to the seal. */
import { createHash } from 'node:crypto';
import { tableOf } from '../catalog.ts';
import { columnList, identifier, literal } from '../identifier.ts';
import { ownerExpression } from '../owner-expression.ts';
import type { OwnedReference, OwnedTable } from '../ownership.ts';
import type { Step } from '../plan.ts';
import { type PlanContext, sql, stepsOf } from './step.ts';

/** All are there before the first row gets its owner: a parent that changes hands meanwhile takes its children along. */
export function triggers(context: PlanContext, phase: 'owners' | 'seal'): Step[] {
  const { owned } = context.ownership;
  const filled = owned.filter((table) => !table.adopted);
  return [
    ...filled.map((table) => newRows(context, table, phase)),
    ...filled.flatMap((table) => lateRows(context, table, phase)),
    ...owned.flatMap((table) => children(context, table, phase)),
  ];
}

/**
 * A trigger is made under a weaker lock than it is dropped. To take that first and the stronger one after would be a
 * deadlock with a writer who has read with FOR UPDATE and writes next, and Postgres ends the writer, at once.
 */
const ownLock = 'ACCESS EXCLUSIVE';

/** A function's name that is the table's alone, however long the table's is. */
const functionName = (purpose: string, table: OwnedTable) =>
  `ringfence_rollout.${purpose}_${createHash('sha256').update(table.table).digest('hex').slice(0, 12)}`;

/**
 * The old application does not know of owners: a trigger gives its new rows theirs, and follows when it moves a row to
 * another parent or user. What carries a signed identity is the new application's and belongs to who signed.
 *
 * security definer, because the old application's roles reach neither the users nor our schema. An update that does not
 * touch what the owner comes from leaves the owner: what was given by hand stays given. One that nobody has claimed is looked
 * at each time, since the update of all rows may not have come to it yet.
 */
function newRows({ ownership }: PlanContext, table: OwnedTable, phase: 'owners' | 'seal'): Step {
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
  elsif tg_op = 'INSERT' or old.${owner} = ${literal(table.defaultOwner)}${moved.length > 0 ? ` or ${moved.join(' or ')}` : ''} then
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
  const options = { lock: ownLock, onlineOnly: true } as const;
  return phase === 'owners'
    ? step('trigger', 'give rows of the old application their owner as they come', make, remove, options)
    : step('trigger', 'stop giving rows of the old application an owner', remove, make, options);
}

/**
 * A row may come before the row that it belongs to: in one statement, or in one transaction where the reference is checked
 * at its end. It is nobody's then, and looked at again when the statement, or the transaction, is done. The name sorts
 * before Postgres' own triggers, which check the reference with the owner.
 */
function lateRows(context: PlanContext, table: OwnedTable, phase: 'owners' | 'seal'): Step[] {
  const parents = table.sources.flatMap((source) => (source.kind === 'reference' ? [source.reference.name] : []));
  if (parents.length === 0 || table.key.length === 0) return [];
  const { foreignKeys } = tableOf(context.catalog, table.table);
  const atTheEnd = foreignKeys.some((fk) => parents.includes(fk.name) && fk.deferrable);
  const owner = identifier(table.ownerColumn);
  const name = functionName('late', table);
  const key = table.key.map((column) => `t.${identifier(column)} = new.${identifier(column)}`).join(' and ');
  const found = ownerExpression(context.ownership, table, 't');
  const create = `create or replace function ${name}() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  update ${table.table} t set ${owner} = ${found}
  where ${key} and t.${owner} = ${literal(table.defaultOwner)} and ${found} <> t.${owner};
  return null;
end
$$;
revoke all on function ${name}() from public;`;
  const condition = `when (new.${owner} = ${literal(table.defaultOwner)} and coalesce(current_setting('ringfence.rollout', true), '') <> 'on')`;
  const event = `insert or update of ${columnList(sourceColumns(table))} on ${table.table}`;
  const drop = ['"0_ringfence_late"', '"0_ringfence_last"'].map(
    (trigger) => `drop trigger if exists ${trigger} on ${table.table};`,
  );
  const make = sql(
    [table.table],
    create,
    ...drop,
    `create trigger "0_ringfence_late" after ${event} for each row ${condition} execute function ${name}();`,
    ...(atTheEnd
      ? [
          `create constraint trigger "0_ringfence_last" after ${event} deferrable initially deferred for each row ${condition} execute function ${name}();`,
        ]
      : []),
  );
  const remove = sql([table.table], ...drop, `drop function if exists ${name}();`);
  const step = stepsOf(phase, table.table);
  const options = { lock: ownLock, onlineOnly: true } as const;
  return [
    phase === 'owners'
      ? step('late rows', 'look again at rows that come before their parents', make, remove, options)
      : step('late rows', 'rows say themselves whose they are from here on', remove, make, options),
  ];
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
function children(context: PlanContext, table: OwnedTable, phase: 'owners' | 'seal'): Step[] {
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
  const options = { lock: ownLock, onlineOnly: true } as const;
  return [
    phase === 'owners'
      ? step('children', 'let children follow when a row changes hands', make, remove, options)
      : step('children', 'children follow their parents by key from here on', remove, make, options),
  ];
}
