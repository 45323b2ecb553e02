/** Statements that put a key with the owner in the place of the one without it, or back; what else was said of it stays. */
import { type Index, type Key, type Table, tableOf } from '../catalog.ts';
import { identifier, literal, qualified } from '../identifier.ts';
import type { OwnedTable } from '../ownership.ts';
import { redefine, withOwner, withoutOwner } from './key-names.ts';
import { leafIndex } from './keys.ts';
import { leavesOf, type PlanContext } from './step.ts';

/**
 * Built anew, where nobody works meanwhile. Of a partitioned table the leaves' first, so that they keep their names.
 *
 * @param owner null for the key as it was
 */
export function rebuildKey(context: PlanContext, table: Table, index: Index, owner: string | null): string[] {
  const parts = partsOf(context, table, index);
  const whole = { leaf: table, own: index };
  const made = table.kind === 'partitioned' ? [...parts, whole] : parts;
  const marked = made.flatMap(({ leaf, own }) => marks(leaf, own, owner !== null));
  if (index.constraint === null) {
    const created = made.map(({ leaf, own }) => `${notConcurrently(redefine(leaf, own, own.name, owner))};`);
    return [`drop index ${qualified(table.schema, index.name)};`, ...created, ...marked];
  }
  const added = ({ leaf, own }: Part) => {
    const key = keyOf(leaf, own.constraint ?? own.name);
    return `add constraint ${identifier(key.name)} ${keyDefinition(key, own, owner)};`;
  };
  const drop = `alter table ${table.label} drop constraint ${identifier(index.constraint)}`;
  if (table.kind !== 'partitioned') return [`${drop}, ${added(whole)}`, ...marked];
  return [`${drop};`, ...made.map((part) => `alter table ${part.leaf.label} ${added(part)}`), ...marked];
}

const notConcurrently = (statement: string) => statement.replace('index concurrently ', 'index ');

/** What holds the rows, and its own part of the index: the table itself where it is not partitioned. */
interface Part {
  readonly leaf: Table;
  readonly own: Index;
}

function partsOf({ catalog }: PlanContext, table: Table, index: Index): Part[] {
  return leavesOf(catalog, table)
    .map((label) => tableOf(catalog, label))
    .map((leaf) => ({ leaf, own: leaf.label === table.label ? index : leafIndex(leaf, index) }));
}

/**
 * Constraints take the index that is there, and give it their name. A partitioned table's cannot: its leaves' do, and its
 * own then finds them and builds nothing.
 *
 * @param forward towards the key with the owner, or back
 */
export function replaceKey(
  context: PlanContext,
  owned: OwnedTable,
  table: Table,
  index: Index,
  forward: boolean,
): string[] {
  const newName = forward ? withOwner : withoutOwner;
  const owner = forward ? owned.ownerColumn : null;
  const parts = partsOf(context, table, index);
  const marked = parts.flatMap(({ leaf, own }) => marks(leaf, own, forward));
  if (table.kind === 'partitioned') marked.push(...marks(table, index, forward));
  if (index.constraint === null) {
    const renamed = parts.map(
      ({ leaf, own }) => `alter index ${qualified(leaf.schema, newName(own.name))} rename to ${identifier(own.name)};`,
    );
    const whole = notConcurrently(redefine(table, index, index.name, owner));
    const joined = table.kind === 'partitioned' ? [`${whole};`] : [];
    return [`drop index ${qualified(table.schema, index.name)};`, ...renamed, ...joined, ...marked];
  }
  const key = keyOf(table, index.constraint);
  const kind = table.primaryKey?.name === key.name ? 'primary key' : 'unique';
  const name = identifier(key.name);
  const drop = `alter table ${table.label} drop constraint ${name}`;
  if (table.kind !== 'partitioned')
    return [`${drop}, add constraint ${name} ${kind} using index ${identifier(newName(index.name))};`, ...marked];
  const ofLeaves = parts.map(
    ({ leaf, own }) =>
      `alter table ${leaf.label} add constraint ${identifier(own.constraint ?? own.name)} ${kind} using index ${identifier(newName(own.name))};`,
  );
  const whole = `alter table ${table.label} add constraint ${name} ${keyDefinition(key, index, owner)};`;
  return [`${drop};`, ...ofLeaves, whole, ...marked];
}

function keyOf(table: Table, constraint: string): Key {
  const key = [table.primaryKey, ...table.uniques].find((one) => one?.name === constraint);
  if (!key) throw new Error(`${table.label} has no key ${constraint}`);
  return key;
}

/**
 * All that it says besides its columns stays: NULLS NOT DISTINCT, INCLUDE, and what pg_get_constraintdef() leaves out, the
 * storage parameters. The first bracket is that of the columns; a name with brackets stands in quotes, so that it does not
 * end like parameters do.
 */
function keyDefinition({ definition }: Key, index: Index, owner: string | null): string {
  const open = definition.indexOf('(');
  const [parameters = ''] = / WITH \([a-z_]+='[^"]*'\)$/.exec(index.definition) ?? [];
  const key =
    owner === null
      ? definition
      : `${definition.slice(0, open).toLowerCase()}(${identifier(owner)}, ${definition.slice(open + 1)}`;
  return key + parameters;
}

/** What goes with an index that is dropped. */
function marks(table: Table, index: Index, hasOwner: boolean): string[] {
  const name = qualified(table.schema, index.name);
  const key = index.constraint === null ? null : keyOf(table, index.constraint);
  return [
    ...(index.replicaIdentity
      ? [`alter table ${table.label} replica identity using index ${identifier(index.name)};`]
      : []),
    ...(index.clustered ? [`alter table ${table.label} cluster on ${identifier(index.name)};`] : []),
    ...index.statistics.map(
      ({ column, target }) =>
        `alter index ${name} alter column ${column + (hasOwner ? 1 : 0)} set statistics ${target};`,
    ),
    ...(index.comment === null ? [] : [`comment on index ${name} is ${literal(index.comment)};`]),
    ...(key === null ? [] : commentOn(table, key)),
  ];
}

/** Of a constraint that is there again. */
export function commentOn(
  table: Table,
  constraint: { readonly name: string; readonly comment: string | null },
): string[] {
  if (constraint.comment === null) return [];
  return [`comment on constraint ${identifier(constraint.name)} on ${table.label} is ${literal(constraint.comment)};`];
}
