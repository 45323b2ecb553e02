/**
 * Decides whose the rows of each table are, by rule: an owner column, else foreign keys to owned tables, else what the
 * configuration says. A table that no rule and no configuration classifies is an error, not a guess.
 */
import type { ClientBase } from 'pg';
import { type Catalog, type ForeignKey, type Table, type TableLabel, tableOf } from './catalog.ts';
import type { Context } from './decision-context.ts';
import { type Finding, fail } from './finding.ts';
import { legacyRolesOf } from './legacy-roles.ts';
import { describeSource, ownSources, referenceOf } from './own-sources.ts';
import type { OwnedTable, OwnerSource, Ownership, UnownedTable } from './ownership.ts';
import { parentsFirst, straightFirst } from './parents-first.ts';
import type { RolloutConfig } from './rollout-config.ts';
import { findUsers } from './users-table.ts';

/** Owner of rows that nobody has claimed; nobody can sign in as this user. */
export const quarantineOwner = '00000000-0000-4000-8000-000000000000';

export interface Decision {
  readonly ownership: Ownership;
  /** What could not be decided (fail), and what was decided that should be known (warn). */
  readonly findings: readonly Finding[];
}

export async function decideOwnership(client: ClientBase, catalog: Catalog, config: RolloutConfig): Promise<Decision> {
  const findings: Finding[] = unknownLabels(catalog, config);
  const tables = [...catalog.tables.values()].filter(
    (table) => table.partitionOf === null && (config.schemas?.includes(table.schema) ?? true),
  );
  const users = findUsers(tables, config);
  const context: Context = { client, catalog, config, users, findings };
  const classes = new Map(tables.map((table) => [table.label, declaredClass(context, table)]));
  const byColumn = new Map<TableLabel, OwnerSource[]>();
  for (const table of tables.filter((t) => isOpen(classes.get(t.label)))) {
    byColumn.set(table.label, await ownSources(context, table));
  }
  const owned = ownedTables(context, tables, classes, byColumn);
  const unowned = unownedTables(context, tables, classes, owned);
  const drafts = [...owned].map((label) => draft(context, tableOf(catalog, label), byColumn, owned));
  for (const table of tables) refuseCrossing(context, table, owned);
  const ownership: Ownership = {
    users,
    owned: parentsFirst(drafts.map((table) => settled(context, table, drafts))),
    unowned,
    legacyRoles: legacyRolesOf(catalog, [...owned], config.legacyRoles),
    quarantineOwner,
    appRole: 'ringfence_app',
  };
  return { ownership, findings };
}

type Declared = 'owned' | 'account' | 'shared' | 'ignored' | undefined;

const isOpen = (declared: Declared) => declared === undefined || declared === 'owned' || declared === 'account';

function unknownLabels(catalog: Catalog, config: RolloutConfig): Finding[] {
  const named = [...Object.keys(config.tables), ...config.shared, ...config.ignored];
  if (config.users) named.push(config.users.table);
  return named
    .filter((label) => !catalog.tables.has(label))
    .map((label) =>
      fail(
        'unknown-table',
        label,
        'the configuration names a table that is not there.',
        `Write it as plan does, for instance ${[...catalog.tables.keys()][0] ?? 'public.tasks'}.`,
      ),
    );
}

function declaredClass({ config, users }: Context, table: Table): Declared {
  const declared = config.tables[table.label]?.class;
  if (declared !== undefined) return declared;
  if (config.shared.includes(table.label)) return 'shared';
  if (config.ignored.includes(table.label)) return 'ignored';
  return users?.table === table.label ? 'account' : undefined;
}

/** Owned is what has an owner column or is declared so, and what refers to something owned, at any depth. */
function ownedTables(
  context: Context,
  tables: readonly Table[],
  classes: ReadonlyMap<TableLabel, Declared>,
  byColumn: ReadonlyMap<TableLabel, readonly OwnerSource[]>,
): Set<TableLabel> {
  const owned = new Set<TableLabel>();
  const open = tables.filter((table) => table.kind !== 'foreign' && isOpen(classes.get(table.label)));
  for (const table of open) {
    const declared = classes.get(table.label) !== undefined || context.config.tables[table.label]?.owner !== undefined;
    if (declared || (byColumn.get(table.label)?.length ?? 0) > 0) owned.add(table.label);
  }
  for (let before = -1; before !== owned.size; ) {
    before = owned.size;
    for (const table of open) {
      if (table.foreignKeys.some((fk) => isParent(context, fk, owned))) owned.add(table.label);
    }
  }
  return owned;
}

/** A reference to the users' table names somebody, not necessarily the owner; ownerColumn() has looked at those. */
function isParent({ users }: Context, fk: ForeignKey, owned: ReadonlySet<TableLabel>): boolean {
  return owned.has(fk.references) && fk.references !== users?.table;
}

function unownedTables(
  { config, findings }: Context,
  tables: readonly Table[],
  classes: ReadonlyMap<TableLabel, Declared>,
  owned: ReadonlySet<TableLabel>,
): UnownedTable[] {
  const unowned: UnownedTable[] = [];
  for (const table of tables.filter((t) => !owned.has(t.label))) {
    const declared = classes.get(table.label);
    if (declared === 'shared' || declared === 'ignored') {
      unowned.push({ table: table.label, class: declared, reason: config.tables[table.label]?.reason ?? 'declared' });
      continue;
    }
    findings.push(
      fail(
        'unclassified-table',
        table.label,
        table.kind === 'foreign'
          ? 'a foreign table cannot have policies.'
          : 'no column and no reference says whose its rows are.',
        `Declare it: "shared": ["${table.label}"] when everybody may read it, "ignored" when the application does not need it, or give it an "owner".`,
      ),
    );
  }
  return unowned;
}

type Draft = Omit<OwnedTable, 'reason'>;

function draft(
  context: Context,
  table: Table,
  byColumn: ReadonlyMap<TableLabel, readonly OwnerSource[]>,
  owned: ReadonlySet<TableLabel>,
): Draft {
  const declared = context.config.tables[table.label]?.owner !== undefined;
  const own = byColumn.get(table.label) ?? [];
  const isAccount = context.users?.table === table.label || context.config.tables[table.label]?.class === 'account';
  const parents = table.foreignKeys.filter((fk) => isParent(context, fk, owned));
  const fromParents = declared || isAccount ? [] : parentSources(table, parents);
  const column = ownerColumnFor(table, own, isAccount);
  // An adopted column is the owner; nothing has to be worked out.
  const sources = column.adopted ? [] : needsParents(table, own) ? [...own, ...fromParents] : own;
  return {
    table: table.label,
    class: isAccount ? 'account' : 'owned',
    ...column,
    sources,
    defaultOwner: context.config.tables[table.label]?.defaultOwner ?? quarantineOwner,
    key: table.primaryKey?.columns ?? [],
    references: isAccount ? [] : parents.map(referenceOf),
    partitions: table.partitions,
  };
}

/** The operator's order stands. */
function settled({ config }: Context, table: Draft, drafts: readonly Draft[]): OwnedTable {
  const declared = config.tables[table.table]?.owner !== undefined;
  const sources = declared ? table.sources : straightFirst(table, drafts);
  return { ...table, sources, reason: reasonFor(table, sources, declared) };
}

/** A column that may be empty leaves rows over, for which a parent may know the owner. */
function needsParents(table: Table, own: readonly OwnerSource[]): boolean {
  return own.every(
    (source) => source.kind === 'reference' || !table.columns.find((c) => c.name === source.column)?.notNull,
  );
}

function ownerColumnFor(
  table: Table,
  own: readonly OwnerSource[],
  isAccount: boolean,
): { ownerColumn: string; adopted: boolean } {
  const [only] = own;
  if (own.length === 1 && only?.kind === 'uuid' && !only.isText) {
    const column = table.columns.find(({ name }) => name === only.column);
    if (column?.notNull && !column.generated && (isAccount || column.name === 'user_id')) {
      return { ownerColumn: column.name, adopted: true };
    }
  }
  const taken = table.columns.some(({ name }) => name === 'user_id');
  return { ownerColumn: taken ? 'ringfence_user_id' : 'user_id', adopted: false };
}

/** Those that must be there and whose going takes the row along are its parents more than others; itself comes last. */
function parentSources(table: Table, parents: readonly ForeignKey[]): OwnerSource[] {
  const required = (fk: ForeignKey) => fk.columns.every((name) => table.columns.find((c) => c.name === name)?.notNull);
  const weight = (fk: ForeignKey) =>
    (fk.references === table.label ? 4 : 0) + (required(fk) ? 0 : 2) + (fk.onDelete === 'cascade' ? 0 : 1);
  return parents
    .toSorted((a, b) => weight(a) - weight(b))
    .map((fk) => ({ kind: 'reference', reference: referenceOf(fk) }));
}

function reasonFor({ adopted, ownerColumn }: Draft, sources: readonly OwnerSource[], declared: boolean): string {
  if (adopted) return `the user's id in ${ownerColumn}: kept as it is`;
  const way = sources.length > 0 ? sources.map(describeSource).join(', else ') : 'nobody: quarantine';
  return declared ? `${way} (configuration)` : way;
}

/** What everybody reads may not hang on what one user owns, nor may what nobody classified. */
function refuseCrossing({ findings, users }: Context, table: Table, owned: ReadonlySet<TableLabel>): void {
  if (owned.has(table.label)) return;
  for (const fk of table.foreignKeys.filter((key) => owned.has(key.references) && key.references !== users?.table)) {
    findings.push(
      fail(
        'reference-from-outside',
        table.label,
        `${fk.name} refers to ${fk.references}, whose keys will carry the owner.`,
        'Make this table owned as well, or drop the reference.',
      ),
    );
  }
}
