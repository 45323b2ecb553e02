import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../../test/support/postgres.ts';
import { monotonicMs } from '../../clock.ts';
import { type Connection, connect, withConnection } from '../connection.ts';
import { type Action, freezePlan, type Phase, type Plan, type Step } from '../plan.ts';
import { installState, readEvents, readFrozenPlan, readLedger } from '../state.ts';
import { withRolloutLock } from './lock.ts';
import { applyPlan, rollbackPlan } from './runner.ts';
import type { RunEvent } from './step-run.ts';

const quarantine = '00000000-0000-4000-8000-000000000000';
const ann = '11111111-1111-4111-8111-111111111111';

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

function step(id: string, phase: Phase, up: Action | null, down: Action | null = null): Step {
  const lock = 'ACCESS EXCLUSIVE';
  return {
    id,
    phase,
    table: null,
    title: `do ${id}`,
    lock,
    rewrites: false,
    restores: null,
    up,
    down,
    onlineOnly: false,
  };
}

function planOf(...steps: Step[]): Plan {
  const nobody = { users: null, owned: [], unowned: [], legacyRoles: [], appRole: 'ringfence_app' };
  return freezePlan('test', { ...nobody, quarantineOwner: quarantine }, steps);
}

const sql = (locks: string[], ...statements: string[]): Action => ({ kind: 'sql', locks, statements });
const wrong = `where %RANGE% and t.owner is distinct from '${ann}'`;
const sweep = {
  table: 'public.items',
  leaves: ['public.items'],
  update: `update %TABLE% t set owner = '${ann}' ${wrong}`,
  search: `select t.ctid from %TABLE% t ${wrong}`,
  unclaimed: `t.owner = '${quarantine}'`,
  recursive: false,
};
const addColumn = step(
  'prepare/items',
  'prepare',
  sql(['public.items'], `alter table public.items add column owner uuid not null default '${quarantine}'`),
  sql(['public.items'], 'alter table public.items drop column owner'),
);
const fill = step('owners/items', 'owners', { kind: 'backfill', sweep });
const index = step(
  'keys/items/unique',
  'keys',
  {
    kind: 'index',
    schema: 'public',
    name: 'ringfence_items_key',
    statement: 'create unique index concurrently ringfence_items_key on public.items (owner, id)',
  },
  { kind: 'dropIndex', schema: 'public', name: 'ringfence_items_key' },
);

async function makeItems(rows: number): Promise<void> {
  await client.query(`create table public.items (id bigint primary key, note text);
    insert into public.items select i, repeat('x', 100) from generate_series(1, ${rows}) i;
    analyze public.items`);
}

async function one<T>(query: string): Promise<T> {
  const { rows } = await client.query<{ value: T }>(query);
  const [row] = rows;
  if (!row) throw new Error(`no row from ${query}`);
  return row.value;
}

const states = async (plan: Plan) =>
  Object.fromEntries([...(await readLedger(client, plan.hash))].map(([id, entry]) => [id, entry.state]));

/** Waits for something that another session does. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  await expect.poll(condition, { interval: 20 }).toBe(true);
}

test('a plan runs to its end, back, and again', async () => {
  await makeItems(20_000);
  const plan = planOf(
    addColumn,
    fill,
    step('owners/reconcile', 'owners', { kind: 'reconcile', sweeps: [sweep] }),
    index,
    step('seal/nothing', 'seal', null, sql([], 'select 1')),
  );
  const events: RunEvent[] = [];
  const summary = await applyPlan(database.url, plan, { onEvent: (event) => events.push(event) });
  expect(summary).toMatchObject({ direction: 'up', steps: 4, rows: 20_000, left: 1 });
  expect(summary.walBytes).toBeGreaterThan(1_000_000);
  expect(summary.longestLockStep).toBe('prepare/items');
  expect(await one(`select count(*)::int as value from public.items where owner = '${ann}'`)).toBe(20_000);
  expect(await readFrozenPlan(client)).toEqual(plan);
  expect(events.filter((event) => event.kind === 'stepDone').map((event) => event.step.id)).toEqual(
    plan.steps.slice(0, 4).map(({ id }) => id),
  );
  const progress = events.flatMap((event) => (event.kind === 'progress' && event.step.id === fill.id ? [event] : []));
  expect(progress.at(-1)?.progress).toMatchObject({ rows: 20_000, secondsLeft: 0 });

  expect(await applyPlan(database.url, plan)).toMatchObject({ steps: 0 });
  expect(await applyPlan(database.url, plan, { until: 'seal' })).toMatchObject({ steps: 1, left: 0 });

  expect(await rollbackPlan(database.url, plan, { to: 'prepare' })).toMatchObject({ direction: 'down', steps: 4 });
  expect(await one("select to_regclass('public.ringfence_items_key') is null as value")).toBe(true);
  await client.query(`update public.items set owner = default where id <= 10`);
  expect(await applyPlan(database.url, plan)).toMatchObject({ steps: 3, rows: 10 });
  const back: RunEvent[] = [];
  const takenBack = await rollbackPlan(database.url, plan, { to: null, onEvent: (event) => back.push(event) });
  expect(takenBack).toMatchObject({ steps: 4, left: 5 });
  expect(back.flatMap((event) => (event.kind === 'stepDone' ? [event.step.id] : []))).toEqual(
    plan.steps
      .slice(0, 4)
      .map(({ id }) => id)
      .toReversed(),
  );
  expect(await readFrozenPlan(client)).toBeNull();
  expect(
    await one(
      "select count(*)::int as value from pg_attribute where attrelid = 'public.items'::regclass and attname = 'owner'",
    ),
  ).toBe(0);
  expect(await applyPlan(database.url, plan)).toMatchObject({ steps: 4, rows: 20_000 });
  expect((await readEvents(client)).map(({ kind }) => kind)).toEqual([
    ...['apply', 'apply', 'apply', 'rollback', 'apply', 'rollback', 'apply'],
  ]);
});

describe('a change under a short lock', () => {
  test('waits in turns for a writer and leaves readers alone', async () => {
    await makeItems(10);
    const plan = planOf(addColumn);
    let waitedMs = 0;
    await withConnection(database.url, 'writer', async (writer) => {
      await writer.query('begin; update public.items set note = null where id = 1');
      const events: RunEvent[] = [];
      const began = monotonicMs();
      const applying = applyPlan(database.url, plan, { onEvent: (event) => events.push(event) });
      const notes = () => events.flatMap((event) => (event.kind === 'progress' ? [event.progress.note ?? ''] : []));
      await until(async () => notes().length >= 3);
      expect(notes().at(-1)).toMatch(
        /^attempt \d+ for the lock; held by pid \d+ \(ringfence writer, .*in a transaction/,
      );
      await writer.query('commit');
      waitedMs = monotonicMs() - began;
      await applying;
    });
    const entry = (await readLedger(client, plan.hash)).get(addColumn.id);
    expect(entry?.state).toBe('done');
    expect(entry?.detail.attempts).toBeGreaterThan(2);
    expect(entry?.detail.lockMs).toBeLessThan(waitedMs);
  });

  test('gives up with the name of who is in the way, never with what he runs', async () => {
    await makeItems(10);
    await withConnection(database.url, 'writer', async (writer) => {
      await writer.query("begin; update public.items set note = 'private matter' where id = 1");
      const fault = await applyPlan(database.url, planOf(addColumn), { lockRetryMs: 300 }).catch((error) => error);
      expect(fault).toMatchObject({ code: 'rollout_failed' });
      expect(fault.message).toMatch(
        /^Step 1 of 1 \(prepare\/items: do prepare\/items\) failed: no lock on public\.items in 0\.3 s .*\(ringfence writer, /,
      );
      expect(fault.message).toContain('run `ringfence apply` again to go on');
      expect(fault.message).not.toContain('private');
      await writer.query('rollback');
    });
  });

  test('is there whole with its entry, or not at all', async () => {
    await makeItems(10);
    const broken = step('prepare/broken', 'prepare', sql([], 'create table public.half ()', 'select 1/0'));
    const plan = planOf(addColumn, broken);
    await expect(applyPlan(database.url, plan)).rejects.toMatchObject({
      code: 'rollout_failed',
      message: expect.stringContaining('Step 2 of 2'),
    });
    expect(await one("select to_regclass('public.half') is null as value")).toBe(true);
    expect(await states(plan)).toEqual({ [addColumn.id]: 'done' });
  });

  test('is taken back when its entry cannot be written', async () => {
    await makeItems(10);
    await installState(client);
    await client.query("alter table ringfence_rollout.steps add constraint refused check (state <> 'done')");
    await expect(applyPlan(database.url, planOf(addColumn))).rejects.toThrow();
    const columns =
      "select count(*)::int as value from pg_attribute where attrelid = 'public.items'::regclass and attname = 'owner'";
    expect(await one(columns)).toBe(0);
  });

  test('a statement that would hold its lock for long is taken back', async () => {
    await makeItems(10);
    const slow = step('prepare/slow', 'prepare', sql(['public.items'], 'select pg_sleep(60)'));
    await expect(applyPlan(database.url, planOf(slow))).rejects.toMatchObject({
      message: expect.stringContaining('longer than 2 s under its lock, 3 times'),
    });
  });
});

describe('an index', () => {
  test('an invalid one that was left behind is built again', async () => {
    await makeItems(100);
    await applyPlan(database.url, planOf(addColumn));
    await client.query('update public.items set note = null');
    const plan = planOf(addColumn, index);
    await client.query('create index ringfence_items_key on public.items (note)');
    await client.query(
      "update pg_catalog.pg_index set indisvalid = false where indexrelid = 'public.ringfence_items_key'::regclass",
    );
    await client.query('delete from ringfence_rollout.steps');
    await client.query('alter table public.items drop column owner');
    await applyPlan(database.url, plan);
    expect(
      await one(
        `select indisvalid and pg_get_indexdef(indexrelid) like '%(owner, id)' as value
        from pg_index where indexrelid = 'public.ringfence_items_key'::regclass`,
      ),
    ).toBe(true);
  });

  test('rows in the way are a finding, and no index is left that refuses rows', async () => {
    await client.query('create table public.items (id int); insert into public.items values (1), (1)');
    await expect(applyPlan(database.url, planOf(addColumn, index))).rejects.toMatchObject({
      code: 'rollout_refused',
      message: expect.stringMatching(/rows agree in all its columns\. Key \(owner, id\)=\(.*, 1\) is duplicated/),
    });
    expect(await one("select to_regclass('public.ringfence_items_key') is null as value")).toBe(true);
  });
});

describe('a constraint', () => {
  const reference =
    'alter table public.items add constraint "Parent" foreign key (parent) references public.parents not valid';
  const validate = step('keys/validate', 'keys', { kind: 'validate', table: 'public.items', constraint: 'Parent' });

  test('rows that break it are named', async () => {
    await client.query(`create table public.parents (id int primary key); insert into public.parents values (1);
      create table public.items (parent int); insert into public.items values (1), (7), (null); ${reference}`);
    await expect(applyPlan(database.url, planOf(validate))).rejects.toMatchObject({
      code: 'rollout_refused',
      message: expect.stringContaining('rows of public.items break "Parent": (parent) = (7) is not in public.parents'),
    });
    await client.query('delete from public.items where parent = 7');
    await applyPlan(database.url, planOf(validate));
    expect(await one(`select convalidated as value from pg_constraint where conname = 'Parent'`)).toBe(true);
  });
});

test('a check shows what it found and how many', async () => {
  const query = `select 'fault ' || i as fault from generate_series(1, 25) i;`;
  const plan = planOf(step('keys/check', 'keys', { kind: 'check', query, remedy: 'Mend it.' }));
  await expect(applyPlan(database.url, plan)).rejects.toMatchObject({
    code: 'rollout_refused',
    message: expect.stringMatching(/failed: 25 faults:\n {2}fault 1\n[\s\S]* {2}fault 20\n {2}and 5 more\nMend it\.\n/),
  });
});

describe('a backfill', () => {
  const plan = planOf(addColumn, fill);
  const done = () =>
    one<number>('select coalesce(sum(next_block - first_block), 0)::int as value from ringfence_rollout.ranges');

  test('waits for rows that a writer holds, without holding up other writers', async () => {
    await makeItems(5_000);
    await applyPlan(database.url, plan, { until: 'prepare' });
    await withConnection(database.url, 'writer', async (writer) => {
      await writer.query('begin; select from public.items where id = 2500 for update');
      const events: RunEvent[] = [];
      const applying = applyPlan(database.url, plan, { onEvent: (event) => events.push(event) });
      const waits = /waits for rows of public\.items, in use by .*ringfence writer/;
      await until(async () =>
        events.some((event) => event.kind === 'progress' && waits.test(event.progress.note ?? '')),
      );
      // Everybody else's rows are free: no range keeps what it has while it waits.
      await client.query("set lock_timeout = '2s'; select from public.items where id <> 2500 for update");
      await writer.query('commit');
      expect(await applying).toMatchObject({ rows: 5_000 });
    });
  });

  test('goes on after its backend was killed in the middle, and does no range twice', async () => {
    await makeItems(60_000);
    let killed = false;
    const kill = () => {
      if (killed) return;
      killed = true;
      void client.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'ringfence backfill' and datname = current_database()",
      );
    };
    const first = await applyPlan(database.url, plan, {
      workers: 1,
      onEvent: (event) => {
        if (event.kind === 'progress' && event.progress.done > 250) kill();
      },
    }).catch((error) => error);
    expect(first).toMatchObject({ code: 'database_unavailable', message: expect.stringContaining('Step 2 of 2') });
    expect(await states(plan)).toEqual({ [addColumn.id]: 'done', [fill.id]: 'running' });
    const before = await done();
    expect(before).toBeGreaterThan(0);
    const filled = await one<number>(`select count(*)::int as value from public.items where owner = '${ann}'`);
    expect(filled).toBe(await one<number>('select sum(rows)::int as value from ringfence_rollout.ranges'));
    // What is marked as done is left alone, even if it were wrong: reconcile is for that.
    await client.query(`update public.items set owner = default where id = 1`);
    const second = await applyPlan(database.url, plan);
    expect(second.rows).toBe(60_000);
    expect(await one<number>(`select count(*)::int as value from public.items where owner <> '${ann}'`)).toBe(1);
    expect(await one<number>('select sum(rows)::int as value from ringfence_rollout.ranges')).toBe(60_000);
  });

  test('stops after its range when asked, and says how to go on', async () => {
    await makeItems(60_000);
    const stop = new AbortController();
    const fault = await applyPlan(database.url, plan, {
      signal: stop.signal,
      onEvent: (event) => {
        if (event.kind === 'progress' && event.progress.done > 250) stop.abort();
      },
    }).catch((error) => error);
    expect(fault).toMatchObject({
      code: 'rollout_failed',
      message: expect.stringMatching(/^Stopped before the end of step 2 of 2 \(owners\/items.*`ringfence apply` again/),
    });
    expect(await done()).toBeGreaterThan(0);
    expect(await applyPlan(database.url, plan)).toMatchObject({ steps: 1, rows: 60_000 });
  });

  test('user triggers do not fire, and rows change in no other column', async () => {
    await makeItems(100);
    await client.query(`create function public.touch() returns trigger language plpgsql as
      $$ begin new.note := 'touched'; return new; end $$;
      create trigger touch before update on public.items for each row execute function public.touch()`);
    await applyPlan(database.url, plan);
    expect(await one("select count(*)::int as value from public.items where note = 'touched'")).toBe(0);
  });
});

test('owners go down a tree in reconcile, whatever the order of rows', async () => {
  await client.query(`create table public.items (id int primary key, parent int, owner uuid not null default '${quarantine}');
    insert into public.items (id, parent) select i, nullif(i, 20) + 1 from generate_series(1, 20) i;
    update public.items set owner = '${ann}' where id = 20`);
  const fromParent = 'where %RANGE% and p.id = t.parent and t.owner is distinct from p.owner';
  const down = {
    ...sweep,
    update: `update %TABLE% t set owner = p.owner from public.items p ${fromParent}`,
    search: `select t.ctid from %TABLE% t, public.items p ${fromParent}`,
    recursive: true,
  };
  const plan = planOf(step('owners/reconcile', 'owners', { kind: 'reconcile', sweeps: [down] }));
  expect(await applyPlan(database.url, plan)).toMatchObject({ rows: 19 });
  expect(await one(`select bool_and(owner = '${ann}') as value from public.items`)).toBe(true);
});

test('rules that contradict each other end with a finding', async () => {
  await makeItems(3);
  await client.query(`alter table public.items add column owner uuid`);
  const always = {
    ...sweep,
    update: 'update %TABLE% t set owner = gen_random_uuid() where %RANGE%',
    search: 'select t.ctid from %TABLE% t where %RANGE%',
  };
  const plan = planOf(step('owners/reconcile', 'owners', { kind: 'reconcile', sweeps: [always] }));
  await expect(applyPlan(database.url, plan)).rejects.toMatchObject({
    code: 'rollout_refused',
    message: expect.stringContaining('owners still change after 50 passes'),
  });
});

test('the second of two applies says who is at work', async () => {
  await makeItems(10);
  await withRolloutLock(database.url, 'apply', async () => {
    await expect(applyPlan(database.url, planOf(addColumn))).rejects.toMatchObject({
      code: 'rollout_in_progress',
      message: expect.stringMatching(/ringfence apply \(pid \d+, .*, since \d{4}-.*Z\)/),
    });
  });
  await applyPlan(database.url, planOf(addColumn));
});

test('another plan is refused while one is partly done', async () => {
  await makeItems(10);
  await applyPlan(database.url, planOf(addColumn, index), { until: 'prepare' });
  await expect(applyPlan(database.url, planOf(addColumn))).rejects.toMatchObject({
    code: 'rollout_refused',
    message: expect.stringContaining('Another plan'),
  });
});

test('a plan whose first step failed is in force until it is taken back, although there is nothing to take back', async () => {
  const plan = planOf(step('prepare/a', 'prepare', sql([], 'select 1/0'), sql([], 'select 1')));
  await expect(applyPlan(database.url, plan)).rejects.toThrow('division by zero');
  expect((await readFrozenPlan(client))?.hash).toBe(plan.hash);
  await rollbackPlan(database.url, plan, { to: null });
  expect(await readFrozenPlan(client)).toBeNull();
});

test('what the way back would lose is refused unless it is accepted, and then set aside', async () => {
  await makeItems(10);
  const collisions = step('contract/collisions', 'contract', null, {
    kind: 'check',
    query: "select 'two users have ' || i.id as fault from public.items i where i.id > 8",
    remedy: 'Say --accept-data-loss.',
    orElse: [
      `with gone as (delete from public.items i where i.id > 8 returning to_jsonb(i) as document)
      insert into ringfence_rollout.displaced_rows (table_name, document) select 'public.items', document from gone`,
    ],
  });
  const plan = planOf(collisions);
  await applyPlan(database.url, plan, { until: 'contract' });
  await expect(rollbackPlan(database.url, plan, { to: null })).rejects.toMatchObject({
    code: 'rollout_refused',
    message: expect.stringContaining('2 faults:\n  two users have 9'),
  });
  expect(await states(plan)).toEqual({ [collisions.id]: 'done' });
  const summary = await rollbackPlan(database.url, plan, { to: null, acceptDataLoss: true });
  expect(summary).toMatchObject({ steps: 1, displaced: 2 });
  expect(await one('select count(*)::int as value from ringfence_rollout.displaced_rows')).toBe(2);
});

test('what is not brought back because its phase goes as well is made anew by an apply in between', async () => {
  await makeItems(100);
  const consume = step('contract/consume', 'contract', sql([], 'drop index public.ringfence_items_key'));
  const restore: Step = { ...step('contract/restore', 'contract', null, index.up), restores: 'keys' };
  const refuse = step('shadow/refuse', 'shadow', null, { kind: 'check', query: "select 'no' as fault", remedy: 'No.' });
  const plan = planOf(addColumn, index, refuse, consume, restore);
  const there = () => one("select to_regclass('public.ringfence_items_key') is not null as value");
  await applyPlan(database.url, plan, { until: 'contract' });
  expect(await there()).toBe(false);
  // Back to where the index is needed it comes back.
  await rollbackPlan(database.url, plan, { to: 'cutover' });
  expect(await there()).toBe(true);
  await applyPlan(database.url, plan, { until: 'contract' });
  // On the way to the very beginning it does not; the way ends here at a check, and somebody goes forwards again.
  await expect(rollbackPlan(database.url, plan, { to: null })).rejects.toMatchObject({ code: 'rollout_refused' });
  expect(await there()).toBe(false);
  await applyPlan(database.url, plan);
  expect(await there()).toBe(true);
});

test('who was killed a moment ago is waited for', async () => {
  await makeItems(10);
  let release = () => {};
  const holding = withRolloutLock(database.url, 'apply', () => new Promise<void>((resolve) => (release = resolve)));
  await until(async () => (await one("select count(*)::int as value from pg_locks where locktype = 'advisory'")) === 1);
  const applying = applyPlan(database.url, planOf(addColumn));
  await until(
    async () =>
      (await one(
        "select count(*)::int as value from pg_stat_activity where application_name = 'ringfence apply' and datname = current_database()",
      )) === 2,
  );
  release();
  await holding;
  expect(await applying).toMatchObject({ steps: 1 });
});

test('an owner who is no superuser gets there too', async () => {
  const role = `owner_${database.name}`;
  await client.query(`create role ${role} login password 'only-for-this-test'`);
  try {
    await client.query(
      `grant create on database ${database.name} to ${role}; create schema owned authorization ${role}`,
    );
    const url = new URL(database.url);
    url.username = role;
    url.password = 'only-for-this-test';
    await withConnection(url.href, 'test', (owner) =>
      owner.query(
        "create table owned.items as select i as id, repeat('x', 100) as note from generate_series(1, 5000) i",
      ),
    );
    const own = (action: Action | null) =>
      JSON.parse(JSON.stringify(action).replaceAll('public.', 'owned.').replaceAll('"public"', '"owned"'));
    const plan = planOf(...[addColumn, fill, index].map((one) => ({ ...one, up: own(one.up), down: own(one.down) })));
    expect(await applyPlan(url.href, plan)).toMatchObject({ steps: 3, rows: 5_000, left: 0 });
    expect(await rollbackPlan(url.href, plan, { to: null })).toMatchObject({ steps: 3 });
  } finally {
    await client.query(`drop owned by ${role} cascade; drop role ${role}`);
  }
});
