/** What is watched: the tables with owners, and the roles that work on them. */
import type { ClientBase } from 'pg';
import type { TableLabel } from '../catalog.ts';
import { qualified } from '../identifier.ts';
import type { Ownership } from '../ownership.ts';
import { systemRole } from '../verify/expectation.ts';

export interface WatchedTable {
  readonly table: TableLabel;
  readonly schema: string;
  readonly name: string;
  readonly ownerColumn: string;
  /** `account`: the users' own rows, whose keys carry no further owner. */
  readonly class: 'owned' | 'account';
}

export interface Subject {
  readonly tables: readonly WatchedTable[];
  /** Tables that were looked at and have no owner; null when nobody has classified tables, so that none can be new. */
  readonly unowned: readonly TableLabel[] | null;
  readonly appRole: string;
  readonly systemRole: string;
  /** Roles of the old application; exempt until the seal. */
  readonly legacyRoles: readonly string[];
  /** The application names the owner in each statement itself, so that one without is its fault even if policies hold it. */
  readonly filtersItself: boolean;
}

export function watchedTable(
  schema: string,
  name: string,
  ownerColumn: string,
  kind: WatchedTable['class'],
): WatchedTable {
  return { table: qualified(schema, name), schema, name, ownerColumn, class: kind };
}

/** Names are looked up, since a label is quoted SQL. A table that is gone stays in, to be missed. */
export async function subjectOf(client: ClientBase, ownership: Ownership, filtersItself: boolean): Promise<Subject> {
  const { rows } = await client.query<{ label: string; schema: string; name: string }>(
    `select w.label, n.nspname::text as schema, c.relname::text as name
     from unnest($1::text[]) w (label)
     join pg_class c on c.oid = to_regclass(w.label)
     join pg_namespace n on n.oid = c.relnamespace`,
    [ownership.owned.map(({ table }) => table)],
  );
  const found = new Map(rows.map((row) => [row.label, row]));
  return {
    tables: ownership.owned.map((owned) => ({
      table: owned.table,
      schema: found.get(owned.table)?.schema ?? '',
      name: found.get(owned.table)?.name ?? owned.table,
      ownerColumn: owned.ownerColumn,
      class: owned.class,
    })),
    unowned: ownership.unowned.map(({ table }) => table),
    appRole: ownership.appRole,
    systemRole,
    legacyRoles: ownership.legacyRoles,
    filtersItself,
  };
}

/**
 * Without a plan: the tables that have a policy `user_isolation`. The owner column is the one that the policy depends on.
 *
 * @param appRole the role that the application works through
 */
export async function subjectOfPolicies(client: ClientBase, appRole = 'ringfence_app'): Promise<Subject> {
  const { rows } = await client.query<{ schema: string; name: string; column: string }>(
    `select n.nspname::text as schema, c.relname::text as name, min(a.attname)::text as column
     from pg_policy p
     join pg_class c on c.oid = p.polrelid and not c.relispartition
     join pg_namespace n on n.oid = c.relnamespace
     join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid
       and d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid
     join pg_attribute a on a.attrelid = c.oid and a.attnum = d.refobjsubid and a.attnum > 0
     where p.polname = 'user_isolation'
     group by 1, 2 order by 1, 2`,
  );
  return {
    tables: rows.map(({ schema, name, column }) => watchedTable(schema, name, column, 'owned')),
    unowned: null,
    appRole,
    systemRole,
    legacyRoles: [],
    filtersItself: false,
  };
}
