import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createDatabase, statement, type TestDatabase, withDatabase } from '../../test/support/postgres.ts';
import { changeAllRows, readAllRows } from './all-rows.ts';
import { type Connection, connect } from './connection.ts';

const owner = `all_rows_${randomBytes(4).toString('hex')}`;
let database: TestDatabase;
let client: Connection;

/** An owner who is no superuser, after the cut-over: his own policies bind him. */
beforeAll(async () => {
  database = await createDatabase();
  const { rows } = await statement(database.url, "select current_setting('server_version_num')::int as v");
  const admin =
    Number(rows[0]?.v) >= 160_000
      ? `grant ringfence_system to ${owner} with admin true, inherit false, set false;`
      : `alter role ${owner} createrole;`;
  await statement(
    database.url,
    `create role ${owner}; ${admin}
    create table public.notes (id int); insert into public.notes values (1), (2);
    alter table public.notes owner to ${owner};
    alter table public.notes enable row level security, force row level security;
    create policy system_mode on public.notes to ringfence_system using (true) with check (true);
    create policy user_isolation on public.notes using (false) with check (false);`,
  );
  client = await connect(database.url, 'test');
  await client.query(`set role ${owner}`);
});

afterAll(async () => {
  await client.end();
  await database.drop();
  await statement(withDatabase(database.url, 'postgres'), `drop role ${owner}`);
});

beforeEach(() => client.query('drop policy if exists further on public.notes'));

const count = () =>
  readAllRows(client, async (rowSecurity) => {
    await client.query(`set local row_security = ${rowSecurity}`);
    const { rows } = await client.query<{ rows: number }>('select count(*)::int as rows from public.notes');
    return rows[0]?.rows;
  });

test('an owner whom policies bind reads and changes all rows as a member of the system role', async () => {
  expect(await count()).toBe(2);
  expect((await changeAllRows(client, () => client.query('update public.notes set id = id'))).rowCount).toBe(2);
});

test('a restrictive policy for others is not in the way', async () => {
  await client.query(
    'create policy further on public.notes as restrictive for insert to ringfence_app with check (false)',
  );
  expect(await count()).toBe(2);
  expect((await changeAllRows(client, () => client.query('update public.notes set id = id'))).rowCount).toBe(2);
});

test.each(['public', 'ringfence_system', owner])('one for %s is: an error, rather than a part', async (role) => {
  await client.query(`create policy further on public.notes as restrictive to ${role} using (id = 1)`);
  await expect(count()).rejects.toMatchObject({ code: '42501' });
});
