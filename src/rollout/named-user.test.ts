/** Whichever column names a user, and in whichever way: one user is one owner, of rows that were there and of new ones. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../test/support/postgres.ts';
import { type Connection, connect } from './connection.ts';
import { makePlan } from './make-plan.ts';
import { applyPlan } from './run/runner.ts';

let database: TestDatabase;
let client: Connection;

beforeEach(async () => {
  database = await createDatabase();
  client = await connect(database.url, 'test');
});
afterEach(async () => {
  await client.end();
  await database.drop();
});

const config = { tables: {}, shared: [], ignored: [], csv: {} };
const publicId = (person: string) => `md5(${person}::text)::uuid`;

/** Columns of the users besides `person`, what they are for a person, and tables whose column names one. */
const cases: Record<string, { users: string; values: string; named: Record<string, readonly [string, string]> }> = {
  'a number, an e-mail and a public id': {
    users: 'id int primary key, email text not null unique, public_id uuid not null unique',
    values: `n * 7, 'P' || n || '@x', ${publicId('n')}`,
    named: {
      by_id: ['owner_id int not null references public.users', 'u.id'],
      by_number: ['user_id int not null', 'u.id'],
      by_email: ['owner_email text not null references public.users (email) on update cascade', 'u.email'],
      by_plain_email: ['owner varchar(40) not null', 'u.email'],
      by_public_id: ['owner uuid not null references public.users (public_id)', 'u.public_id'],
      by_plain_public_id: ['user_id uuid not null', 'u.public_id'],
      by_public_text: ['user_id text not null', 'u.public_id'],
    },
  },
  'a text that holds a UUID': {
    users: 'id text primary key, email text unique',
    values: `${publicId('n')}::text, 'P' || n || '@x'`,
    named: {
      by_id: ['owner_id text not null references public.users', 'u.id'],
      by_text: ['user_id text not null', 'u.id'],
      by_uuid: ['user_id uuid not null', 'u.id::uuid'],
    },
  },
  'a UUID beside another': {
    users: 'id uuid primary key, public_id uuid not null unique, email text not null unique',
    values: `${publicId('(-n)')}, ${publicId('n')}, 'P' || n || '@x'`,
    named: {
      by_id: ['user_id uuid not null', 'u.id'],
      by_text: ['user_id text not null', 'upper(u.id::text)'],
      by_email: ['owner_email text not null references public.users (email)', 'u.email'],
      by_public_id: ['owner_id uuid not null', 'u.public_id'],
    },
  },
  'a numeric, of which 1 and 1.0 are one': {
    users: 'id numeric primary key, email text unique',
    values: `case when n % 2 = 0 then n else n + 0.0 end, 'P' || n || '@x'`,
    named: {
      by_id: ['owner_id numeric not null references public.users', 'u.id + 0.00'],
      by_integer: ['owner_id int not null references public.users', 'u.id'],
      by_number: ['user_id numeric not null', 'u.id + 0.000'],
    },
  },
  'a floating point': {
    users: 'id double precision primary key, email text unique',
    values: `n, 'P' || n || '@x'`,
    named: { by_id: ['owner_id real not null references public.users', 'u.id'] },
  },
  'a citext, of which Ann and ann are one': {
    users: 'login public.citext primary key, email public.citext not null unique',
    values: `'Ann' || n, 'P' || n || '@x'`,
    named: {
      by_login: ['owner public.citext not null references public.users', 'upper(u.login::text)::public.citext'],
      by_plain_login: ['login public.citext not null', 'upper(u.login::text)::public.citext'],
      by_email: ['user_email public.citext not null', 'lower(u.email::text)::public.citext'],
      by_text: ['user_email text not null', 'lower(u.email::text)'],
    },
  },
  'a domain of citext': {
    users: 'id int primary key, email public.address not null unique',
    values: `n, 'P' || n || '@x'`,
    named: {
      by_email: ['user_email public.address not null references public.users (email)', 'lower(u.email::text)'],
      by_text: ['user_email text not null', 'upper(u.email::text)'],
    },
  },
  'a text whose collation ignores case': {
    users: 'login text collate public.caseless primary key, email text unique',
    values: `'Ann' || n, 'P' || n || '@x'`,
    named: {
      by_login: ['owner text collate public.caseless not null references public.users', 'upper(u.login)'],
      by_plain_login: ['login text collate public.caseless not null', 'lower(u.login)'],
    },
  },
};

test.each(Object.entries(cases))('users by %s', async (_, { users, values, named }) => {
  const add = (table: string, name: string) =>
    `insert into public.${table} select 100 + u.person, u.person, ${named[table]?.[1]} from public.users u where ${name}`;
  await client.query(`create extension citext schema public;
    create domain public.address as public.citext check (value like '%@%');
    create collation public.caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    create table public.users (person int not null, ${users});
    insert into public.users select n, ${values} from generate_series(1, 4) n`);
  for (const [table, [column]] of Object.entries(named)) {
    await client.query(`create table public.${table} (id int primary key, person int, ${column})`);
    await client.query(add(table, 'person <= 3'));
  }
  const { plan } = await makePlan(client, config);
  await applyPlan(database.url, plan, { until: 'owners' });
  // As the old application does: our sessions say that they know the owner.
  await client.query('reset ringfence.rollout');
  for (const table of Object.keys(named)) await client.query(add(table, 'person = 4'));

  const owners = async (label: string) => {
    const column = plan.ownership.owned.find(({ table }) => table === label)?.ownerColumn;
    const { rows } = await client.query(`select person, ${column} as owner from ${label} order by person`);
    return rows;
  };
  const people = await owners('public.users');
  expect(new Set(people.map(({ owner }) => owner)).size).toBe(4);
  for (const table of Object.keys(named))
    expect.soft(await owners(`public.${table}`), `${table}: ${named[table]?.[0]}`).toEqual(people);
});

test('few values that name a user are his nevertheless, and the others stay in quarantine', async () => {
  await client.query(`create table public.users (id int primary key, email text not null unique);
    create table public.notes (id int primary key, author text not null);
    insert into public.users values (1, 'ann@x');
    insert into public.notes values (1, 'ann@x'), (2, 'gone@x'), (3, 'gone as well')`);
  const { plan, warnings } = await makePlan(client, config);
  expect(warnings).toContainEqual(expect.objectContaining({ check: 'unmatched-owners', object: 'public.notes' }));
  await applyPlan(database.url, plan, { until: 'owners' });
  const { rows } = await client.query(
    'select n.id, u.id as person from public.notes n left join public.users u using (user_id) order by n.id',
  );
  expect(rows).toEqual([
    { id: 1, person: 1 },
    { id: 2, person: null },
    { id: 3, person: null },
  ]);
});

test('few numbers that some column of the users has as well are not taken for it', async () => {
  await client.query(`create table public.users (id int primary key, place int not null unique);
    create table public.notes (id int primary key, user_id int not null);
    insert into public.users values (1, 7);
    insert into public.notes values (1, 7), (2, 8), (3, 9)`);
  const { plan } = await makePlan(client, config);
  const notes = plan.ownership.owned.find(({ table }) => table === 'public.notes');
  expect(notes?.sources).toEqual([{ kind: 'derive', column: 'user_id', namespace: 'public.users' }]);
});

/** Columns of a table without rows, and what they are taken for: by their type where that is enough. */
const empty: readonly [string, string, string, Record<string, unknown> | null][] = [
  ['id int primary key, email text unique', 'user_id', 'int', { kind: 'derive' }],
  ['id int primary key, email text unique', 'user_email', 'text', null],
  ['id int primary key, public_id uuid unique', 'user_id', 'uuid', { kind: 'match', usersColumn: 'public_id' }],
  ['id uuid primary key, public_id uuid unique', 'user_id', 'uuid', null],
  ['id uuid primary key', 'owner', 'text', { kind: 'uuid', isText: true }],
  ['id uuid primary key, email text unique', 'owner', 'text', null],
];

test.each(empty)('users (%s), and a column %s %s that holds nothing yet', async (users, column, type, source) => {
  await client.query(`create table public.users (${users});
    create table public.notes (id int primary key, ${column} ${type} not null)`);
  const made = makePlan(client, config);
  if (source === null) {
    await expect(made).rejects.toThrow(`public.notes: ${column} holds nothing yet`);
    return;
  }
  const notes = (await made).plan.ownership.owned.find(({ table }) => table === 'public.notes');
  expect(notes?.sources).toEqual([expect.objectContaining(source)]);
});

test('a reference by citext to what is owned is refused', async () => {
  await client.query(`create extension citext schema public;
    create table public.documents (code public.citext primary key, user_id uuid not null);
    create table public.notes (id int primary key, code public.citext not null references public.documents);
    create domain public.short as public.citext; create domain public.code as public.short;
    create table public.books (code public.code primary key, user_id uuid not null);
    create table public.marks (id int primary key, code public.code not null references public.books)`);
  await expect(makePlan(client, config)).rejects.toThrow('public.notes: notes_code_fkey goes by a citext');
  await expect(makePlan(client, config)).rejects.toThrow('public.marks: marks_code_fkey goes by a citext');
});
