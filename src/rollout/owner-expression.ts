/**
 * A row's owner as SQL. The update that assigns owners, the trigger that gives new rows of the old application theirs, and
 * the saving of owners all say it from here, so that they cannot come to different ones.
 */

import type { TableLabel } from './catalog.ts';
import { identifier, literal } from './identifier.ts';
import type { LookUp, OwnedTable, OwnerSource, Ownership } from './ownership.ts';
import type { Sweep } from './plan.ts';

/** A source as SQL: its value, and the row it has to be fetched from where it is not in the table's own. */
interface Part {
  readonly from: string | null;
  readonly on: string;
  readonly value: string;
  /** No more than one row answers. */
  readonly unique: boolean;
}

/**
 * The rule's owner of a row, null when no source names one. For a trigger: each source is a look-up by key.
 *
 * @param alias the row: an alias, or `new`
 */
export function ruleExpression(ownership: Ownership, table: OwnedTable, alias: string): string {
  return coalesce(ruleValues(ownership, table, alias));
}

/** The same, and the quarantine owner where no source names one: never null. */
export function ruleOrQuarantine(ownership: Ownership, table: OwnedTable, alias: string): string {
  return coalesce([...ruleValues(ownership, table, alias), quarantine(ownership)]);
}

function ruleValues(ownership: Ownership, table: OwnedTable, alias: string): string[] {
  return table.sources.map((source, at) => lookedUp(partOf(ownership, source, alias, `s${at + 1}`)));
}

const lookedUp = ({ from, on, value }: Part) =>
  from === null ? value : `(select ${value} from ${from} where ${on} limit 1)`;

/** The rule's owner, an owner that was given against the rule, or the quarantine owner: never null. */
export function ownerExpression(ownership: Ownership, table: OwnedTable, alias: string): string {
  const rule = ruleOrQuarantine(ownership, table, alias);
  if (table.key.length === 0) return rule;
  return `coalesce((select b.user_id from ringfence_rollout.user_id_backup b where ${overrides(table, alias, rule)}), ${rule})`;
}

/** A row's key as ringfence_rollout.user_id_backup has it. */
export function keyText(table: OwnedTable, alias: string): string {
  const columns = table.key.map((column) => `${alias}.${identifier(column)}`);
  const [only] = columns;
  return columns.length === 1 && only !== undefined
    ? `${only}::text`
    : `jsonb_build_array(${columns.join(', ')})::text`;
}

/**
 * The update that gives rows of a table the owner that the rule says. With one source it is a join, so that Postgres may
 * choose how to find the parents. Rows without a rule, and rows that were given away against it, are left as they are.
 *
 * @param leaves the tables that hold the rows
 */
export function sweepOf(ownership: Ownership, table: OwnedTable, leaves: readonly TableLabel[]): Sweep {
  const recursive = table.sources.some((s) => s.kind === 'reference' && s.reference.table === table.table);
  const parts = table.sources.map((source, at) => partOf(ownership, source, 't', `s${at + 1}`));
  const [first] = parts;
  if (parts.length === 1 && first !== undefined && table.defaultOwner === ownership.quarantineOwner) {
    const statements = statementsOf(table, fromOneSource(ownership, table, first));
    return { table: table.table, leaves, ...statements, recursive };
  }
  const { update, unclaimed } = statementsOf(table, fromSeveralSources(ownership, table));
  return { table: table.table, leaves, update, search: searchSeveral(ownership, table, parts), unclaimed, recursive };
}

/** Which rows get which owner. */
interface Assignment {
  readonly value: string;
  /** A relation that the value is from; null where the row itself tells. */
  readonly from: string | null;
  readonly conditions: readonly string[];
}

function statementsOf(
  table: OwnedTable,
  { value, from, conditions }: Assignment,
): Pick<Sweep, 'update' | 'search' | 'unclaimed'> {
  const owner = identifier(table.ownerColumn);
  const where = `where ${[...conditions, '%RANGE%'].join('\n  and ')}`;
  return {
    update: `update %TABLE% t set ${owner} = ${value}\n${from === null ? '' : `from ${from}\n`}${where}`,
    search: `select t.ctid from %TABLE% t${from === null ? '' : `, ${from}`}\n${where}`,
    unclaimed: `t.${owner} = ${literal(table.defaultOwner)}`,
  };
}

function fromOneSource(ownership: Ownership, table: OwnedTable, { from, on, value }: Part): Assignment {
  const conditions = [
    ...(from === null ? [] : [on]),
    `${value} is not null`,
    `t.${identifier(table.ownerColumn)} is distinct from ${value}`,
    ...notOverridden(ownership, table, value),
  ];
  return { value, from, conditions };
}

/**
 * Each source is a look-up by key. A join would need the table a second time, and Postgres reads all of it for each range
 * (71 of 105 ms on 250 000 rows).
 */
function fromSeveralSources(ownership: Ownership, table: OwnedTable): Assignment {
  return assigned(ownership, table, ruleExpression(ownership, table, 't'));
}

/** To read only, a join it is again: it may hash what it looks up. Where two may answer, the first has to. */
function searchSeveral(ownership: Ownership, table: OwnedTable, parts: readonly Part[]): string {
  const joins = parts.flatMap(({ from, on, unique }) =>
    from !== null && unique ? [`left join ${from} on ${on}`] : [],
  );
  const rule = coalesce(parts.map((part) => (part.unique ? part.value : lookedUp(part))));
  const { conditions } = assigned(ownership, table, rule);
  return `select t.ctid from ${['%TABLE% t', ...joins].join('\n')}\nwhere ${[...conditions, '%RANGE%'].join('\n  and ')}`;
}

function assigned(ownership: Ownership, table: OwnedTable, rule: string): Assignment {
  // A default that is somebody's must not stay on rows that no source names.
  const named = table.defaultOwner === ownership.quarantineOwner;
  const value = named ? rule : coalesce([rule, quarantine(ownership)]);
  const conditions = [
    ...(named ? [`${value} is not null`] : []),
    `t.${identifier(table.ownerColumn)} is distinct from ${value}`,
    ...notOverridden(ownership, table, value),
  ];
  return { value, from: null, conditions };
}

function partOf(ownership: Ownership, source: OwnerSource, alias: string, name: string): Part {
  switch (source.kind) {
    case 'uuid': {
      const column = `${alias}.${identifier(source.column)}`;
      return own(source.isText ? `ringfence_rollout.uuid_or_null(${column}::text)` : column);
    }
    case 'derive':
      return own(derived(source.namespace, `${alias}.${identifier(source.column)}`));
    case 'csv':
      return {
        from: `ringfence_rollout.owner_map ${name}`,
        on: `${name}.map = ${literal(source.map)} and ${name}.value = ${alias}.${identifier(source.column)}::text`,
        value: `${name}.user_id`,
        unique: true,
      };
    case 'match':
      return matched(ownership, source, alias, name);
    case 'reference':
      return referenced(ownership, source, alias, name);
  }
}

const own = (value: string): Part => ({ from: null, on: 'true', value, unique: true });

const derived = (namespace: string, value: string) =>
  `ringfence_rollout.derived_user_id(${literal(namespace)}, ${value}::text)`;

function matched({ users }: Ownership, source: LookUp, alias: string, name: string): Part {
  if (users === null) throw new Error('a source looks users up, but there is no table of users');
  const id = `${name}.${identifier(users.id)}`;
  return {
    from: `${users.table} ${name}`,
    on: isNamed(source, `${name}.${identifier(source.usersColumn)}`, `${alias}.${identifier(source.column)}`),
    value: users.idKind === 'uuid' ? id : derived(users.table, id),
    unique: false,
  };
}

function isNamed({ ignoreCase, as }: LookUp, known: string, value: string): string {
  if (ignoreCase) return `lower(${known}::text) = lower(${value}::text)`;
  if (as === 'uuid') return `${known} = ringfence_rollout.uuid_or_null(${value}::text)`;
  return as === 'text' ? `${known}::text = ${value}::text` : `${known} = ${value}`;
}

function referenced(
  ownership: Ownership,
  { reference }: Extract<OwnerSource, { kind: 'reference' }>,
  alias: string,
  name: string,
): Part {
  const parent = ownedTable(ownership, reference.table);
  const owner = `${name}.${identifier(parent.ownerColumn)}`;
  const pairs = reference.columns.map(
    (column, at) => `${name}.${identifier(reference.referencedColumns[at] ?? '')} = ${alias}.${identifier(column)}`,
  );
  // A parent that nobody has claimed does not decide: the next source may know more.
  return {
    from: `${reference.table} ${name}`,
    on: [...pairs, `${owner} <> ${quarantine(ownership)}`].join(' and '),
    value: owner,
    // What a foreign key refers to is unique.
    unique: true,
  };
}

export function ownedTable(ownership: Ownership, label: TableLabel): OwnedTable {
  const table = ownership.owned.find((owned) => owned.table === label);
  if (!table) throw new Error(`${label} is not an owned table`);
  return table;
}

export const quarantine = (ownership: Ownership): string => `${literal(ownership.quarantineOwner)}::uuid`;

function coalesce(values: readonly string[]): string {
  const known = values.filter((value) => value !== 'null');
  if (known.length === 0) return 'null::uuid';
  return known.length === 1 ? (known[0] ?? '') : `coalesce(${known.join(', ')})`;
}

/**
 * An owner given by hand counts as long as the rule says what it said then: when the old application has given the row to
 * somebody since, that is the newer word.
 */
function overrides(table: OwnedTable, alias: string, rule: string): string {
  return [
    `b.table_name = ${literal(table.table)}`,
    `b.id = ${keyText(table, alias)}`,
    'b.user_id is distinct from b.rule_user_id',
    `b.rule_user_id is not distinct from ${rule}`,
  ].join('\n    and ');
}

function notOverridden(ownership: Ownership, table: OwnedTable, value: string): string[] {
  if (table.key.length === 0) return [];
  const rule = coalesce([value, quarantine(ownership)]);
  return [`not exists (select from ringfence_rollout.user_id_backup b where ${overrides(table, 't', rule)})`];
}

/** The update that brings back owners that were given against the rule, by `assign` or before a rollback. */
export function overrideSweepOf(ownership: Ownership, table: OwnedTable, leaves: readonly TableLabel[]): Sweep | null {
  if (table.key.length === 0) return null;
  const rule = ruleOrQuarantine(ownership, table, 't');
  const statements = statementsOf(table, {
    value: 'b.user_id',
    from: 'ringfence_rollout.user_id_backup b',
    conditions: [overrides(table, 't', rule), `t.${identifier(table.ownerColumn)} is distinct from b.user_id`],
  });
  return { table: table.table, leaves, ...statements, recursive: false };
}
