import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../../test/support/postgres.ts';
import { readCatalog, type Table } from '../catalog.ts';
import type { Finding } from '../finding.ts';
import { preflight } from './preflight.ts';
import type { PreflightOptions } from './subject.ts';

let database: TestDatabase;
let client: pg.Client;
const findings: Finding[] = [];
/** Roles belong to the whole server, which other test files share. */
const suffix = randomBytes(4).toString('hex');
const role = (name: string) => `${name}_${suffix}`;
const roles = ['bypass', 'climber', 'owner', 'reader', 'legacy'].map(role);

beforeAll(async () => {
  database = await createDatabase();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query(`
    create role ${role('bypass')} nologin bypassrls;
    create role ${role('climber')} login in role ${role('bypass')};
    create role ${role('owner')} login;
    create role ${role('reader')} login;
    create role ${role('legacy')} login;

    create schema "My App";
    grant create on schema "My App" to public;
    create table users (id uuid primary key default gen_random_uuid(), email text unique, name text);
    insert into users (email) select format('u%s@example.com', n) from generate_series(1, 10) n;

    create table "My App"."Order" (
      "Id" text primary key, "Owner Email" text, "user" text, "select" int, note text,
      total int generated always as (1 + 1) stored,
      parent text references "My App"."Order",
      constraint "Unique" unique ("select")
    );
    insert into "My App"."Order" ("Id", "Owner Email", "user")
      select n::text, format('u%s@example.com', n), case when n < 5 then (select id::text from users limit 1) end
      from generate_series(1, 20) n;
    create index "Note" on "My App"."Order" using gin (to_tsvector('simple', note));
    create function "My App".touch() returns trigger language plpgsql as 'begin return new; end';
    create trigger "Any Update" before update on "My App"."Order" for each row execute function "My App".touch();
    create trigger narrow before update of note on "My App"."Order" for each row execute function "My App".touch();
    create trigger always before update on "My App"."Order" for each row execute function "My App".touch();
    alter table "My App"."Order" enable always trigger always;
    create rule "Rule" as on update to "My App"."Order" where old.note = 'x' do also nothing;
    create policy mine on "My App"."Order" using (true);
    alter table "My App"."Order" owner to ${role('owner')};
    grant select on "My App"."Order" to ${role('reader')};
    grant select, insert on "My App"."Order" to ${role('legacy')};
    grant select on "My App"."Order" to public;
    alter default privileges for role ${role('owner')} in schema "My App" grant select on tables to ${role('reader')};

    create table line (
      a int, b int, user_id text not null, at tsrange,
      "order" text references "My App"."Order" on update set null,
      constraint line_pk primary key (a, b), unique (b, a) deferrable, exclude using gist (at with &&)
    );
    create table part (a int, b int, constraint whole foreign key (a, b) references line match full);
  `);
  await client.query(`
    create table chicken (id int primary key, egg int);
    create table egg (id int primary key, chicken int);
    alter table egg add constraint egg_chicken_fkey foreign key (chicken) references chicken not valid;
    alter table chicken add constraint chicken_egg foreign key (egg) references egg;
    create table settings (key text primary key, value text);
    create table event (id bigint, at date not null, user_id uuid not null, primary key (id, at)) partition by range (at);
    create table event_2026 partition of event for values from ('2026-01-01') to ('2027-01-01');
    create table old (x int);
    create table newer () inherits (old);
    create table shut (id int primary key, user_id uuid not null);
    alter table shut enable row level security;
    create table taken (id int primary key, user_id uuid not null, chicken int references chicken, name text unique);
    create unique index per_parent on taken (chicken, name);
    create unique index per_user on taken (user_id, name);
    create table bare (x int, user_id uuid not null);
    create foreign data wrapper nowhere;
    create server far foreign data wrapper nowhere;
    create foreign table "far away" (x int) server far;

    create view "My App"."Orders" as select * from "My App"."Order";
    create view orders_twice as select * from "My App"."Orders";
    grant select on orders_twice to public;
    create view orders_asked with (security_invoker = true) as select * from "My App"."Order";
    create materialized view order_counts as select "user", count(*) from "My App"."Order" group by 1;
    create function everything() returns bigint language sql security definer as 'select count(*) from "My App"."Order"';
    create function guarded() returns int language sql security definer as 'select 1';
    revoke execute on function guarded() from public;
    create sequence stray;
    create table numbered (id bigserial primary key, user_id uuid not null references users);
    create publication outside for table "My App"."Order";
    create function seen() returns event_trigger language plpgsql as 'begin end';
    create event trigger watcher on ddl_command_end execute function seen();
  `);
  await client.query('select lo_create(0)');
  findings.push(...(await run({ legacyRoles: [role('legacy')] })));
});

afterAll(async () => {
  for (const name of roles) await client.query(`drop owned by ${name} cascade`);
  await client.query(`drop role ${roles.join(', ')}`);
  await client.end();
  await database.drop();
});

async function run(options: PreflightOptions = {}, change: (table: Table) => Table = (table) => table) {
  const catalog = await readCatalog(client);
  const tables = new Map([...catalog.tables].map(([label, table]) => [label, change(table)]));
  return preflight(client, { ...catalog, tables }, options);
}

const found = (check: string) =>
  findings.filter((finding) => finding.check === check).map(({ severity, object }) => [severity, object]);
const one = (check: string, object?: string) => {
  const [finding, ...rest] = findings.filter((f) => f.check === check && (object === undefined || f.object === object));
  expect(rest).toEqual([]);
  return finding;
};

test('every failure and every warning says what to do', () => {
  expect(findings.length).toBeGreaterThan(40);
  for (const finding of findings) if (finding.severity !== 'pass') expect(finding.remedy, finding.check).toBeTruthy();
});

test('the server and its uuids are looked at', () => {
  expect(one('version')).toMatchObject({ message: expect.stringContaining('Postgres ') });
  expect(one('uuid')?.severity).toBe('pass');
  expect(one('writable')?.severity).toBe('pass');
});

test('who is above the policies, and who can get there', () => {
  expect(one('policy-bypass', `role ${role('climber')}`)).toMatchObject({
    severity: 'warn',
    message: `It can become ${role('bypass')}, which has BYPASSRLS.`,
  });
  expect(found('policy-bypass')).not.toContainEqual(['warn', `role ${role('reader')}`]);
});

test('who owns tables, who uses them, and what everybody may', () => {
  expect(one('table-owners', `role ${role('owner')}`)?.message).toContain('"My App"."Order"');
  expect(one('old-application', `role ${role('reader')}`)).toMatchObject({ severity: 'warn' });
  expect(one('old-application', `role ${role('legacy')}`)).toMatchObject({
    severity: 'pass',
    message: expect.stringContaining('may select, insert "My App"."Order"'),
  });
  expect(one('public-grants')).toMatchObject({
    severity: 'fail',
    message: expect.stringContaining('Everybody (PUBLIC) may select "My App"."Order":'),
  });
  expect(one('public-create')).toMatchObject({ severity: 'warn', object: 'schema My App' });
  expect(one('public-temporary')?.severity).toBe('warn');
  expect(one('default-privileges')).toMatchObject({ object: `role ${role('reader')}` });
});

test('tables that policies cannot protect, or that keys do not span, are refused', () => {
  expect(found('foreign-table')).toEqual([['fail', 'public."far away"']]);
  expect(found('inheritance')).toEqual([
    ['fail', 'public.newer'],
    ['fail', 'public.old'],
  ]);
  expect(found('partitions')).toEqual([['warn', 'public.event']]);
  expect(one('generated-columns')).toMatchObject({
    object: '"My App"."Order"',
    message: expect.stringContaining('total'),
  });
});

test('what acts on an UPDATE', () => {
  expect(found('update-trigger')).toEqual([
    ['warn', '"My App"."Order" trigger "Any Update"'],
    ['fail', '"My App"."Order" trigger always'],
  ]);
  expect(found('rules')).toEqual([['fail', '"My App"."Order" rule "Rule"']]);
  expect(found('existing-policies')).toEqual([
    ['fail', '"My App"."Order"'],
    ['warn', 'public.shut'],
  ]);
});

test('keys', () => {
  expect(found('primary-key').filter(([severity]) => severity === 'warn')).toEqual([
    ['warn', 'public.bare'],
    ['warn', 'public.newer'],
    ['warn', 'public.old'],
    ['warn', 'public.part'],
  ]);
  expect(one('primary-key', 'public.line')?.message).toBe('Primary key (a, b) of type integer, integer.');
  expect(found('deferrable-key')).toEqual([['fail', 'public.line line_b_a_key']]);
  expect(found('unique-across-users')).toEqual([
    ['warn', '"My App"."Order" "Unique"'],
    ['warn', 'public.taken taken_name_key'],
  ]);
  expect(found('exclusion')).toEqual([['warn', 'public.line line_at_excl']]);
  expect(one('owner-column-name')).toMatchObject({
    object: 'public.line.user_id',
    message: expect.stringContaining('ringfence_user_id'),
  });
});

test('references', () => {
  expect(found('self-reference')).toEqual([['pass', '"My App"."Order" "Order_parent_fkey"']]);
  expect(one('reference-cycle')?.message).toContain('public.chicken -> public.egg -> public.chicken');
  expect(found('match-full')).toEqual([['warn', 'public.part whole']]);
  expect(found('on-update-set')).toEqual([['fail', 'public.line line_order_fkey']]);
  expect(found('reference-not-valid')).toEqual([['warn', 'public.egg egg_chicken_fkey']]);
});

test('ways round the tables', () => {
  expect(found('view').toSorted()).toEqual([
    ['pass', 'public.orders_asked'],
    ['warn', '"My App"."Orders"'],
    ['warn', 'public.orders_twice'],
  ]);
  expect(one('view', 'public.orders_twice')?.message).toMatch(/"My App"\."Order" .*; everybody may use it\.$/);
  expect(one('view', '"My App"."Orders"')?.message).not.toContain('everybody');
  expect(found('materialized-view')).toEqual([['warn', 'public.order_counts']]);
  expect(found('security-definer')).toEqual([
    ['warn', 'public.everything()'],
    ['warn', 'public.guarded()'],
  ]);
  expect(one('security-definer', 'public.everything()')?.message).toContain('everybody may call it');
  expect(one('security-definer', 'public.guarded()')?.message).not.toContain('everybody');
  expect(found('publication')).toEqual([['warn', 'publication outside']]);
  expect(found('event-trigger')).toEqual([['warn', 'event trigger watcher']]);
  expect(found('large-objects')).toEqual([['warn', undefined]]);
  expect(found('leaky-index')).toEqual([
    ['warn', '"My App"."Order" "Note"'],
    ['warn', 'public.line line_at_excl'],
  ]);
});

test('sequences and what they feed', () => {
  expect(found('sequence')).toEqual([
    ['pass', 'public.numbered_id_seq'],
    ['warn', 'public.stray'],
  ]);
});

test('owner columns are told with what is in them, exactly where the table is small', () => {
  expect(one('users-table')).toMatchObject({ severity: 'pass', object: 'public.users' });
  expect(one('owner-column', '"My App"."Order"."Owner Email"')).toMatchObject({
    severity: 'warn',
    message:
      'text, 0 null, 20 distinct, 0 % UUIDs, 100 % e-mail addresses, 50 % found in public.users.email (exact, 20 rows).',
  });
  expect(one('owner-column', '"My App"."Order"."user"')).toMatchObject({
    severity: 'warn',
    message:
      'text, 16 null, 1 distinct, 100 % UUIDs, 0 % e-mail addresses, 100 % found in public.users.id (exact, 20 rows).',
  });
  expect(found('owner-unknown')).toEqual(
    ['public.chicken', 'public.egg', 'public.newer', 'public.old', 'public.settings'].map((label) => ['warn', label]),
  );
});

test('a big table is sampled, and that is said', async () => {
  await client.query(`
    create table big (id int primary key, author text);
    insert into big select n, format('u%s@example.com', n % 20) from generate_series(1, 100000) n;
    analyze big`);
  const message = async (sampleAboveBytes: number) => {
    const sampled = await run({ only: ['public.big', 'public.users'], sampleAboveBytes });
    return sampled.find((f) => f.object === 'public.big.author')?.message ?? '';
  };
  const [, rows] = /sample of (\d+) rows/.exec(await message(0)) ?? [];
  expect(Number(rows)).toBeGreaterThan(1_000);
  expect(Number(rows)).toBeLessThanOrEqual(20_000);
  expect(await message(2 ** 40)).toContain('50 % found in public.users.email (exact, 100000 rows).');
  await client.query('drop table big');
});

test('several tables that could be the users, and the one that the configuration names', async () => {
  await client.query('create table accounts (id bigint primary key, login text)');
  const about = async (options: PreflightOptions) =>
    (await run(options)).filter((f) => f.check === 'users-table').map(({ severity, object }) => [severity, object]);
  expect(await about({})).toEqual([['warn', 'public.users']]);
  expect(await about({ usersTable: 'public.accounts' })).toEqual([['pass', 'public.accounts']]);
  expect(await about({ usersTable: null })).toEqual([['warn', undefined]]);
  await client.query('drop table accounts');
});

test('an index that a failed build has left is told of', async () => {
  await client.query(`
    create table twice (id int primary key, user_id uuid not null, x int);
    insert into twice values (1, gen_random_uuid(), 1), (2, gen_random_uuid(), 1)`);
  await expect(client.query('create unique index concurrently left_over on twice (x)')).rejects.toThrow('left_over');
  const left = (await run({ only: ['public.twice'] })).filter((f) => f.check === 'invalid-index');
  expect(left).toMatchObject([{ severity: 'warn', object: 'public.twice left_over' }]);
  await client.query('drop table twice');
});

test('only the tables asked for are looked at', async () => {
  const some = await run({ only: ['public.event'] });
  expect(some.filter((f) => f.object?.includes('Order') || f.object?.includes('public.line'))).toEqual([]);
  expect(some.filter((f) => f.check === 'partitions')).toHaveLength(1);
});

test('a database with none of this is not told of any of it', async () => {
  const clean = await createDatabase();
  const other = new pg.Client({ connectionString: clean.url });
  await other.connect();
  try {
    await other.query(`
      revoke temporary on database ${clean.name} from public;
      create table users (id uuid primary key, email text unique);
      create table tasks (id uuid primary key, user_id uuid not null references users);
      insert into users values ('00000000-0000-4000-8000-000000000001', 'a@example.com');
      insert into tasks values (gen_random_uuid(), '00000000-0000-4000-8000-000000000001');
    `);
    const well = await preflight(other, await readCatalog(other));
    const checks = well.filter((f) => f.severity !== 'pass').map((f) => f.check);
    // Roles belong to the server, and so to the other tests as well.
    const ofTheServer = ['version', 'policy-bypass', 'table-owners'];
    expect([...new Set(checks)].filter((check) => !ofTheServer.includes(check)).toSorted()).toEqual([
      'backup',
      'rollback-plan',
    ]);
  } finally {
    await other.end();
    await clean.drop();
  }
});
