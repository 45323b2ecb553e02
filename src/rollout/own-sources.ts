/** Where a row's owner comes from, as the configuration or the table's own columns say. */
import { type ForeignKey, type Table, tableOf } from './catalog.ts';
import type { Context } from './decision-context.ts';
import { fail } from './finding.ts';
import { byContents, lookUpBy, ofForeignKey } from './named-user.ts';
import type { OwnedReference, OwnerSource } from './ownership.ts';
import type { OwnerRule } from './rollout-config.ts';
import { isAmbiguous, ofUser } from './users-table.ts';

/** Sources from the configuration or from the table's own columns; references are found later, when it is known what is owned. */
export async function ownSources(context: Context, table: Table): Promise<OwnerSource[]> {
  const { users } = context;
  const declared = context.config.tables[table.label]?.owner;
  if (declared !== undefined) {
    const rules = Array.isArray(declared) ? declared : [declared];
    const sources = await Promise.all(rules.map((rule) => fromRule(context, table, rule)));
    return sources.flat();
  }
  if (users?.table === table.label) return [ofUser(users, users.id)];
  const found = await ownerColumn(context, table);
  return found === null ? [] : [found];
}

async function fromRule(context: Context, table: Table, rule: OwnerRule): Promise<OwnerSource[]> {
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
  if ('matches' in rule) return matchRule(context, table, rule);
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

async function matchRule(
  { client, users, catalog, findings }: Context,
  table: Table,
  { column, matches, ignoreCase }: Extract<OwnerRule, { matches: string }>,
): Promise<OwnerSource[]> {
  if (users === null) {
    findings.push(
      fail(
        'no-users-table',
        table.label,
        'the owner is to be looked up, but no table of users is known.',
        'Name it in the configuration: "users": { "table": … }.',
      ),
    );
    return [];
  }
  const known = tableOf(catalog, users.table).columns.some(({ name }) => name === matches);
  if (!known || (await isAmbiguous(client, users, matches, ignoreCase))) {
    findings.push(
      fail(
        'ambiguous-users',
        table.label,
        `${users.table} has ${known ? `several users with the same ${matches}` : `no column ${matches}`}.`,
        'Name a column that tells users apart.',
      ),
    );
  }
  if (!known) return [];
  return [lookUpBy(catalog, users, table, { column, usersColumn: matches, ignoreCase })];
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
    return [ofForeignKey(context.catalog, context.users, table, key)];
  return [{ kind: 'reference', reference: referenceOf(key) }];
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
  const reference = toUsers.find((fk) => fk.columns[0] === column.name);
  if (users && reference) return ofForeignKey(context.catalog, users, table, reference);
  return byContents(context, table, column.name);
}

const place = (rank: number) => (rank < 0 ? ownerNames.length : rank);

export function referenceOf(fk: ForeignKey): OwnedReference {
  return { name: fk.name, columns: fk.columns, table: fk.references, referencedColumns: fk.referencedColumns };
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
