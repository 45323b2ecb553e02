import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createDatabase, statement, type TestDatabase, withDatabase } from '../../test/support/postgres.ts';
import { readCatalog } from './catalog.ts';
import { withConnection } from './connection.ts';
import { makePlan } from './make-plan.ts';
import { preflight } from './preflight/preflight.ts';

const role = `lesser_${randomBytes(4).toString('hex')}`;
let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
  await statement(database.url, `create role ${role} login password 'secret'`);
});
afterAll(async () => {
  await database.drop();
  await statement(withDatabase(database.url, 'postgres'), `drop role ${role}`);
});
beforeEach(() =>
  statement(
    database.url,
    `drop schema public cascade; create schema public;
    create table public.users (id uuid primary key);
    create table public.projects (id int primary key, owner_id uuid not null references public.users, name text);
    create table public.notes (id int primary key, user_id uuid not null references public.users, body text);`,
  ),
);

const config = { tables: {}, shared: [], ignored: [], csv: {} };

async function refusals(sql: string, url = database.url): Promise<string[]> {
  await statement(database.url, sql);
  const error: unknown = await withConnection(url, 'test', (client) => makePlan(client, config)).then(
    () => null,
    (reason: unknown) => reason,
  );
  if (error === null) return [];
  expect(error).toMatchObject({ code: 'rollout_refused', message: expect.any(String) });
  return String(error).split('\n').slice(1);
}

/** What preflight says in the same words. */
async function failures(check: string): Promise<(string | undefined)[]> {
  const findings = await withConnection(database.url, 'test', async (client) =>
    preflight(client, await readCatalog(client)),
  );
  return findings.filter((f) => f.check === check && f.severity === 'fail').map(({ object }) => object);
}

test('a publication that names columns and not the owner', async () => {
  expect(
    await refusals(
      `create publication narrow for table projects (id, owner_id), users (id);
      create publication added for table projects (id) with (publish = 'insert');
      create publication whole for table projects;
      create publication owned for table notes (id, user_id)`,
    ),
  ).toEqual([expect.stringMatching(/^public\.projects: publication narrow names .* \(42P10\)/)]);
  expect(await failures('publication-columns')).toEqual(['public.projects']);
  expect(await refusals('drop publication narrow')).toEqual([]);
  await statement(database.url, 'drop publication added, whole, owned');
});

test('columns whose type is an owned row, which could get no further column', async () => {
  expect(
    await refusals(
      `create table history (id int primary key, user_id uuid not null, was projects, all_of projects[], other notes);
      create view shown as select p from projects p`,
    ),
  ).toEqual([
    expect.stringMatching(/^public\.projects: public\.history\.all_of has its rows as a type/),
    expect.stringMatching(/^public\.projects: public\.history\.was has its rows as a type/),
  ]);
  expect(await failures('row-type')).toEqual(['public.projects', 'public.projects']);
  expect(await refusals('alter table history drop was, drop all_of')).toEqual([]);
});

test('and those made of such a type, to any depth', async () => {
  expect(
    await refusals(
      `create type was as (project projects, at int);
      create domain moments as was[];
      create type whole as (told moments);
      create table history (id int primary key, user_id uuid not null, seen whole)`,
    ),
  ).toEqual([expect.stringMatching(/^public\.projects: public\.history\.seen has its rows as a type/)]);
  expect(await failures('row-type')).toEqual(['public.projects']);
});

test('keys and references that Postgres 18 brought', async (context) => {
  const version = await withConnection(
    database.url,
    'test',
    async (client) => (await readCatalog(client)).serverVersion,
  );
  if (version < 180_000) context.skip('this Postgres has no NOT ENFORCED reference and no key WITHOUT OVERLAPS');
  expect(
    await refusals(
      `create extension btree_gist schema public;
      create table stays (id int, during daterange, user_id uuid not null, primary key (id, during without overlaps));
      create table tasks (id int primary key, project_id int constraint loose references projects not enforced)`,
    ),
  ).toEqual([
    expect.stringMatching(/^public\.stays: stays_pkey is a key WITHOUT OVERLAPS/),
    expect.stringMatching(/^public\.tasks: loose is NOT ENFORCED/),
  ]);
  expect(await refusals('drop table stays; alter table tasks alter constraint loose enforced')).toEqual([]);
});

test('references and keys of types that our statements cannot compare', async () => {
  expect(
    await refusals(
      `create extension ltree schema public;
      create type public.state as enum ('open');
      create table folders (path ltree primary key, user_id uuid not null);
      create table files (id int primary key, folder ltree not null references folders);
      create table states (at ltree, project_id int references projects, primary key (at));
      create table fine (id state[] primary key, at ltree, project_id int references projects)`,
    ),
  ).toEqual([
    expect.stringMatching(/^public\.files: files_folder_fkey goes by path of type public\.ltree/),
    expect.stringMatching(/^public\.states: states_pkey goes by at of type public\.ltree/),
  ]);
  await statement(database.url, 'drop table files, states; drop extension ltree cascade');
});

test('a table made of a type', async () => {
  expect(
    await refusals(`create type form as (id int, project_id int);
      create table made of form (primary key (id), project_id not null);
      alter table made add foreign key (project_id) references projects`),
  ).toEqual([expect.stringMatching(/^public\.made: it is a table of a type.* alter table public\.made not of$/)]);
  expect(await failures('typed-table')).toEqual(['public.made']);
  expect(await refusals('alter table made not of')).toEqual([]);
});

test('a table of somebody else', async () => {
  const login = new URL(database.url);
  login.username = role;
  login.password = 'secret';
  const mine = ['users', 'notes'].map((table) => `alter table public.${table} owner to ${role};`).join('');
  expect(
    await refusals(
      `grant usage on schema public to ${role}; grant select on projects to ${role}; revoke all on projects from public; ${mine}`,
      login.href,
    ),
  ).toEqual([expect.stringMatching(/^public\.projects: it belongs to .*, and only an owner may alter a table\./)]);
  expect(await refusals(`alter table projects owner to ${role}`, login.href)).toEqual([]);
});
