/** What the application's roles can reach is what the catalogue of owned tables says, and nothing else. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ownExtras, ownSchema } from '../../src/database/own-rollout.ts';
import { closeDatabase } from '../../src/database/provision.ts';
import {
  type AccountTable,
  accountTables,
  type OwnedTable,
  ownedTables,
  sharedTables,
} from '../../src/isolation/owned-tables.ts';
import { appRoleCheck } from '../../src/rollout/verify/app-role.ts';
import type { Context } from '../../src/rollout/verify/check.ts';
import { closureFaults, readClosure } from '../../src/rollout/verify/closure/closure.ts';
import { titleOf } from '../../src/rollout/verify/closure/found.ts';
import { grantCheck } from '../../src/rollout/verify/grants.ts';
import { identityCheck } from '../../src/rollout/verify/identity-function.ts';
import { policyCheck } from '../../src/rollout/verify/policies.ts';
import { structureChecks } from '../../src/rollout/verify/structure.ts';
import { readContext } from '../../src/rollout/verify/verify.ts';
import { createDatabase, type TestDatabase } from '../support/postgres.ts';

const owned: readonly OwnedTable[] = ownedTables;
const accounts: readonly AccountTable[] = accountTables;

let database: TestDatabase;
let owner: pg.Client;
let context: Context;

beforeAll(async () => {
  database = await createDatabase('isolated');
  owner = new pg.Client({ connectionString: database.url });
  await owner.connect();
  await closeDatabase(owner);
  context = await readContext(owner, { ownership: ownSchema, reached: 'contract', extras: ownExtras });
});
afterAll(async () => {
  await owner?.end();
  await database?.drop();
});

async function names(sql: string, parameters: unknown[] = []): Promise<string[]> {
  const { rows } = await owner.query<{ name: string }>(sql, parameters);
  return rows.map((row) => row.name).sort();
}

test('everything in reach has a class, and is what it has to be', async () => {
  const closure = await readClosure(context);
  expect(closureFaults(closure)).toEqual([]);
  const inReach = (wanted: 'owned' | 'shared') =>
    closure.objects
      // Roles are the cluster's: those of other tests are there too.
      .filter((one) => one.class === wanted && one.kind !== 'role')
      .map(titleOf)
      .sort();
  const tables = (list: readonly { readonly table: string }[]) => list.map(({ table }) => `table public.${table}`);
  expect(inReach('owned')).toEqual([...tables(owned), ...tables(accounts)].sort());
  expect(inReach('shared')).toEqual(
    [
      ...tables(sharedTables),
      'function ringfence.current_user_id()',
      'function ringfence.verified_user_id(boolean)',
      'language plpgsql',
      'language sql',
      'schema public',
      'schema ringfence',
      `database ${database.name}`,
    ].sort(),
  );
});

test('nothing is there that an application’s role could be given later', async () => {
  const closure = await readClosure(context);
  const kinds = closure.objects.filter(({ extension }) => extension === null).map(({ kind }) => kind);
  expect(new Set(kinds)).toEqual(new Set(['role', 'database', 'schema', 'table', 'function', 'language']));
  expect(closure.objects.filter(({ kind, extension }) => kind === 'function' && extension === null)).toHaveLength(3);
});

/** The same checks that `verify` makes, on whatever database. */
test.each([...structureChecks, policyCheck, appRoleCheck, grantCheck, identityCheck])('$name', async (check) => {
  expect(await check.run(context)).toEqual([]);
});

/** Where the accounts role has business, it sees everybody: before anybody is known there is nobody to compare with. */
const forAccounts = new Set(accounts.filter((t) => t.accountsGrants.length > 0).map(({ table }) => table));

describe('indexes', () => {
  /** Of columns that the application's role may name, every index has to begin with the owner, or to be marked. */
  test('one without the owner in front serves system statements alone', async () => {
    const open = await names(
      `
      select i.indexrelid::regclass::text as name
      from unnest($1::text[], $2::text[]) t (label, owner)
      join pg_index i on i.indrelid = t.label::regclass
      left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
      where a.attname is distinct from t.owner
        and pg_get_expr(i.indpred, i.indrelid) is distinct from 'ringfence_system_mode.every(id)'
        and not (a.attname is not null and not exists (
          select from generate_series(0, i.indnkeyatts - 1) at
          where i.indkey[at] = 0 or has_column_privilege('ringfence_app', i.indrelid, i.indkey[at], 'select')
        ))`,
      [
        [...owned, ...accountTables].map(({ table }) => table),
        [...owned.map(() => 'user_id'), ...accountTables.map(({ column }) => column)],
      ],
    );
    // Computed with what is not leakproof, so that only the policy comes before it.
    expect(open.toSorted()).toEqual(['uq_users_email', 'uq_users_external']);
    expect(
      await names(
        "select proname::text as name from pg_proc where oid in ('lower(text)'::regprocedure, 'textcat'::regproc) and proleakproof",
      ),
    ).toEqual([]);
  });

  test('the guide’s names are there', async () => {
    const indexes = await names(`select indexname::text as name from pg_indexes where schemaname = 'public'`);
    expect(indexes).toEqual(expect.arrayContaining(owned.map(({ table }) => `idx_${table}_user_id`)));
  });
});

describe('privileges', () => {
  test('no role owns, bypasses, inherits, may log in as it is made, or may make anything', async () => {
    const { rows } = await owner.query(`
      select rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication,
        has_database_privilege(rolname, current_database(), 'TEMP') as temporary,
        has_database_privilege(rolname, current_database(), 'CREATE') as creates,
        has_schema_privilege(rolname, 'public', 'CREATE') as creates_tables,
        has_table_privilege(rolname, 'ringfence.identity_keys', 'SELECT') as reads_keys,
        array(select m.roleid::regrole::text from pg_auth_members m where m.member = r.oid) as memberships,
        array(select o.rolname::text from pg_roles o where pg_has_role(r.oid, o.oid, 'USAGE') and o.oid <> r.oid) as inherits,
        (select count(*)::int from pg_shdepend d where d.refobjid = r.oid and d.deptype = 'o') as owns
      from pg_roles r where rolname in ('ringfence_app', 'ringfence_system', 'ringfence_accounts') order by rolname`);
    const nothing = {
      rolsuper: false,
      rolbypassrls: false,
      rolcreaterole: false,
      rolcreatedb: false,
      rolreplication: false,
      temporary: expect.any(Boolean),
      creates: false,
      creates_tables: false,
      reads_keys: false,
      memberships: [],
      inherits: [],
      owns: 0,
    };
    expect(rows).toEqual([
      { rolname: 'ringfence_accounts', ...nothing },
      { rolname: 'ringfence_app', ...nothing },
      { rolname: 'ringfence_system', ...nothing, memberships: ['ringfence_accounts'] },
    ]);
    const { rows: logins } = await owner.query(
      `select rolcanlogin, array(select m.member::regrole::text from pg_auth_members m
         where m.roleid = r.oid and m.member::regrole::text in ('ringfence_app', 'ringfence_system')) as members
       from pg_roles r where rolname = 'ringfence_accounts'`,
    );
    expect(logins).toEqual([{ rolcanlogin: false, members: ['ringfence_system'] }]);
  });

  /** What a role holds in the schema: `select`, or `select (column)` for each column, by table. */
  async function granted(role: string): Promise<Record<string, string[]>> {
    const { rows } = await owner.query<{ name: string; privileges: string[] }>(
      `select g.name, array_agg(g.privilege order by g.privilege collate "C") as privileges from (
         select c.relname::text as name, lower(acl.privilege_type) as privilege
         from pg_class c, aclexplode(c.relacl) acl
         where acl.grantee = $1::regrole and c.relnamespace in ('public'::regnamespace, 'ringfence'::regnamespace)
         union all
         select a.attrelid::regclass::text, format('%s (%s)', lower(acl.privilege_type), a.attname)
         from pg_attribute a, aclexplode(a.attacl) acl where acl.grantee = $1::regrole
       ) g group by g.name`,
      [role],
    );
    return Object.fromEntries(rows.map((row) => [row.name, row.privileges]));
  }

  /** `select (a, b)` as the catalogue has it, one entry a column. */
  function expand(grants: readonly string[]): string[] {
    const single = (grant: string) => {
      const [, verb, columns] = /^(\w+) \((.*)\)$/.exec(grant) ?? [];
      return columns === undefined ? [grant] : columns.split(', ').map((column) => `${verb} (${column})`);
    };
    return grants.flatMap(single).sort();
  }

  test('the system role holds exactly the grants of the catalogue', async () => {
    expect(await granted('ringfence_system')).toEqual({
      ...Object.fromEntries(owned.map((t) => [t.table, ['delete', 'insert', 'select', 'update']])),
      ...Object.fromEntries(accounts.map((t) => [t.table, expand(t.systemGrants)])),
      ringfence_migrations: ['select'],
    });
  });

  test('the accounts role holds exactly the grants of the catalogue: no owned table, no reading of the log', async () => {
    const table = await granted('ringfence_accounts');
    expect(table).toEqual({
      ...Object.fromEntries(
        accounts.filter(({ table }) => forAccounts.has(table)).map((t) => [t.table, expand(t.accountsGrants)]),
      ),
      ringfence_migrations: ['select'],
    });
    expect(Object.keys(table)).not.toEqual(expect.arrayContaining(owned.map((t) => t.table)));
    expect(table.user_access_log?.filter((privilege) => !privilege.startsWith('insert'))).toEqual([]);
  });

  test('the application role changes no owner and no id', async () => {
    const updatable = await names(
      `select format('%s.%s', a.attrelid::regclass, a.attname) as name from pg_attribute a, aclexplode(a.attacl) acl
       where acl.grantee = 'ringfence_app'::regrole and acl.privilege_type = 'UPDATE' and a.attrelid = any ($1::regclass[])`,
      [owned.map(({ table }) => table)],
    );
    expect(updatable).toEqual(owned.flatMap((t) => t.updatable.map((column) => `${t.table}.${column}`)).sort());
    expect(updatable.filter((name) => /\.(user_)?id$/.test(name))).toEqual([]);
  });

  test.each([
    ['ringfence_app', /hash|failed|locked|subject/],
    ['ringfence_system', /hash|subject/],
  ])('secrets are out of the reach of %s', async (role, secret) => {
    const readable = await names(
      `select a.attrelid::regclass || '.' || a.attname as name from pg_attribute a
      where a.attrelid = any ('{users,sessions,api_tokens}'::regclass[]) and a.attnum > 0
        and has_column_privilege($1, a.attrelid, a.attnum, 'SELECT')`,
      [role],
    );
    expect(readable).toContain('users.email');
    expect(readable.filter((name) => secret.test(name))).toEqual([]);
  });

  test('nobody but the accounts role makes administrators, users or sessions', async () => {
    const roles = ['ringfence_app', 'ringfence_system'];
    const { rows } = await owner.query(
      `select r as role, has_column_privilege(r, 'users', 'roles', 'UPDATE') as promotes,
         has_column_privilege(r, 'users', 'status', 'UPDATE') as unlocks,
         has_any_column_privilege(r, 'users', 'INSERT') as registers,
         has_any_column_privilege(r, 'sessions', 'INSERT') as signs_in,
         has_any_column_privilege(r, 'user_access_log', 'UPDATE') as rewrites,
         has_table_privilege(r, 'user_access_log', 'DELETE') as forgets
       from unnest($1::text[]) r`,
      [roles],
    );
    const nothing = {
      promotes: false,
      unlocks: false,
      registers: false,
      signs_in: false,
      rewrites: false,
      forgets: false,
    };
    expect(rows).toEqual(roles.map((role) => ({ role, ...nothing })));
  });

  test('PUBLIC and default privileges give nothing away', async () => {
    expect(
      await names(`
        select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) acl
        where acl.grantee = 0 and n.nspname in ('public', 'ringfence')
          and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')`),
    ).toEqual([]);
    expect(await names('select defaclobjtype::text as name from pg_default_acl')).toEqual([]);
    expect(
      await names(`
        select p.proname::text as name from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = 'ringfence' and has_function_privilege('public', p.oid, 'EXECUTE')`),
    ).toEqual([]);
  });
});
