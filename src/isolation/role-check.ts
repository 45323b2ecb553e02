/**
 * Looks at a database role before anybody is served through it, as that role itself: a policy means nothing to a role
 * that is above it, and nothing in an answer would show.
 */
import pg from 'pg';
import { problem } from '../errors.ts';
import { type IdentityKey, mintIdentity, parseUserId } from './identity.ts';
import { quarantineUserId } from './owned-tables.ts';

export interface RoleExpectations {
  /** Tables that must have policies, forced on their owner too; without schema. */
  readonly tables: readonly string[];
  /** The only policies that may apply to the role, or to one that it can become. */
  readonly policies: readonly string[];
  /** A role that it must be able to become with SET ROLE, and whose privileges it may not have before that. */
  readonly becomes?: string;
}

export interface RoleReport {
  readonly role: string;
  readonly serverVersion: number;
  /** One sentence each; empty when the role is fit to serve. */
  readonly faults: readonly string[];
}

/** Superusers in all but name: they read, write or run anything on the server (Postgres manual, "Predefined Roles"). */
const serverRoles = ['pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'];
/** Policies bind them, but privileges do not. */
const dataRoles = ['pg_read_all_data', 'pg_write_all_data'];

/** The login's own role, what it inherits and what it could become with SET ROLE: has_*_privilege leaves the last out. */
const reachable = `
reachable as (select oid, rolname::text as name from pg_roles where pg_has_role(current_user, oid, 'MEMBER'))`;

const attributes = `
select current_user as role, current_setting('server_version_num')::int as "serverVersion",
  coalesce(array_agg(r.rolname::text || ' ' || a.what order by r.rolname = current_user desc, r.rolname, a.place)
    filter (where a.holds), '{}') as faults
from pg_roles r
cross join lateral (values
  (1, r.rolsuper, 'is a superuser, whom no policy binds'),
  (2, r.rolbypassrls, 'has BYPASSRLS'),
  (3, r.rolcreaterole, 'has CREATEROLE and can make itself a member of other roles'),
  (4, r.rolreplication, 'has REPLICATION and can copy every row'),
  (5, r.rolname = any ($1), 'reaches the files or programs of the server'),
  (6, r.rolname = any ($2), 'reaches every table, the keys that identities are signed with among them')
) a (place, holds, what)
where r.rolname = current_user
  or (pg_has_role(current_user, r.oid, 'MEMBER') and not (select rolsuper from pg_roles where rolname = current_user))`;

const database = `
with ${reachable}
select distinct on (x.place)
  case when r.name = current_user then x.what else format('can become %s, which %s', r.name, x.what) end as what
from reachable r
cross join lateral (values
  (1, has_database_privilege(r.oid, current_database(), 'TEMPORARY'), 'may make temporary tables'),
  (2, has_database_privilege(r.oid, current_database(), 'CREATE'), 'may create schemas'),
  (3, has_schema_privilege(r.oid, 'public', 'CREATE'), 'may create objects in the schema public'),
  (4, exists (
    select from pg_namespace n
    where n.nspname = 'ringfence' and (n.nspowner = r.oid or has_schema_privilege(r.oid, n.oid, 'CREATE'))
  ), 'owns the schema of the keys, or may create objects in it'),
  (5, exists (
    select from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'ringfence' and c.relkind in ('r', 'p', 'v') and c.relname = 'identity_keys'
      and (c.relowner = r.oid
        or has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
        or has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))
  ), 'can read or change the keys that identities are signed with'),
  (6, exists (
    select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'ringfence' and p.proowner = r.oid
  ), 'owns the function that verifies identities')
) x (place, holds, what)
where x.holds
order by x.place, r.name <> current_user, r.name`;

/** One row for each expected table, also for one that is not there. */
const tables = `
with ${reachable}
select t.name, c.oid is null as missing,
  coalesce(pg_has_role(current_user, c.relowner, 'MEMBER'), false) as owned,
  not coalesce(c.relrowsecurity, false) as unprotected, not coalesce(c.relforcerowsecurity, false) as unforced,
  exists (select from reachable r where has_table_privilege(r.oid, c.oid, 'TRUNCATE')) as truncates,
  exists (
    select from reachable r
    where has_table_privilege(r.oid, c.oid, 'REFERENCES, TRIGGER') or has_any_column_privilege(r.oid, c.oid, 'REFERENCES')
  ) as attaches,
  array(select p.polname::text from pg_policy p where p.polrelid = c.oid and p.polpermissive
    and exists (select from unnest(p.polroles) m (oid) where m.oid = 0 or pg_has_role(current_user, m.oid, 'MEMBER'))
    order by 1) as policies
from unnest($1::text[]) t (name)
left join pg_class c on c.oid = to_regclass('public.' || quote_ident(t.name))
order by t.name`;

interface TableRow {
  name: string;
  missing: boolean;
  owned: boolean;
  unprotected: boolean;
  unforced: boolean;
  truncates: boolean;
  attaches: boolean;
  policies: string[];
}

/**
 * @param url the role's own log-in
 * @throws Problem `database_unavailable` when it cannot log in
 */
export async function checkRole(url: string, expected: RoleExpectations): Promise<RoleReport> {
  return asRole(url, async (client) => {
    const self = await client.query<{ role: string; serverVersion: number; faults: string[] }>(attributes, [
      serverRoles,
      dataRoles,
    ]);
    const privileges = await client.query<{ what: string }>(database);
    const found = await client.query<TableRow>(tables, [expected.tables]);
    const [row] = self.rows;
    if (!row) throw problem('database_unavailable', 'The database did not say which role this is.');
    const { role, serverVersion } = row;
    const above = row.faults.map((fault) => describe(role, fault));
    // A superuser has every privilege and is in every role: the list of consequences would only hide the reason.
    const consequences = above.length > 0 ? [] : privileges.rows.map(({ what }) => `${role} ${what}`);
    const onTables = found.rows.flatMap((table) => tableFaults(role, table, expected, above.length > 0));
    const onBecoming = above.length > 0 ? [] : await becomingFaults(client, role, expected.becomes);
    return { role, serverVersion, faults: [...above, ...consequences, ...onTables, ...onBecoming] };
  });
}

/** Membership alone does not tell: from Postgres 16 on each grant says whether it inherits and whether SET ROLE may. */
async function becomingFaults(client: pg.Client, role: string, other: string | undefined): Promise<string[]> {
  if (other === undefined) return [];
  const { rows } = await client.query<{ inherits: boolean }>(
    "select pg_has_role(oid, 'USAGE') as inherits from pg_roles where rolname = $1",
    [other],
  );
  if (rows[0]?.inherits) return [`${role} inherits what ${other} may do; it should only be able to SET ROLE to it`];
  try {
    await client.query(`set role ${pg.escapeIdentifier(other)}`);
    await client.query('reset role');
    return [];
  } catch (error) {
    // 42501 not permitted, 22023 no such role.
    if (!(error instanceof pg.DatabaseError && (error.code === '42501' || error.code === '22023'))) throw error;
    return [`${role} may not SET ROLE to ${other}, which signing in needs`];
  }
}

/** "other has BYPASSRLS" about a role it is a member of becomes a sentence about the role itself. */
function describe(role: string, fault: string): string {
  return fault.startsWith(`${role} `) ? fault : `${role} is a member of a role above the policies: ${fault}`;
}

function tableFaults(role: string, table: TableRow, expected: RoleExpectations, above: boolean): string[] {
  const { name } = table;
  if (table.missing) return [`the table ${name} is missing, or ${role} may not see it`];
  const faults = [];
  if (table.unprotected) faults.push(`${name} has no row-level security`);
  else if (table.unforced) faults.push(`${name} does not force row-level security on its owner`);
  if (above) return faults;
  if (table.owned) faults.push(`${role} owns ${name}, or is a member of its owner`);
  if (table.truncates) faults.push(`${role} may truncate ${name}, which no policy stops`);
  if (table.attaches) faults.push(`${role} may attach triggers or references to ${name}`);
  const [first] = expected.policies;
  if (!table.unprotected && first !== undefined && !table.policies.includes(first)) {
    faults.push(`${name} lacks the policy ${first}`);
  }
  const further = table.policies.filter((policy) => !expected.policies.includes(policy));
  if (further.length > 0) faults.push(`${name} has a policy that lets ${role} see more: ${further.join(', ')}`);
  return faults;
}

/**
 * Whether Postgres accepts identities signed with our key.
 *
 * @returns false when the key is not installed there
 */
export async function acceptsIdentity(url: string, key: IdentityKey): Promise<boolean> {
  const user = parseUserId(quarantineUserId);
  if (user === null) throw new TypeError('the quarantine user has no user id');
  return asRole(url, async (client) => {
    const clock = await client.query<{ now: number }>(
      'select extract(epoch from clock_timestamp())::float8 * 1000 as now',
    );
    const identity = mintIdentity(key, user, 0, clock.rows[0]?.now ?? 0);
    try {
      await client.query("select set_config('ringfence.identity', $1, false)", [identity]);
      await client.query('select ringfence.current_user_id()');
      return true;
    } catch (error) {
      if (error instanceof pg.DatabaseError && error.code === 'RF002') return false;
      throw error;
    }
  });
}

async function asRole<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 10_000,
    application_name: 'ringfence',
  });
  try {
    await client.connect();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw problem('database_unavailable', `The database cannot be reached: ${reason}`, {}, { cause });
  }
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => {});
  }
}
