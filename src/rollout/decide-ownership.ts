/**
 * Decides whose the rows of each table are, by rule: an owner column, else foreign keys to owned tables, else what the
 * configuration says. A table that no rule and no configuration classifies is an error, not a guess.
 */
import type { ClientBase } from 'pg';
import { type Catalog, type ForeignKey, type Table, type TableLabel, tableOf } from './catalog.ts';
import { readColumnContents } from './column-contents.ts';
import { type Finding, fail, warn } from './finding.ts';
import { legacyRolesOf } from './legacy-roles.ts';
import type { OwnedReference, OwnedTable, OwnerSource, Ownership, UnownedTable, UsersTable } from './ownership.ts';
import { parentsFirst } from './parents-first.ts';
import type { OwnerRule, RolloutConfig } from './rollout-config.ts';

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
    byColumn.set(table.label, await declaredOrFound(context, table));
  }
  const owned = ownedTables(context, tables, classes, byColumn);
  const unowned = unownedTables(context, tables, classes, owned);
  const drafts = [...owned].map((label) => draft(context, tableOf(catalog, label), byColumn, owned));
  for (const table of tables) refuseCrossing(context, table, owned);
  const ownership: Ownership = {
    users,
    owned: parentsFirst(drafts),
    unowned,
    legacyRoles: legacyRolesOf(catalog, [...owned], config.legacyRoles),
    quarantineOwner,
    appRole: 'ringfence_app',
  };
  return { ownership, findings };
}

interface Context {
  readonly client: ClientBase;
  readonly catalog: Catalog;
  readonly config: RolloutConfig;
  readonly users: FoundUsers | null;
  readonly findings: Finding[];
}

type FoundUsers = UsersTable & { readonly uniqueColumns: readonly string[] };
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

const usualNames = [
  'users',
  'user',
  'accounts',
  'account',
  'app_users',
  'user_accounts',
  'people',
  'members',
  'customers',
];

/** Whose rows say themselves whose they are (customers of a user) are not the users. */
function isUsersLike(table: Table): boolean {
  const namesAnother = ['user_id', 'owner_id', 'owner_user_id', 'account_id'];
  return table.primaryKey?.columns.length === 1 && !table.columns.some(({ name }) => namesAnother.includes(name));
}

/** The configured table of users, else the only one with a usual name and a key of one column. */
function findUsers(tables: readonly Table[], config: RolloutConfig): FoundUsers | null {
  if (config.users === null) return null;
  const wanted = config.users?.table;
  const candidates =
    wanted === undefined
      ? usualNames.flatMap((name) => tables.filter((t) => t.name.toLowerCase() === name && isUsersLike(t)))
      : tables.filter((t) => t.label === wanted);
  const [table] = candidates;
  const id = table?.primaryKey?.columns[0];
  if (table === undefined || id === undefined) return null;
  const type = table.columns.find((column) => column.name === id)?.type;
  const uniqueColumns = table.indexes
    .filter((index) => index.unique && index.valid && !index.partial && index.columns.length === 1)
    .flatMap((index) => index.columns[0] ?? [])
    .filter((name) => name !== id);
  return {
    table: table.label,
    id,
    idKind: type === 'uuid' ? 'uuid' : 'derived',
    uniqueColumns: [...new Set(uniqueColumns)],
  };
}

/** Sources from the configuration or from the table's own columns; references are found later, when it is known what is owned. */
async function declaredOrFound(context: Context, table: Table): Promise<OwnerSource[]> {
  const { users } = context;
  const declared = context.config.tables[table.label]?.owner;
  if (declared !== undefined) {
    const rules = Array.isArray(declared) ? declared : [declared];
    return rules.flatMap((rule) => fromRule(context, table, rule));
  }
  if (users?.table === table.label) return [ofUser(users, users.id)];
  const found = await ownerColumn(context, table);
  return found === null ? [] : [found];
}

function fromRule(context: Context, table: Table, rule: OwnerRule): OwnerSource[] {
  if (rule === 'quarantine') return [];
  if ('reference' in rule) return referenceRule(context, table, rule.reference);
  const column = table.columns.find(({ name }) => name === rule.column);
  if (!column) {
    context.findings.push(
      fail(
        'unknown-column',
        table.label,
        `the configuration names the column ${rule.column}, which is not there.`,
        `It has ${table.columns.map(({ name }) => name).join(', ')}.`,
      ),
    );
    return [];
  }
  if ('matches' in rule) {
    if (context.users === null)
      context.findings.push(
        fail(
          'no-users-table',
          table.label,
          'the owner is to be looked up, but no table of users is known.',
          'Name it in the configuration: "users": { "table": … }.',
        ),
      );
    return [{ kind: 'match', column: column.name, usersColumn: rule.matches, ignoreCase: rule.ignoreCase }];
  }
  if ('csv' in rule) {
    if (!(rule.csv in context.config.csv))
      context.findings.push(
        fail('unknown-list', table.label, `the configuration has no list "${rule.csv}".`, 'Name its file under "csv".'),
      );
    return [{ kind: 'csv', column: column.name, map: rule.csv }];
  }
  if (rule.as === 'uuid') return [{ kind: 'uuid', column: column.name, isText: column.type !== 'uuid' }];
  return [{ kind: 'derive', column: column.name, namespace: rule.namespace ?? context.users?.table ?? 'owner' }];
}

/** Names a foreign key by its constraint or its only column. */
function referenceRule(context: Context, table: Table, name: string): OwnerSource[] {
  const key =
    table.foreignKeys.find((fk) => fk.name === name) ??
    table.foreignKeys.find((fk) => fk.columns.length === 1 && fk.columns[0] === name);
  if (!key) {
    context.findings.push(
      fail(
        'unknown-reference',
        table.label,
        `the configuration names the reference ${name}, which is not there.`,
        `It has ${table.foreignKeys.map((fk) => fk.name).join(', ') || 'none'}.`,
      ),
    );
    return [];
  }
  if (context.users !== null && key.references === context.users.table)
    return [ofUser(context.users, key.columns[0] ?? '')];
  return [{ kind: 'reference', reference: referenceOf(key) }];
}

function ofUser(users: UsersTable, column: string): OwnerSource {
  return users.idKind === 'uuid'
    ? { kind: 'uuid', column, isText: false }
    : { kind: 'derive', column, namespace: users.table };
}

/** In the order in which they are believed. */
const ownerNames = [
  'user_id',
  'userid',
  'owner_id',
  'ownerid',
  'owner',
  'owner_user_id',
  'account_id',
  'accountid',
  'customer_id',
  'member_id',
  'created_by',
  'created_by_id',
  'author_id',
  'author',
  'user',
  'username',
  'user_name',
  'login',
  'user_email',
  'owner_email',
  'email',
];

async function ownerColumn(context: Context, table: Table): Promise<OwnerSource | null> {
  const { users } = context;
  const toUsers = users
    ? table.foreignKeys.filter((fk) => fk.references === users.table && fk.columns.length === 1)
    : [];
  const rank = (name: string) => ownerNames.indexOf(name.toLowerCase());
  // `customer_id` may be a user or a business partner: what it refers to decides.
  const pointsElsewhere = (name: string) =>
    table.foreignKeys.some((fk) => fk.columns.includes(name) && !toUsers.includes(fk));
  const candidates = table.columns
    .filter((column) => rank(column.name) >= 0 || toUsers.some((fk) => fk.columns[0] === column.name))
    .filter((column) => !pointsElsewhere(column.name))
    .filter((column) => !column.generated && !table.primaryKey?.columns.every((key) => key === column.name))
    .sort((a, b) => place(rank(a.name)) - place(rank(b.name)));
  const named = candidates.filter((column) => rank(column.name) >= 0);
  const [column] = named.length > 0 ? named : candidates;
  if (!column) return null;
  if (named.length === 0 && candidates.length > 1) {
    context.findings.push(
      fail(
        'ambiguous-owner',
        table.label,
        `any of ${candidates.map(({ name }) => name).join(', ')} could name the owner.`,
        'Say which in the configuration: "owner": { "reference": … }.',
      ),
    );
  }
  if (users && toUsers.some((fk) => fk.columns[0] === column.name)) return ofUser(users, column.name);
  return byContents(context, table, column.name, column.type);
}

const place = (rank: number) => (rank < 0 ? ownerNames.length : rank);

/** A column of text without a foreign key: what is in it decides. */
async function byContents(context: Context, table: Table, column: string, type: string): Promise<OwnerSource> {
  if (type === 'uuid') return { kind: 'uuid', column, isText: false };
  const contents = await readColumnContents(context.client, table, column, context.users);
  if (contents.values > 0 && contents.uuids === 1) return { kind: 'uuid', column, isText: true };
  const [best] = contents.matches.toSorted((a, b) => b.share - a.share);
  if (best !== undefined && best.share >= 0.5) {
    if (best.share < 1) {
      const unmatched = Math.round((1 - best.share) * 1000) / 10;
      context.findings.push(
        warn(
          'unmatched-owners',
          table.label,
          `${unmatched} % of the values of ${column} are no ${best.column} of ${context.users?.table}: those rows stay in quarantine.`,
          'Give them owners with `ringfence assign`, or a list ("csv") in the configuration.',
        ),
      );
    }
    return { kind: 'match', column, usersColumn: best.column, ignoreCase: false };
  }
  return { kind: 'derive', column, namespace: context.users?.table ?? 'owner' };
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

function draft(
  context: Context,
  table: Table,
  byColumn: ReadonlyMap<TableLabel, readonly OwnerSource[]>,
  owned: ReadonlySet<TableLabel>,
): OwnedTable {
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
    reason: reasonFor(own, fromParents, column.adopted, declared),
  };
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

export function referenceOf(fk: ForeignKey): OwnedReference {
  return { name: fk.name, columns: fk.columns, table: fk.references, referencedColumns: fk.referencedColumns };
}

function reasonFor(
  own: readonly OwnerSource[],
  parents: readonly OwnerSource[],
  adopted: boolean,
  declared: boolean,
): string {
  const said = own.map(describeSource);
  if (adopted) return `${said.join(', ')}: kept as it is`;
  const all = [...said, ...parents.map(describeSource)];
  const way = all.length > 0 ? all.join(', else ') : 'nobody: quarantine';
  return declared ? `${way} (configuration)` : way;
}

export function describeSource(source: OwnerSource): string {
  switch (source.kind) {
    case 'uuid':
      return `the user's id in ${source.column}`;
    case 'match':
      return `the user whose ${source.usersColumn} is in ${source.column}`;
    case 'csv':
      return `the list "${source.map}" by ${source.column}`;
    case 'derive':
      return `the user that ${source.column} names`;
    case 'reference':
      return `the owner of ${source.reference.table} by ${source.reference.columns.join(', ')}`;
  }
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
