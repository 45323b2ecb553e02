import { afterEach, beforeEach, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../../test/support/postgres.ts';
import { type Connection, connect, withConnection } from '../connection.ts';
import { freezePlan, type Plan, type Sweep } from '../plan.ts';
import { applyPlan } from './runner.ts';
import type { RunEvent } from './step-run.ts';

const ann = '11111111-1111-4111-8111-111111111111';
const nobody = '00000000-0000-4000-8000-000000000000';

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

const isWrong = `where %RANGE% and t.owner <> '${ann}'`;
const sweep: Sweep = {
  table: 'public.items',
  leaves: ['public.items'],
  update: `update %TABLE% t set owner = '${ann}' ${isWrong}`,
  search: `select t.ctid from %TABLE% t ${isWrong}`,
  unclaimed: `t.owner = '${nobody}'`,
  recursive: false,
};

function planOf(one: Sweep): Plan {
  const ownership = { users: null, owned: [], unowned: [], legacyRoles: [], appRole: 'app', quarantineOwner: nobody };
  return freezePlan('test', ownership, [
    {
      id: 'owners/reconcile',
      phase: 'owners',
      table: null,
      title: 'go over all rows',
      lock: 'ROW EXCLUSIVE',
      rewrites: false,
      restores: null,
      onlineOnly: false,
      up: { kind: 'reconcile', sweeps: [one] },
      down: null,
    },
  ]);
}

async function one<T>(query: string): Promise<T | undefined> {
  const { rows } = await client.query<{ value: T }>(query);
  return rows[0]?.value;
}

const wrongRows = () => one<number>(`select count(*)::int as value from public.items where owner <> '${ann}'`);

/** Pages of some 50 rows each. */
const makeItems = (rows: number, owner: string) =>
  client.query(`create table public.items (id int primary key, owner uuid not null, note text not null);
    insert into public.items select i, ${owner}, repeat('x', 80) from generate_series(1, ${rows}) i`);

test('rows here and there are found, and no row beside their pages is touched', async () => {
  await makeItems(20_000, `case when i in (1, 9000, 9001, 20000) then '${nobody}' else '${ann}' end::uuid`);
  await withConnection(database.url, 'writer', async (writer) => {
    await writer.query('begin; update public.items set note = note where id between 100 and 8000');
    expect(await applyPlan(database.url, planOf(sweep))).toMatchObject({ rows: 4 });
    await writer.query('commit');
  });
  expect(await wrongRows()).toBe(0);
});

test('a row that moves away after it was found is found again', async () => {
  await makeItems(5_000, `case i when 10 then '${nobody}' else '${ann}' end::uuid`);
  const events: RunEvent[] = [];
  await withConnection(database.url, 'writer', async (writer) => {
    // It fits on its page no more.
    await writer.query(`begin; update public.items set note = repeat('long', 400) where id = 10`);
    const applying = applyPlan(database.url, planOf(sweep), { onEvent: (event) => events.push(event) });
    await expect
      .poll(() => events.some((event) => event.kind === 'progress' && event.progress.note?.includes('in use by')), {
        timeout: 10_000,
      })
      .toBe(true);
    await writer.query('commit');
    expect(await applying).toMatchObject({ rows: 1 });
  });
  expect(await wrongRows()).toBe(0);
});

test('a row that moves from where nobody looked yet to where somebody has looked is not missed', async () => {
  await client.query(`create table public.items (id int, part int, owner uuid not null) partition by list (part);
    create table public.first partition of public.items for values in (1);
    create table public.second partition of public.items for values in (2);
    insert into public.items select i, 1, '${ann}' from generate_series(1, 100) i;
    insert into public.items values (1000, 2, '${nobody}')`);
  const lock = '(select true from pg_advisory_xact_lock_shared(42))';
  const waits = {
    ...sweep,
    leaves: ['public.first', 'public.second'],
    // The search of the first ends when the row has come there, from the second.
    search: `select t.ctid from %TABLE% t where %RANGE%
      and t.owner <> case when t.tableoid <> 'public.first'::regclass or ${lock} then '${ann}'::uuid end`,
  };
  await withConnection(database.url, 'writer', async (writer) => {
    await writer.query('select pg_advisory_lock(42)');
    const applying = applyPlan(database.url, planOf(waits));
    const waiting =
      "select count(*)::int as value from pg_locks where locktype = 'advisory' and not granted and objid = 42";
    await expect.poll(() => one<number>(waiting), { timeout: 10_000 }).toBe(1);
    await writer.query('update public.items set part = 1 where id = 1000');
    await writer.query('select pg_advisory_unlock(42)');
    expect(await applying).toMatchObject({ rows: 1 });
  });
  expect(await wrongRows()).toBe(0);
});

// A page is cleared only of what is older than every transaction that writes, those of other databases included
// (GetSnapshotData's definitely_needed). On so few blocks the passes are over while one of another test is open.
const besideOthers = { retry: 4 };
test('most rows of a full table get their owner without an entry in an index', besideOthers, async () => {
  await makeItems(30_000, `'${nobody}'::uuid`);
  await client.query('create index on public.items (note, id); create index on public.items (md5(id::text))');
  expect(await applyPlan(database.url, planOf(sweep))).toMatchObject({ rows: 30_000 });
  expect(await wrongRows()).toBe(0);
  const share = `select n_tup_hot_upd::float8 / n_tup_upd as value from pg_stat_all_tables
    where relid = 'public.items'::regclass`;
  // Counters come in when a session ends, a moment after its client has gone.
  await expect.poll(() => one<number>(share), { timeout: 5_000 }).toBeGreaterThan(0.5);
});
