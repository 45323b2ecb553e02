/**
 * Gives the two roles of 003 their passwords and Postgres the key that identities are signed with. Both are derived
 * from the server's secret, so that several servers agree without telling each other.
 */
import { hkdfSync } from 'node:crypto';
import pg from 'pg';
import { deriveIdentityKey } from '../isolation/identity.ts';
import { putIdentityKey } from '../isolation/identity-keys.ts';
import { type OwnerConnection, withOwner, withSchemaLock } from './owner.ts';

export const appRole = 'ringfence_app';
export const systemRole = 'ringfence_system';
export type ServingRole = typeof appRole | typeof systemRole;

/** The present key and the one before it: a server that still has the old secret goes on until it is restarted. */
const keysKept = 2;

/** The log-in of a role, made from the owner's connection string and the server's secret. */
export function roleUrl(ownerUrl: string, role: ServingRole, secret: string): string {
  const url = new URL(ownerUrl);
  url.username = role;
  url.password = rolePassword(role, secret);
  return url.href;
}

/**
 * Needs the schema at 003. Idempotent; safe from several servers at once.
 *
 * @param ownLogins the operator's log-ins are served through (DATABASE_APP_URL, DATABASE_SYSTEM_URL): the two roles get
 *   no password
 */
export async function provision(ownerUrl: string, secret: string, ownLogins = false): Promise<void> {
  await withOwner(ownerUrl, (owner) =>
    withSchemaLock(owner, async () => {
      await installIdentityKey(owner, secret);
      for (const role of ownLogins ? [] : ([appRole, systemRole] as const)) {
        if (!(await canLogIn(roleUrl(ownerUrl, role, secret)))) await openRole(owner, role, secret);
      }
      await closeDatabase(owner);
      await closeFunctions(owner);
      await collectStatistics(owner);
    }),
  );
}

/** Installs the key derived from the secret and forgets all but the newest two. */
export async function installIdentityKey(owner: OwnerConnection, secret: string): Promise<void> {
  await putIdentityKey(owner, deriveIdentityKey(secret));
  await owner.query(
    `delete from ringfence.identity_keys where key_id not in (
       select key_id from ringfence.identity_keys order by created_at desc limit $1
     )`,
    [keysKept],
  );
}

function rolePassword(role: ServingRole, secret: string): string {
  return Buffer.from(hkdfSync('sha256', secret, '', `ringfence role password ${role}`, 24)).toString('base64url');
}

async function canLogIn(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  try {
    await client.connect();
    return true;
  } catch (error) {
    // 28P01 wrong password, 28000 not permitted to log in: what this is here to put right. The rest is not.
    if (error instanceof pg.DatabaseError && (error.code === '28P01' || error.code === '28000')) return false;
    throw error;
  } finally {
    await client.end().catch(() => {});
  }
}

/**
 * Limits are the role's, not the connection's, so that they also hold behind a pooler. So is the kind of plan: a custom
 * plan was made anew on each of 250 executions of a statement (1.3 ms each), and the generic one was as good. And a list
 * goes along the index that has its order: where users have fewer rows than a page on average, the planner would rather
 * collect all of them by a bitmap and sort, also for the user who has 50 000. The policy halves what it expects.
 */
async function openRole(owner: OwnerConnection, role: ServingRole, secret: string): Promise<void> {
  const password = pg.escapeLiteral(rolePassword(role, secret));
  await owner.query(`
    alter role ${role} login password ${password};
    alter role ${role} set statement_timeout = '30s';
    alter role ${role} set lock_timeout = '10s';
    alter role ${role} set timezone = 'UTC';
    alter role ${role} set idle_in_transaction_session_timeout = '60s';
    alter role ${role} set plan_cache_mode = 'force_generic_plan';
    alter role ${role} set enable_bitmapscan = off;
  `);
}

/**
 * Nobody but the owner may make temporary objects: one could shadow what a careless search_path resolves. 003 says so
 * too, but a database's own privileges are neither in a plain pg_dump nor in a clone.
 */
export async function closeDatabase(owner: OwnerConnection): Promise<void> {
  const { rows } = await owner.query<{ name: string }>('select current_database() as name');
  const database = pg.escapeIdentifier(rows[0]?.name ?? '');
  await owner.query(`revoke temporary, create on database ${database} from public`);
  await owner.query(`grant connect on database ${database} to ${appRole}, ${systemRole}`);
}

/**
 * Each runs a statement that it is given, with privileges checked anew: behind `set_config('role', …)` in the same
 * statement, one that began as ringfence_accounts would end as ringfence_system. We use none of them.
 */
const statementRunners = [
  'query_to_xml',
  'query_to_xmlschema',
  'query_to_xml_and_xmlschema',
  'table_to_xml',
  'table_to_xmlschema',
  'table_to_xml_and_xmlschema',
  'schema_to_xml',
  'schema_to_xmlschema',
  'schema_to_xml_and_xmlschema',
  'database_to_xml',
  'database_to_xmlschema',
  'database_to_xml_and_xmlschema',
  'cursor_to_xml',
  'cursor_to_xmlschema',
  'ts_stat',
  'ts_rewrite',
];

/** Rows belong to somebody, large objects to a role: what one user's statement leaves there, another's finds. */
const largeObjectWriters = ['lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lowrite'];

/**
 * What others do and how much they have, counted or listed. The names of prepared statements are among it: who knows one
 * can put a statement of his own in its place on a connection that serves the next user. Monitoring keeps them. Sizes of
 * relations stay open: they are in pg_class and EXPLAIN as well, and an owner who is no superuser reads them.
 */
const observers = [
  'pg_lock_status',
  'pg_blocking_pids',
  'pg_prepared_statement',
  'pg_prepared_xact',
  'pg_listening_channels',
  'pg_cancel_backend',
  'pg_terminate_backend',
];

/** Only a superuser can take functions of Postgres itself from PUBLIC; elsewhere they stay as they are. */
async function closeFunctions(owner: OwnerConnection): Promise<void> {
  await takeFromPublic(owner, `proname = any ('{${[...statementRunners, ...largeObjectWriters].join()}}')`);
  // Counters of a table, a database or a backend: those with one argument. The others count for the whole cluster, and
  // come and go between versions; pg_upgrade stops at a privilege on a function that the new version lacks.
  const counters = `starts_with(proname, 'pg_stat_get_') and proargtypes[0] in ('oid'::regtype, 'integer'::regtype)
    and pronargs = 1`;
  await takeFromPublic(owner, `(proname = any ('{${observers.join()}}') or ${counters})`, 'pg_monitor');
}

/** @param keeper a role that keeps the right, beside the owners of the database and of the tables in it */
async function takeFromPublic(owner: OwnerConnection, which: string, keeper?: string): Promise<void> {
  const { rows } = await owner.query<{ signature: string; owners: string }>(
    `select p.oid::regprocedure::text as signature, (
       select string_agg(distinct o::regrole::text, ', ') from (
         select datdba from pg_database where datname = current_database()
         union select relowner from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace
       ) owners (o)
     ) as owners
     from pg_proc p where pronamespace = 'pg_catalog'::regnamespace and ${which}
       and has_function_privilege('public', p.oid, 'execute')
       and (select rolsuper from pg_roles where rolname = current_user)
     order by 1`,
  );
  const [first] = rows;
  if (first === undefined) return;
  const signatures = rows.map(({ signature }) => signature).join(', ');
  if (keeper !== undefined) await owner.query(`grant execute on function ${signatures} to ${keeper}, ${first.owners}`);
  await owner.query(`revoke execute on function ${signatures} from public`);
}

const statisticsOpenToAll = `
select o.object from pg_extension e
join pg_depend d on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid and d.deptype = 'e'
left join pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid
left join pg_proc p on d.classid = 'pg_proc'::regclass and p.oid = d.objid
cross join lateral (values
  ('table ' || c.oid::regclass, c.relacl),
  ('function ' || p.oid::regprocedure, coalesce(p.proacl, acldefault('f', p.proowner)))
) o (object, acl)
where e.extname = 'pg_stat_statements' and o.object is not null
  and exists (select from aclexplode(o.acl) a where a.grantee = 0)
order by 1`;

/** The guide's monitoring (G55, G56) reads pg_stat_statements. Where it cannot be had, serving goes on without. */
async function collectStatistics(owner: OwnerConnection): Promise<void> {
  const { rows } = await owner.query(
    "select from pg_settings where name = 'shared_preload_libraries' and setting like '%pg_stat_statements%'",
  );
  if (rows.length === 0) return;
  try {
    await owner.query('create extension if not exists pg_stat_statements schema public');
    // What other users' requests ran, and how often, is nothing the application's roles need.
    // The functions behind the views as well: which there are depends on the extension's version.
    const { rows: open } = await owner.query<{ object: string }>(statisticsOpenToAll);
    for (const { object } of open) await owner.query(`revoke all on ${object} from public`);
  } catch (error) {
    // 42501: the owner may not create extensions; a DBA has to.
    if (!(error instanceof pg.DatabaseError && error.code === '42501')) throw error;
  }
}
