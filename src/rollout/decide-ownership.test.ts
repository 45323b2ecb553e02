import pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../test/support/postgres.ts';
import { readCatalog } from './catalog.ts';
import { type Decision, decideOwnership } from './decide-ownership.ts';
import type { RolloutConfig } from './rollout-config.ts';

let database: TestDatabase;
let client: pg.Client;

beforeAll(async () => {
  database = await createDatabase();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await database.drop();
});
beforeEach(async () => {
  await client.query('drop schema public cascade; create schema public');
});

async function decide(sql: string, config: Partial<RolloutConfig> = {}): Promise<Decision> {
  await client.query(sql);
  return decideOwnership(client, await readCatalog(client), {
    tables: {},
    shared: [],
    ignored: [],
    csv: {},
    ...config,
  });
}

const faults = ({ findings }: Decision) =>
  findings.filter((f) => f.severity === 'fail').map((f) => `${f.check} ${f.object}`);
const owned = ({ ownership }: Decision) => Object.fromEntries(ownership.owned.map((t) => [t.table, t.sources]));

const users = 'create table users (id serial primary key, login text unique, email text unique);';

test('a reference to the users names the owner; ids that are no uuid are derived by name', async () => {
  const decision = await decide(
    `${users} create table notes (id int primary key, author_id int not null references users);`,
  );
  expect(faults(decision)).toEqual([]);
  expect(owned(decision)['public.notes']).toEqual([{ kind: 'derive', column: 'author_id', namespace: 'public.users' }]);
});

test('a uuid user_id that is never empty is kept as the owner column', async () => {
  const decision = await decide('create table notes (id int primary key, user_id uuid not null);');
  expect(decision.ownership.owned).toMatchObject([{ ownerColumn: 'user_id', adopted: true, sources: [] }]);
});

test('a user_id of another type stays, and the owner is beside it', async () => {
  const decision = await decide(
    `create table notes (id int primary key, user_id text); insert into notes values (1, 'ann');`,
  );
  expect(decision.ownership.owned).toMatchObject([
    {
      ownerColumn: 'ringfence_user_id',
      adopted: false,
      sources: [{ kind: 'derive', column: 'user_id', namespace: 'owner' }],
    },
  ]);
});

test('text is looked up in the unique column of the users where most of it is', async () => {
  const decision =
    await decide(`${users} insert into users (login, email) select 'u' || n, 'u' || n || '@x' from generate_series(1, 9) n;
    create table notes (id int primary key, owner text);
    insert into notes select n, case when n = 9 then 'gone' else 'u' || n || '@x' end from generate_series(1, 9) n;`);
  expect(owned(decision)['public.notes']).toEqual([
    { kind: 'match', column: 'owner', usersColumn: 'email', ignoreCase: false },
  ]);
  expect(decision.findings).toMatchObject([{ severity: 'warn', check: 'unmatched-owners', object: 'public.notes' }]);
});

test('owners go down references to any depth, required and cascading ones first', async () => {
  const decision = await decide(`
    create table a (id int primary key, user_id uuid);
    create table tag (id int primary key, user_id uuid);
    create table b (id int primary key, tag_id int references tag, a_id int not null references a on delete cascade);
    create table c (id int primary key, b_id int references b);
  `);
  expect(faults(decision)).toEqual([]);
  const parents = (table: string) =>
    (owned(decision)[table] ?? []).map((source) =>
      source.kind === 'reference' ? source.reference.table : source.kind,
    );
  expect(parents('public.b')).toEqual(['public.a', 'public.tag']);
  expect(parents('public.c')).toEqual(['public.b']);
  expect(decision.ownership.owned.map(({ table }) => table).indexOf('public.c')).toBe(3);
});

test('in a cycle, what leads out of it is asked first', async () => {
  const decision = await decide(`
    create table teams (id int primary key, user_id uuid not null);
    create table documents (id int primary key, current_id int not null, team_id int not null references teams);
    create table revisions (id int primary key, document_id int not null references documents on delete cascade);
    alter table documents add foreign key (current_id) references revisions on delete cascade;
  `);
  const documents = decision.ownership.owned.find(({ table }) => table === 'public.documents');
  expect(documents?.sources).toMatchObject([
    { reference: { table: 'public.teams' } },
    { reference: { table: 'public.revisions' } },
  ]);
  expect(documents?.reason).toBe(
    'the owner of public.teams by team_id, else the owner of public.revisions by current_id',
  );
});

test('customer_id that refers to something else than users is a reference, not an owner', async () => {
  const decision = await decide(`
    create table customers (id int primary key, user_id uuid);
    create table orders (id int primary key, customer_id int references customers);
  `);
  expect(owned(decision)['public.orders']).toMatchObject([{ kind: 'reference' }]);
});

test('a table that nothing classifies is an error, and a declaration settles it', async () => {
  const sql = 'create table countries (code text primary key); create table notes (id int primary key, user_id uuid);';
  expect(faults(await decide(sql))).toEqual(['unclassified-table public.countries']);
  await client.query('drop schema public cascade; create schema public');
  const decision = await decide(sql, { shared: ['public.countries'] });
  expect(faults(decision)).toEqual([]);
  expect(decision.ownership.unowned).toEqual([{ table: 'public.countries', class: 'shared', reason: 'declared' }]);
});

test('what everybody reads may not refer to what one user owns', async () => {
  const decision = await decide(
    `create table notes (id int primary key, user_id uuid);
     create table featured (note_id int references notes);`,
    { shared: ['public.featured'] },
  );
  expect(faults(decision)).toEqual(['reference-from-outside public.featured']);
});

test('several references to users without a telling name have to be told apart', async () => {
  const decision = await decide(`${users}
    create table reviews (id int primary key, writer int references users, reader int references users);`);
  expect(faults(decision)).toEqual(['ambiguous-owner public.reviews']);
});

test('the configuration is checked against what is there', async () => {
  const decision = await decide('create table notes (id int primary key, user_id uuid);', {
    tables: { 'public.notes': { owner: { column: 'nobody', as: 'uuid' } }, 'public.ghost': {} },
    ignored: ['public.phantom'],
  });
  expect(faults(decision)).toEqual([
    'unknown-table public.ghost',
    'unknown-table public.phantom',
    'unknown-column public.notes',
  ]);
});

test('roles with rights on the tables are the old application', async () => {
  await client.query(`do $$ begin create role legacy_reader; exception when duplicate_object then null; end $$`);
  const decision = await decide(
    'create table notes (id int primary key, user_id uuid); grant select on notes to legacy_reader;',
  );
  expect(decision.ownership.legacyRoles).toEqual(['legacy_reader']);
  await client.query('drop owned by legacy_reader; drop role legacy_reader');
});
