/** What the application's roles can reach is what the catalogue of owned tables says, and nothing else. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type AccountTable,
  accountTables,
  type OwnedTable,
  ownedTables,
  sharedTables,
} from '../../src/isolation/owned-tables.ts';
import { createDatabase, type TestDatabase } from '../support/postgres.ts';

const owned: readonly OwnedTable[] = ownedTables;
const accounts: readonly AccountTable[] = accountTables;
const confined = [
  ...owned.map(({ table }) => ({ table, column: 'user_id' })),
  ...accounts.map(({ table, column }) => ({ table, column })),
];

let database: TestDatabase;
let owner: pg.Client;

beforeAll(async () => {
  database = await createDatabase('isolated');
  owner = new pg.Client({ connectionString: database.url });
  await owner.connect();
});
afterAll(async () => {
  await owner?.end();
  await database?.drop();
});

async function names(sql: string, parameters: unknown[] = []): Promise<string[]> {
  const { rows } = await owner.query<{ name: string }>(sql, parameters);
  return rows.map((row) => row.name).sort();
}

test('every table is owned, an account’s, or shared', async () => {
  const tables = await names(`
    select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'f') and n.nspname not in ('pg_catalog', 'information_schema', 'ringfence')`);
  const known = [...owned, ...accounts, ...sharedTables].map(({ table }) => table);
  expect(tables).toEqual(known.sort());
});

test('there are no views, sequences, functions or publications beside the verifier', async () => {
  expect(
    await names(`
      select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('v', 'm', 'S') and n.nspname not in ('pg_catalog', 'information_schema')
        and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')`),
  ).toEqual([]);
  expect(
    await names(`
      select n.nspname || '.' || p.proname as name from pg_proc p join pg_namespace n on n.oid = p.pronamespace
      where n.nspname not in ('pg_catalog', 'information_schema')
        and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')`),
  ).toEqual(['ringfence.current_user_id', 'ringfence.verified_user_id']);
  expect(await names('select pubname::text as name from pg_publication')).toEqual([]);
  expect(await names(`select tgname::text as name from pg_trigger where not tgisinternal`)).toEqual([]);
});

/** Where the accounts role has business, it sees everybody: before anybody is known there is nobody to compare with. */
const forAccounts = new Set(accounts.filter((t) => t.accountsGrants.length > 0).map(({ table }) => table));

describe('the policies are the canonical ones', () => {
  test.each(confined)('$table', async ({ table, column }) => {
    const { rows } = await owner.query(
      `select polname::text as name, polpermissive as permissive, polcmd::text as command,
         array(select case when r = 0 then 'public' else r::regrole::text end from unnest(polroles) r order by r::regrole::text) as roles,
         pg_get_expr(polqual, polrelid) as using, pg_get_expr(polwithcheck, polrelid) as check
       from pg_policy where polrelid = $1::regclass order by polname`,
      [table],
    );
    const canonical = `((true, ${column}) = ( SELECT (u.u IS NOT NULL),\n    u.u\n   FROM ringfence.verified_user_id(false) u(u)))`;
    const all = { permissive: true, command: '*', using: 'true', check: 'true' };
    expect(rows).toEqual([
      ...(forAccounts.has(table) ? [{ name: 'accounts_mode', roles: ['ringfence_accounts'], ...all }] : []),
      ...(table === 'user_access_log'
        ? [
            {
              name: 'no_system_outcome',
              permissive: false,
              command: 'a',
              roles: ['ringfence_accounts', 'ringfence_app'],
              using: null,
              check: "(outcome <> 'system'::text)",
            },
          ]
        : []),
      { name: 'system_mode', roles: ['ringfence_system'], ...all },
      { name: 'user_isolation', permissive: true, command: '*', roles: ['public'], using: canonical, check: canonical },
    ]);
    const { rows: flags } = await owner.query(
      'select relrowsecurity as enabled, relforcerowsecurity as forced from pg_class where oid = $1::regclass',
      [table],
    );
    expect(flags).toEqual([{ enabled: true, forced: true }]);
  });
});

describe('ownership is structural', () => {
  test.each(owned)('$table', async ({ table }) => {
    const { rows } = await owner.query<{ name: string; type: string; first: string; target: string | null }>(
      `select c.conname::text as name, c.contype::text as type, a.attname::text as first, c.confrelid::regclass::text as target
       from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
       where c.conrelid = $1::regclass and c.contype in ('p', 'u', 'f')`,
      [table],
    );
    for (const key of rows) expect(key.first, key.name).toBe('user_id');
    const unique = await names(
      `select i.indexrelid::regclass::text as name from pg_index i
       join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
       where i.indrelid = $1::regclass and i.indisunique and a.attname <> 'user_id'`,
      [table],
    );
    expect(unique).toEqual([]);
    const column = await owner.query(
      `select is_nullable, column_default, data_type from information_schema.columns
       where table_name = $1 and column_name = 'user_id'`,
      [table],
    );
    expect(column.rows).toEqual([
      { is_nullable: 'NO', column_default: 'ringfence.current_user_id()', data_type: 'uuid' },
    ]);
  });

  test('an index without the owner in front serves system statements alone', async () => {
    const open = await names(
      `
      select i.indexrelid::regclass::text as name from pg_index i
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
      where i.indrelid = any ($1::regclass[]) and a.attname <> 'user_id' and i.indpred is null`,
      [owned.map(({ table }) => table)],
    );
    expect(open).toEqual([]);
  });

  test('the guide’s index names are there', async () => {
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

  test('the application role holds exactly the grants of the catalogue', async () => {
    const { rows } = await owner.query<{ name: string; privileges: string }>(`
      select c.relname as name, string_agg(distinct acl.privilege_type, ',' order by acl.privilege_type) as privileges
      from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) acl
      where acl.grantee = 'ringfence_app'::regrole and n.nspname = 'public' group by c.relname`);
    const table = Object.fromEntries(rows.map((row) => [row.name, row.privileges]));
    const expected = Object.fromEntries(owned.map((t) => [t.table, 'DELETE,INSERT,SELECT']));
    expect(table).toEqual({
      ...expected,
      api_tokens: 'INSERT',
      idempotency_keys: 'DELETE,INSERT,SELECT',
      ringfence_migrations: 'SELECT',
      user_access_log: 'INSERT,SELECT',
      users: 'DELETE',
    });
    for (const t of owned) {
      const updatable = await names(
        `select a.attname::text as name from pg_attribute a, aclexplode(a.attacl) acl
         where a.attrelid = $1::regclass and acl.grantee = 'ringfence_app'::regrole and acl.privilege_type = 'UPDATE'`,
        [t.table],
      );
      expect(updatable, t.table).toEqual([...t.updatable].sort());
      expect(updatable).not.toContain('user_id');
      expect(updatable).not.toContain('id');
    }
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
