import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../test/support/postgres.ts';
import { type Catalog, readCatalog, tableOf } from './catalog.ts';

let database: TestDatabase;
let client: pg.Client;
let catalog: Catalog;

beforeAll(async () => {
  database = await createDatabase();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query(`
    create schema "My App";
    create table "My App"."Order" ("Id" text primary key, "user" int, note text default 'x', n int generated always as (1 + 1) stored);
    create unique index "Order by note" on "My App"."Order" (lower(note), "Id") where note is not null;
    create table line (
      a int, b int, "order" text references "My App"."Order" on delete set null deferrable initially deferred,
      constraint line_pk primary key (a, b), constraint line_un unique (b, a)
    );
    create table event (id bigint, at date not null, primary key (id, at)) partition by range (at);
    create table event_2026 partition of event for values from ('2026-01-01') to ('2027-01-01');
    create table old (x int);
    create table newer () inherits (old);
    create function touch() returns trigger language plpgsql as 'begin return new; end';
    create trigger any_update before update on line for each row execute function touch();
    create trigger some_update before update of b on line for each row execute function touch();
    create policy own on line for select to public using (a > 0);
    grant select on line to public;
    grant update (b) on line to public;
    insert into event values (1, '2026-02-02');
  `);
  catalog = await readCatalog(client);
});

afterAll(async () => {
  await client.end();
  await database.drop();
});

test('labels are quoted where SQL needs it', () => {
  expect([...catalog.tables.keys()]).toEqual([
    '"My App"."Order"',
    'public.event',
    'public.event_2026',
    'public.line',
    'public.newer',
    'public.old',
  ]);
});

test('columns, keys and indexes are as declared', () => {
  const order = tableOf(catalog, '"My App"."Order"');
  expect(order.columns.map((c) => [c.name, c.type, c.notNull, c.generated])).toEqual([
    ['Id', 'text', true, false],
    ['user', 'integer', false, false],
    ['note', 'text', false, false],
    ['n', 'integer', false, true],
  ]);
  expect(order.primaryKey).toMatchObject({ name: 'Order_pkey', columns: ['Id'], definition: 'PRIMARY KEY ("Id")' });
  const unique = order.indexes.find((index) => index.name === 'Order by note');
  expect(unique).toMatchObject({ columns: [null, 'Id'], unique: true, partial: true, valid: true, constraint: null });
});

test('references say where they lead and what they do', () => {
  const line = tableOf(catalog, 'public.line');
  expect(line.foreignKeys).toMatchObject([
    {
      name: 'line_order_fkey',
      columns: ['order'],
      references: '"My App"."Order"',
      referencedColumns: ['Id'],
      onDelete: 'set null',
      onUpdate: 'no action',
      deferrable: true,
      deferred: true,
      validated: true,
    },
  ]);
  expect(line.uniques).toMatchObject([{ name: 'line_un', columns: ['b', 'a'] }]);
});

test('partitions and children know their parents', () => {
  expect(tableOf(catalog, 'public.event').partitions).toEqual(['public.event_2026']);
  expect(tableOf(catalog, 'public.event_2026').partitionOf).toBe('public.event');
  expect(tableOf(catalog, 'public.newer').inherits).toEqual(['public.old']);
  expect(tableOf(catalog, 'public.event').bytes).toBeGreaterThan(0);
});

test('triggers, policies and grants can be restored from what is read', () => {
  const line = tableOf(catalog, 'public.line');
  expect(line.triggers.map((t) => [t.name, t.onAnyUpdate])).toEqual([
    ['any_update', true],
    ['some_update', false],
  ]);
  expect(line.policies[0]?.definition).toBe(
    'create policy own on public.line as permissive for select to public using ((a > 0))',
  );
  expect(line.grants).toContainEqual({ grantee: 'public', privilege: 'update', column: 'b' });
  expect(line.grants).toContainEqual({ grantee: 'public', privilege: 'select', column: null });
});
