import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../test/support/postgres.ts';
import type { Catalog, Table } from './catalog.ts';
import { hashTable, hashTables } from './table-hash.ts';

let database: TestDatabase;
let client: pg.Client;

beforeAll(async () => {
  database = await createDatabase();
  client = await connect();
});

afterAll(async () => {
  await client.end();
  await database.drop();
});

beforeEach(async () => {
  await client.query('drop schema public cascade; create schema public');
});

async function connect(url = database.url): Promise<pg.Client> {
  const made = new pg.Client({ connectionString: url });
  await made.connect();
  return made;
}

describe('one table', () => {
  test('the order of rows does not count, their values and numbers do', async () => {
    await client.query(`
      create table a (id int, name text); insert into a select n, 'row ' || n from generate_series(1, 1000) n;
      create table b (name text, id int); insert into b select 'row ' || n, n from generate_series(1000, 1, -1) n`);
    const a = await hashTable(client, 'public.a', ['id', 'name']);
    expect(a.rows).toBe('1000');
    expect(a.hash).toMatch(/^-?[1-9]\d+$/);
    expect(await hashTable(client, 'public.b', ['id', 'name'])).toEqual(a);

    await client.query("update b set name = 'row 17.' where id = 17");
    const changed = await hashTable(client, 'public.b', ['id', 'name']);
    expect(changed.rows).toBe('1000');
    expect(changed.hash).not.toBe(a.hash);
  });

  test('two equal rows do not cancel each other', async () => {
    await client.query('create table a (id int); insert into a values (1), (2), (2)');
    const twice = await hashTable(client, 'public.a', ['id']);
    await client.query('update a set id = 3 where id = 2');
    expect((await hashTable(client, 'public.a', ['id'])).hash).not.toBe(twice.hash);
  });

  test('NULL, the empty text and the border between columns are kept apart', async () => {
    await client.query('create table a (x text, y text)');
    const seen = new Set<string>();
    for (const values of [
      ['null', 'null'],
      ["''", 'null'],
      ['null', "''"],
      ["''", "''"],
      ["','", 'null'],
      ['null', "','"],
      ["'a,b'", 'null'],
      ["'a'", "'b'"],
      ["'ab'", "''"],
      ["''", "'ab'"],
    ]) {
      await client.query(`truncate a; insert into a values (${values.join(', ')})`);
      seen.add((await hashTable(client, 'public.a', ['x', 'y'])).hash);
    }
    expect(seen.size).toBe(10);
    await client.query('truncate a; insert into a values (null, null)');
    const one = await hashTable(client, 'public.a', ['x']);
    await client.query("update a set x = ''");
    expect((await hashTable(client, 'public.a', ['x'])).hash).not.toBe(one.hash);
  });

  test('added columns and other column orders on disk leave it as it is', async () => {
    await client.query('create table a (id int, name text); insert into a values (1, null), (2, $$x"y\\z$$)');
    const before = await hashTable(client, 'public.a', ['id', 'name']);
    await client.query("alter table a add user_id uuid not null default '00000000-0000-4000-8000-000000000000'");
    await client.query('alter table a drop name, add name text; update a set name = $$x"y\\z$$ where id = 2');
    expect(await hashTable(client, 'public.a', ['id', 'name'])).toEqual(before);
  });

  test('does not depend on the settings of the session, and leaves them alone', async () => {
    await client.query(`
      create table a (at timestamptz, day date, span interval, ratio float8, part float4, bytes bytea, price money, type regtype,
        rel regclass, list timestamptz[], pair numrange, doc jsonb);
      insert into a values ('2026-03-01 12:00+02', '2026-03-01', '1 mon 2 days 03:04:05.6', 0.1 + 0.2, 1e10, '\\x00ff', 12.5,
        'uuid', 'public.a', '{2026-03-01 12:00+02,null}', '[1.0,2.50)', '{"b": 1, "a": [null, ""]}')`);
    const columns = 'at day span ratio part bytes price type rel list pair doc'.split(' ');
    const plain = await hashTable(client, 'public.a', columns);

    const other = await connect();
    try {
      const odd: Record<string, string> = {
        datestyle: 'SQL, DMY',
        intervalstyle: 'iso_8601',
        extra_float_digits: '-15',
        timezone: 'Asia/Kolkata',
        bytea_output: 'escape',
        search_path: 'public',
        quote_all_identifiers: 'on',
      };
      for (const [name, value] of Object.entries(odd)) await other.query(`set ${name} = ${pg.escapeLiteral(value)}`);
      expect(await hashTable(other, 'public.a', columns)).toEqual(plain);
      for (const [name, value] of Object.entries(odd)) {
        const { rows } = await other.query('select current_setting($1) as value', [name]);
        expect(rows[0].value).toBe(value);
      }
      await expect(hashTable(other, 'public.missing', [])).rejects.toThrow('does not exist');
      expect((await other.query("select current_setting('timezone') as value")).rows[0].value).toBe('Asia/Kolkata');
    } finally {
      await other.end();
    }
  });

  test('gives a known number, so that another server or version can be compared with this one', async () => {
    await client.query(`create table a (id int, name text, at timestamptz);
      insert into a values (1, 'Zoë', '2026-01-01 00:00+00'), (2, null, null)`);
    expect(await hashTable(client, 'public.a', ['id', 'name', 'at'])).toEqual(known);
  });

  test('knows partitions, generated columns, odd names, tables without columns and empty ones', async () => {
    await client.query(`
      create schema "My App";
      create table "My App"."Order" ("Id" int, "group" text, "a""b" int generated always as ("Id" * 2) stored)
        partition by list ("Id");
      create table "My App"."Order 1" partition of "My App"."Order" for values in (1);
      create table "My App".rest partition of "My App"."Order" default;
      insert into "My App"."Order" values (1, 'x'), (2, 'y');
      create table flat (id int, name text, twice int);
      insert into flat values (2, 'y', 4), (1, 'x', 2);
      create table nothing (); insert into nothing default values; insert into nothing default values`);
    const whole = await hashTable(client, '"My App"."Order"', ['Id', 'group', 'a"b']);
    expect(whole).toEqual(await hashTable(client, 'public.flat', ['id', 'name', 'twice']));
    expect((await hashTable(client, '"My App"."Order 1"', ['Id'])).rows).toBe('1');
    expect((await hashTable(client, 'public.nothing', [])).rows).toBe('2');
    await client.query('delete from flat; drop schema "My App" cascade');
    expect(await hashTable(client, 'public.flat', ['id'])).toEqual({ rows: '0', hash: '0' });
  });

  test('sees what the transaction of its client sees', async () => {
    await client.query('create table a (id int); insert into a values (1)');
    const other = await connect();
    try {
      await other.query('begin isolation level repeatable read');
      const before = await hashTable(other, 'public.a', ['id']);
      await client.query('insert into a values (2)');
      expect(await hashTable(other, 'public.a', ['id'])).toEqual(before);
    } finally {
      await other.end();
    }
  });

  test('refuses to hash a part: a policy that hides rows is an error', async () => {
    const role = `hash_${process.pid}`;
    await client.query(`
      create role ${role}; grant all on schema public to ${role};
      set role ${role}; create table a (id int); insert into a values (1), (2);
      alter table a enable row level security; create policy one on a using (id = 1)`);
    try {
      expect((await hashTable(client, 'public.a', ['id'])).rows).toBe('2');
      await client.query('alter table a force row level security');
      await expect(hashTable(client, 'public.a', ['id'])).rejects.toMatchObject({
        code: 'rollout_refused',
        message: expect.stringContaining('public.a: a policy hides rows from this role'),
      });
    } finally {
      await client.query(`reset role; drop owned by ${role} cascade; drop role ${role}`);
    }
  });
});

test('several tables at once, without the columns that are left out', async () => {
  await client.query(`
    create table a (id int, name text); insert into a values (1, 'x');
    create table b (id int); insert into b values (7)`);
  const before = await hashTables(client, catalogOf({ a: ['id', 'name'], b: ['id'] }), ['public.b', 'public.a']);
  expect([...before.keys()]).toEqual(['public.b', 'public.a']);
  await client.query('alter table a add user_id int default 5');
  const catalog = catalogOf({ a: ['id', 'name', 'user_id'], b: ['id'] });
  const except = new Map([['public.a', ['user_id']]]);
  expect(await hashTables(client, catalog, ['public.b', 'public.a'], { except })).toEqual(before);
  expect(await hashTables(client, catalog, ['public.b', 'public.a'])).not.toEqual(before);
});

/** The same with 15.18 and 18.4. */
const known = { rows: '2', hash: '6932205345190926295' };

/** Only what hashTables looks at. */
function catalogOf(tables: Record<string, string[]>): Catalog {
  const entries = Object.entries(tables).map(([name, columns]): [string, Table] => {
    const label = `public.${name}`;
    const described = columns.map((column) => ({
      name: column,
      type: 'text',
      notNull: false,
      default: null,
      generated: false,
      identity: false,
      foldsText: false,
      baseType: 'text',
      foreignType: false,
    }));
    const none = {
      uniques: [],
      indexes: [],
      foreignKeys: [],
      exclusions: [],
      constraints: [],
      triggers: [],
      rules: [],
      policies: [],
    };
    const alone = {
      mayAlter: true,
      typed: false,
      usedAsType: [],
      published: [],
      partitionOf: null,
      inherits: [],
      partitions: [],
      grants: [],
      rows: -1,
      bytes: 0,
    };
    const table = { oid: 1, schema: 'public', name, label, kind: 'table', owner: 'x', columns: described } as const;
    return [label, { ...table, ...none, ...alone, primaryKey: null, rowSecurity: false, forced: false }];
  });
  const role = { name: 'x', superuser: true, bypassRls: true, login: true };
  return { database: 'x', serverVersion: 180000, role, tables: new Map(entries), roles: [role] };
}
