/**
 * Phase 7, the point of no return: keys and references without the owner go, those with it take their names. From here on
 * two users may use one id. Nothing is built while a lock is held: both ways, the index or the reference is there before.
 *
 * The inverse needs more than the way here: steps that do nothing forwards stand before and after the swap, so that taken
 * back in order they build the old index, swap, check the old references, and build the keys with the owner again.
 */
import { type ForeignKey, type Index, type Table, tableOf } from '../catalog.ts';
import { identifier, literal } from '../identifier.ts';
import type { OwnedReference, OwnedTable } from '../ownership.ts';
import type { Action, Step } from '../plan.ts';
import { displacement, type UniqueKey } from './displace.ts';
import { redefine, withOwner, withoutOwner } from './key-names.ts';
import { leafIndex, referenceWithOwner, uniqueIndexes } from './keys.ts';
import { leavesOf, type PlanContext, sql, stepsOf } from './step.ts';
import { commentOn, rebuildKey, replaceKey } from './swap-key.ts';

/** A reference to the table whose keys are swapped. */
interface Inbound {
  readonly owned: OwnedTable;
  readonly table: Table;
  readonly reference: OwnedReference;
  readonly fk: ForeignKey;
}

export function contract(context: PlanContext): Step[] {
  return swappedTables(context).flatMap((table) => swapKeys(context, table));
}

const swappedTables = ({ ownership }: PlanContext) => ownership.owned.filter((table) => table.class === 'owned');

function swapKeys(context: PlanContext, owned: OwnedTable): Step[] {
  const table = tableOf(context.catalog, owned.table);
  const unique = uniqueIndexes(table, owned.ownerColumn);
  const inbound = inboundTo(context, owned);
  if (unique.length === 0 && inbound.length === 0) return [];
  if (context.oneTransaction) return [swapInPlace(context, owned, table, unique, inbound)];
  const leaves = leavesOf(context.catalog, table).map((label) => tableOf(context.catalog, label));
  return [
    ...(table.kind === 'partitioned' ? [] : restoreReferences(context, owned, table, inbound)),
    ...unique.flatMap((index) => leaves.map((leaf) => restoreKey(owned, table, leaf, index))),
    ...inbound.flatMap((reference) => checkOld(context, owned, reference)),
    viewsOnKey(owned, unique),
    swap(context, owned, table, unique, inbound),
    ...(table.kind === 'partitioned' ? inbound.flatMap((reference) => checkNew(context, owned, reference)) : []),
    ...unique.flatMap((index) => leaves.map((leaf) => buildOld(owned, table, leaf, index))),
  ];
}

/**
 * A view that groups by the key alone and shows other columns needs that key, and cannot be while the owner is part of it.
 * How it should read is for people to say.
 */
function viewsOnKey(owned: OwnedTable, unique: readonly Index[]): Step {
  const names = unique.flatMap((index) => (index.constraint === null ? [] : [literal(index.constraint)]));
  const query = `select format('the view %s groups by the key %s of %s', r.ev_class::regclass, k.conname, k.conrelid::regclass) as fault
from pg_catalog.pg_constraint k
join pg_catalog.pg_depend d on d.refclassid = 'pg_constraint'::regclass and d.refobjid = k.oid and d.classid = 'pg_rewrite'::regclass
join pg_catalog.pg_rewrite r on r.oid = d.objid
where k.conrelid = ${literal(owned.table)}::regclass and k.conname = any (array[${names.join(', ')}]::text[])
group by r.ev_class, k.conname, k.conrelid`;
  const remedy = `Let it group by ${owned.ownerColumn} as well, or by every column it shows, then run \`ringfence apply --until contract\` again.`;
  return stepsOf('contract', owned.table)(
    'views',
    'make sure that no view needs the old key',
    { kind: 'check', query, remedy },
    null,
    { onlineOnly: true },
  );
}

function inboundTo({ catalog, ownership }: PlanContext, target: OwnedTable): Inbound[] {
  return ownership.owned.flatMap((owned) =>
    owned.references
      .filter((reference) => reference.table === target.table)
      .map((reference) => {
        const table = tableOf(catalog, owned.table);
        const fk = table.foreignKeys.find((key) => key.name === reference.name);
        if (!fk) throw new Error(`${owned.table} has no foreign key ${reference.name}`);
        return { owned, table, reference, fk };
      }),
  );
}

function swap(
  context: PlanContext,
  owned: OwnedTable,
  table: Table,
  unique: readonly Index[],
  inbound: readonly Inbound[],
): Step {
  const locks = [...new Set([table.label, ...inbound.map((reference) => reference.table.label)])];
  const named = (name: string) => unique.flatMap((index) => replaceKey(context, owned, table, index, name === 'owner'));
  const up = [
    ...inbound.flatMap(({ table: child, fk }) => [
      `alter table ${child.label} drop constraint ${identifier(fk.name)};`,
    ]),
    ...named('owner'),
    ...inbound.flatMap((reference) => takeName(context, table, reference)),
  ];
  const down = [
    ...inbound.map(({ table: child, fk }) => `alter table ${child.label} drop constraint ${identifier(fk.name)};`),
    ...named('old'),
    ...inbound.flatMap(({ table: child, fk }) => [
      ...leavesOf(context.catalog, child).map(
        (leaf) => `alter table ${leaf} add constraint ${identifier(fk.name)} ${notValid(fk.definition)};`,
      ),
      // A partitioned table's own comes when those of its leaves are checked.
      ...(child.kind === 'partitioned' ? [] : commentOn(child, fk)),
    ]),
  ];
  return stepsOf('contract', owned.table)(
    'keys',
    'swap keys and references for those with the owner',
    sql(locks, ...up),
    sql(locks, ...down),
    {
      lock: 'ACCESS EXCLUSIVE',
    },
  );
}

/** Built anew under the lock: nobody waits for it. */
function swapInPlace(
  context: PlanContext,
  owned: OwnedTable,
  table: Table,
  unique: readonly Index[],
  inbound: readonly Inbound[],
): Step {
  const locks = [...new Set([table.label, ...inbound.map((reference) => reference.table.label)])];
  const dropped = inbound.map(
    ({ table: child, fk }) => `alter table ${child.label} drop constraint ${identifier(fk.name)};`,
  );
  const added = (definition: (reference: Inbound) => string) =>
    inbound.flatMap((reference) => {
      const name = identifier(reference.fk.name);
      return [
        `alter table ${reference.table.label} add constraint ${name}\n  ${definition(reference)};`,
        ...commentOn(reference.table, reference.fk),
      ];
    });
  return stepsOf('contract', owned.table)(
    'keys',
    'keys, and references to them, carry the owner',
    sql(
      locks,
      ...dropped,
      ...unique.flatMap((index) => rebuildKey(context, table, index, owned.ownerColumn)),
      ...added(({ owned: child, reference }) => referenceWithOwner(context, child, reference)),
    ),
    sql(
      locks,
      ...dropped,
      ...unique.flatMap((index) => rebuildKey(context, table, index, null)),
      ...added(({ fk }) => fk.definition),
    ),
    { lock: 'ACCESS EXCLUSIVE' },
  );
}

const notValid = (definition: string) => (definition.endsWith(' NOT VALID') ? definition : `${definition} NOT VALID`);

/** The reference with the owner is there already, except to a partitioned table, whose key has only just come. */
function takeName(context: PlanContext, target: Table, { owned, table: child, reference, fk }: Inbound): string[] {
  const leaves = leavesOf(context.catalog, child);
  if (target.kind === 'partitioned') {
    const definition = referenceWithOwner(context, owned, reference);
    return [
      ...leaves.map((leaf) => `alter table ${leaf} add constraint ${identifier(fk.name)} ${definition} not valid;`),
      ...(child.kind === 'partitioned' ? [] : commentOn(child, fk)),
    ];
  }
  const renamed = [...new Set([child.label, ...leaves])].map(
    (label) => `alter table ${label} rename constraint ${identifier(withOwner(fk.name))} to ${identifier(fk.name)};`,
  );
  return [...renamed, ...commentOn(child, fk)];
}

/** Forwards, behind the swap of a partitioned table's keys: what was there is checked against the new references. */
function checkNew(context: PlanContext, target: OwnedTable, inbound: Inbound): Step[] {
  const step = stepsOf('contract', target.table);
  return validations(context, inbound).map(({ suffix, action, lock }) =>
    step(
      `check ${inbound.owned.table} ${inbound.fk.name}${suffix}`,
      `check ${inbound.owned.table}'s references`,
      action(referenceWithOwner(context, inbound.owned, inbound.reference)),
      null,
      { lock },
    ),
  );
}

/** Backwards, after the swap: the old references are checked. */
function checkOld(context: PlanContext, target: OwnedTable, inbound: Inbound): Step[] {
  if (!inbound.fk.validated) return [];
  const step = stepsOf('contract', target.table);
  return validations(context, inbound)
    .toReversed()
    .map(({ suffix, action, lock }) =>
      step(
        `recheck ${inbound.owned.table} ${inbound.fk.name}${suffix}`,
        `check ${inbound.owned.table}'s references without the owner`,
        null,
        action(inbound.fk.definition),
        { lock },
      ),
    );
}

/** Of each leaf, and for a partitioned table the joining of them. */
function validations(context: PlanContext, { table, fk, reference }: Inbound) {
  const name = identifier(fk.name);
  const leaves = leavesOf(context.catalog, table);
  const checks = leaves.map((leaf) => ({
    suffix: leaf === table.label ? '' : ` ${leaf}`,
    action: (_definition: string): Action => ({ kind: 'validate', table: leaf, constraint: fk.name }),
    lock: 'SHARE UPDATE EXCLUSIVE' as const,
  }));
  if (table.kind !== 'partitioned') return checks;
  const join = {
    suffix: ' joined',
    action: (definition: string): Action =>
      sql(
        [table.label, reference.table],
        `alter table ${table.label} add constraint ${name} ${definition};`,
        ...commentOn(table, fk),
      ),
    lock: 'SHARE ROW EXCLUSIVE' as const,
  };
  return [...checks, join];
}

/** Backwards, before the swap. */
function buildOld(owned: OwnedTable, table: Table, leaf: Table, index: Index): Step {
  const own = leaf.label === table.label ? index : leafIndex(leaf, index);
  const name = withoutOwner(own.name);
  return stepsOf('contract', owned.table)(
    `old index ${name}`,
    `${own.name} without the owner is built again by a rollback`,
    null,
    { kind: 'index', schema: leaf.schema, name, statement: redefine(leaf, own, name, null) },
    { lock: 'SHARE UPDATE EXCLUSIVE' },
  );
}

/** Backwards, last but the keys: references with the owner beside the old ones again, where the phase before stays. */
function restoreReferences(context: PlanContext, owned: OwnedTable, table: Table, inbound: readonly Inbound[]): Step[] {
  const step = stepsOf('contract', owned.table);
  return inbound.flatMap((reference) => {
    const name = withOwner(reference.fk.name);
    const definition = referenceWithOwner(context, reference.owned, reference.reference);
    const leaves = leavesOf(context.catalog, reference.table);
    const whole =
      reference.table.kind === 'partitioned'
        ? [
            {
              suffix: ' joined',
              action: sql(
                [reference.table.label, table.label],
                `alter table ${reference.table.label} add constraint ${identifier(name)} ${definition};`,
              ),
            },
          ]
        : [];
    const checked = leaves.map((leaf) => ({
      suffix: ` check ${leaf}`,
      action: { kind: 'validate', table: leaf, constraint: name } as const,
    }));
    const added = leaves.map((leaf) => ({
      suffix: ` ${leaf}`,
      action: sql(
        [leaf, table.label],
        `alter table ${leaf} drop constraint if exists ${identifier(name)};`,
        `alter table ${leaf} add constraint ${identifier(name)} ${definition} not valid;`,
      ),
    }));
    return [...whole, ...checked, ...added].map(({ suffix, action }) =>
      step(
        `restore ${reference.owned.table} ${name}${suffix}`,
        'the reference with the owner comes back beside the old one',
        null,
        action,
        { restores: 'keys', lock: 'SHARE ROW EXCLUSIVE' },
      ),
    );
  });
}

/** Backwards, after the swap: the key with the owner, which references with the owner need. */
function restoreKey(owned: OwnedTable, table: Table, leaf: Table, index: Index): Step {
  const own = leaf.label === table.label ? index : leafIndex(leaf, index);
  const name = withOwner(own.name);
  return stepsOf('contract', owned.table)(
    `restore ${name}`,
    'the key with the owner comes back beside the old one',
    null,
    { kind: 'index', schema: leaf.schema, name, statement: redefine(leaf, own, name, owned.ownerColumn) },
    { restores: 'keys', lock: 'SHARE UPDATE EXCLUSIVE' },
  );
}

/**
 * The first thing that a rollback looks at.
 */
export function collisions(context: PlanContext): Step {
  const swapped = swappedTables(context);
  const found: UniqueKey[] = swapped.flatMap((table) =>
    uniqueIndexes(tableOf(context.catalog, table.table), table.ownerColumn)
      .filter((index) => !index.partial && index.columns.every((column) => column !== null))
      .map((index) => ({ table, index })),
  );
  const query = found.map(collision).join('\nunion all\n');
  const down: Action | null =
    found.length === 0
      ? null
      : {
          kind: 'check',
          sqlstate: 'RF012',
          query,
          remedy: context.oneTransaction
            ? 'Rename or remove one of each, then run this again.'
            : 'Rename or remove one of each, or go on with --accept-data-loss: all but the first of them, and what hangs on them, move to ringfence_rollout.displaced_rows.',
          orElse: [displacement(context, found)],
        };
  return stepsOf('contract', null)('collisions', 'two users may use one id from here on', null, down);
}

function collision({ table, index }: UniqueKey): string {
  const columns = index.columns.flatMap((column) => column ?? []);
  const list = columns.map((column) => `t.${identifier(column)}`).join(', ');
  // NULLS NOT DISTINCT: null is a value like others.
  const nulls = index.nullsNotDistinct;
  const shown = nulls ? columns.map((column) => `coalesce(t.${identifier(column)}::text, 'null')`).join(', ') : list;
  const known = nulls ? 'true' : columns.map((column) => `t.${identifier(column)} is not null`).join(' and ');
  const users = `count(distinct t.${identifier(table.ownerColumn)})`;
  return `(select format('%s: %s users have a row with (%s) = (%s)', ${literal(table.table)}, ${users}, ${literal(columns.join(', '))}, concat_ws(', ', ${shown})) as fault
from ${table.table} t where ${known} group by ${list} having count(*) > 1)`;
}
