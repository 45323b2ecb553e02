/** What must not change behind anybody's back, as a hash for each object, so that a change has a name. */
import { createHash } from 'node:crypto';
import type { Table } from '../catalog.ts';
import type { Context } from './check.ts';

/** `policy public.tasks user_isolation` → a short hash of its definition. In the order of the names. */
export type Fingerprint = Readonly<Record<string, string>>;

/** Policies, keys, references, owner columns, grants, and every table there is. Nothing of the rows, nothing that ages. */
export function fingerprint({ catalog, guarded, facts, expectation }: Omit<Context, 'client'>): Fingerprint {
  const parts = new Map<string, string>();
  const add = (name: string, value: unknown) => parts.set(name, short(JSON.stringify(value)));
  for (const label of catalog.tables.keys()) add(`table ${label}`, null);
  const watched = new Set([...guarded.map(({ label }) => label), ...expectation.ownership.unowned.map((u) => u.table)]);
  for (const label of watched) {
    const table = catalog.tables.get(label);
    if (table) addGrants(table, add);
  }
  for (const { table, owned } of guarded) addGuard(table, owned.ownerColumn, add);
  for (const verifier of facts.identityFunctions) add(`function ${verifier.signature}`, verifier);
  add('privileges on ringfence.identity_keys', facts.keyReaders);
  add(`role ${expectation.ownership.appRole}`, [
    facts.roles,
    facts.mayMakeTemporary,
    facts.mayCreateSchemas,
    facts.createsIn,
  ]);
  add('default privileges', facts.defaultPrivileges);
  for (const view of facts.views) add(`view ${view.label}`, view);
  for (const signature of facts.definerFunctions) {
    if (!parts.has(`function ${signature}`)) add(`function ${signature}`, null);
  }
  return Object.fromEntries([...parts].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

export function fingerprintHash(parts: Fingerprint): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

type Add = (name: string, value: unknown) => void;

function addGrants({ label, grants, owner }: Table, add: Add): void {
  add(`owner of ${label}`, owner);
  for (const [grantee, held] of Map.groupBy(grants, (grant) => grant.grantee)) {
    add(
      `grants on ${label} to ${grantee}`,
      held.map((grant) => [grant.privilege, grant.column]),
    );
  }
}

function addGuard(table: Table, ownerColumn: string, add: Add): void {
  const { label } = table;
  add(`row security of ${label}`, [table.rowSecurity, table.forced]);
  const column = table.columns.find(({ name }) => name === ownerColumn);
  // Not the whole of it: what a later version reads besides would be drift in every database.
  add(
    `owner column of ${label}`,
    column ? [column.type, column.notNull, column.default, column.generated, column.identity] : null,
  );
  for (const { name, definition } of table.policies) add(`policy ${label} ${name}`, definition);
  for (const key of [table.primaryKey, ...table.uniques]) if (key) add(`key ${label} ${key.name}`, key.definition);
  for (const key of table.foreignKeys) add(`reference ${label} ${key.name}`, [key.definition, key.validated]);
  for (const index of table.indexes.filter((i) => i.unique || i.columns[0] === ownerColumn)) {
    add(`index ${label} ${index.name}`, [index.definition, index.valid]);
  }
  for (const trigger of table.triggers) add(`trigger ${label} ${trigger.name}`, [trigger.definition, trigger.enabled]);
}

function short(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
