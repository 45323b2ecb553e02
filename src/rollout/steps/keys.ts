/**
 * Phase 3: indexes and references that carry the owner, beside those that do not. Indexes are built concurrently, references
 * are added for new rows first and checked against the old ones afterwards; writers wait for neither.
 */
import { type ForeignKey, type Index, type Table, tableOf } from '../catalog.ts';
import { columnList, identifier } from '../identifier.ts';
import type { OwnedReference, OwnedTable } from '../ownership.ts';
import type { Action, Step } from '../plan.ts';
import { freeName, redefine, referenceIndexName, userIndexName, withOwner } from './key-names.ts';
import { sweeps } from './owners.ts';
import { leavesOf, type PlanContext, sql, stepsOf } from './step.ts';

export function keys(context: PlanContext): Step[] {
  const { owned } = context.ownership;
  const referring = owned.flatMap((table) => table.references.map((reference) => ({ table, reference })));
  // Nobody writes meanwhile: keys and references are changed in place, by the last phase.
  if (context.oneTransaction) return owned.flatMap((table) => indexes(context, table));
  const early = referring.filter(({ reference }) => tableOf(context.catalog, reference.table).kind !== 'partitioned');
  return [
    ...owned.flatMap((table) => indexes(context, table)),
    ...early.flatMap(({ table, reference }) => addReference(context, table, reference)),
    stepsOf('keys', null)(
      'reconcile',
      'go over rows that were written just before their reference was',
      { kind: 'reconcile', sweeps: sweeps(context) },
      null,
    ),
    ...early.flatMap(({ table, reference }) => validateReference(context, table, reference)),
  ];
}

/** Unique indexes of a table that do not begin with the owner: the primary key, constraints, and bare ones. */
export function uniqueIndexes(table: Table, owner: string): Index[] {
  return table.indexes.filter((index) => index.unique && index.valid && index.columns[0] !== owner);
}

function indexes(context: PlanContext, owned: OwnedTable): Step[] {
  const table = tableOf(context.catalog, owned.table);
  const unique = owned.class === 'account' ? [] : uniqueIndexes(table, owned.ownerColumn);
  // What was there keeps the indexes it was made with, if one of them leads with the owner.
  const byOwner = table.indexes.some(
    (index) =>
      index.columns[0] === owned.ownerColumn && !index.partial && (owned.adopted || index.columns.length === 1),
  );
  return [
    ...(context.oneTransaction ? [] : unique.flatMap((index) => uniqueWithOwner(context, owned, table, index))),
    ...(byOwner || isKey(table, owned) ? [] : plainIndex(context, owned, table, userIndexName, [])),
    ...distinctColumns(owned.references)
      .filter((reference) => !leads(table, owned, unique, reference.columns))
      .flatMap((reference) =>
        plainIndex(context, owned, table, (name) => referenceIndexName(name, reference.columns), reference.columns),
      ),
  ];
}

/** Two references may go over the same columns: one index serves both. */
function distinctColumns(references: readonly OwnedReference[]): OwnedReference[] {
  return [...new Map(references.map((reference) => [JSON.stringify(reference.columns), reference])).values()];
}

/** A table of users keyed by the owner has the index already. */
const isKey = (table: Table, owned: OwnedTable) =>
  table.primaryKey?.columns.length === 1 && table.primaryKey.columns[0] === owned.ownerColumn;

/** Whether an index, there or coming, begins with the owner and these columns, so that following a reference is a look-up. */
function leads(table: Table, owned: OwnedTable, unique: readonly Index[], columns: readonly string[]): boolean {
  const wanted = [owned.ownerColumn, ...columns];
  const begins = (index: readonly (string | null)[]) => wanted.every((column, at) => index[at] === column);
  return (
    table.indexes.some((index) => !index.partial && begins(index.columns)) ||
    unique.some((index) => !index.partial && begins([owned.ownerColumn, ...index.columns]))
  );
}

/** On a partitioned table each leaf gets its own; those of keys are joined when the keys are swapped. */
function uniqueWithOwner(context: PlanContext, owned: OwnedTable, table: Table, index: Index): Step[] {
  return leavesOf(context.catalog, table).map((label) => {
    const leaf = tableOf(context.catalog, label);
    const own = label === table.label ? index : leafIndex(leaf, index);
    const name = withOwner(own.name);
    return stepsOf('keys', owned.table)(
      `index ${name}`,
      `build the unique index with the owner beside ${own.name}`,
      build(leaf, name, redefine(leaf, own, name, owned.ownerColumn)),
      { kind: 'dropIndex', schema: leaf.schema, name },
      { lock: 'SHARE UPDATE EXCLUSIVE' },
    );
  });
}

/** The leaf's part of a partitioned index. Others may have the same columns. */
export function leafIndex(leaf: Table, index: Index): Index {
  const found = leaf.indexes.find((own) => own.partOf.includes(index.label));
  if (!found) throw new Error(`${leaf.label} has no part of the index ${index.name}`);
  return found;
}

function build(table: Table, name: string, statement: string): Action {
  return { kind: 'index', schema: table.schema, name, statement };
}

function plainIndex(
  context: PlanContext,
  owned: OwnedTable,
  table: Table,
  nameFor: (table: string) => string,
  columns: readonly string[],
): Step[] {
  const step = stepsOf('keys', owned.table);
  const list = columnList([owned.ownerColumn, ...columns]);
  const leaves = leavesOf(context.catalog, table).map((label) => {
    const leaf = tableOf(context.catalog, label);
    const name = freeName(context.catalog, leaf.schema, nameFor(leaf.name));
    const statement = `create index concurrently ${identifier(name)} on ${leaf.label} (${list})`;
    const title =
      columns.length === 0 ? 'build the index by owner' : `build the index by owner and ${columns.join(', ')}`;
    return step(
      `index ${name}`,
      title,
      build(leaf, name, statement),
      { kind: 'dropIndex', schema: leaf.schema, name },
      { lock: 'SHARE UPDATE EXCLUSIVE' },
    );
  });
  if (table.kind !== 'partitioned') return leaves;
  const name = freeName(context.catalog, table.schema, nameFor(table.name));
  const label = `${identifier(table.schema)}.${identifier(name)}`;
  // The parts are there: this only joins them. Its going takes the parts along.
  const whole = step(
    `index ${name}`,
    `join the partitions' indexes to ${name}`,
    sql([table.label], `create index if not exists ${identifier(name)} on ${table.label} (${list});`),
    sql([table.label], `drop index if exists ${label};`),
    { lock: 'SHARE ROW EXCLUSIVE' },
  );
  return [...leaves, whole];
}

const foreignKey = (table: Table, reference: OwnedReference): ForeignKey => {
  const found = table.foreignKeys.find((fk) => fk.name === reference.name);
  if (!found) throw new Error(`${table.label} has no foreign key ${reference.name}`);
  return found;
};

/** The reference with the owner on both sides; only the old columns are emptied, never the owner (the list needs Postgres 15). */
export function referenceWithOwner(context: PlanContext, owned: OwnedTable, reference: OwnedReference): string {
  const fk = foreignKey(tableOf(context.catalog, owned.table), reference);
  const parent = context.ownership.owned.find((other) => other.table === reference.table);
  if (!parent) throw new Error(`${reference.table} is not an owned table`);
  const emptied = fk.setColumns.length > 0 ? fk.setColumns : fk.columns;
  const onDelete = fk.onDelete.startsWith('set') ? `${fk.onDelete} (${columnList(emptied)})` : fk.onDelete;
  const clauses = [
    `foreign key (${columnList([owned.ownerColumn, ...fk.columns])})`,
    `references ${reference.table} (${columnList([parent.ownerColumn, ...fk.referencedColumns])})`,
    ...(fk.onUpdate === 'no action' ? [] : [`on update ${fk.onUpdate}`]),
    ...(fk.onDelete === 'no action' ? [] : [`on delete ${onDelete}`]),
    ...(fk.deferrable ? [`deferrable${fk.deferred ? ' initially deferred' : ''}`] : []),
  ];
  return clauses.join(' ');
}

/**
 * A partitioned table takes no NOT VALID (before Postgres 18): each leaf gets the reference, has it checked, and the
 * whole table's then finds it done.
 */
export function addReference(
  context: PlanContext,
  owned: OwnedTable,
  reference: OwnedReference,
  phase: 'keys' | 'contract' = 'keys',
): Step[] {
  const table = tableOf(context.catalog, owned.table);
  const name = withOwner(reference.name);
  const step = stepsOf(phase, owned.table);
  const definition = referenceWithOwner(context, owned, reference);
  const drop = `drop constraint if exists ${identifier(name)}`;
  return leavesOf(context.catalog, table).map((leaf) => {
    const locks = [leaf, reference.table];
    return step(
      `reference ${name}${leaf === table.label ? '' : ` ${leaf}`}`,
      `tie ${reference.columns.join(', ')} to the owner for new rows`,
      sql(
        locks,
        `alter table ${leaf} ${drop};`,
        `alter table ${leaf} add constraint ${identifier(name)} ${definition} not valid;`,
      ),
      sql(locks, `alter table ${leaf} ${drop};`),
      // It may have to be dropped first: see triggers.ts for why the strongest lock comes first.
      { lock: 'ACCESS EXCLUSIVE' },
    );
  });
}

export function validateReference(
  context: PlanContext,
  owned: OwnedTable,
  reference: OwnedReference,
  phase: 'keys' | 'contract' = 'keys',
): Step[] {
  const table = tableOf(context.catalog, owned.table);
  const name = withOwner(reference.name);
  const step = stepsOf(phase, owned.table);
  const checked = leavesOf(context.catalog, table).map((leaf) =>
    step(
      `validate ${name}${leaf === table.label ? '' : ` ${leaf}`}`,
      `check ${reference.columns.join(', ')} of the old rows`,
      { kind: 'validate', table: leaf, constraint: name },
      null,
      { lock: 'SHARE UPDATE EXCLUSIVE' },
    ),
  );
  if (table.kind !== 'partitioned') return checked;
  const definition = referenceWithOwner(context, owned, reference);
  const locks = [table.label, reference.table];
  const whole = step(
    `join ${name}`,
    `join the partitions' references to ${name}`,
    sql(
      locks,
      `alter table ${table.label} drop constraint if exists ${identifier(name)};`,
      `alter table ${table.label} add constraint ${identifier(name)} ${definition};`,
    ),
    // The parts go with it; their own steps find nothing left.
    sql(locks, `alter table ${table.label} drop constraint if exists ${identifier(name)};`),
    { lock: 'ACCESS EXCLUSIVE' },
  );
  return [...checked, whole];
}
