/** SIGKILL in the middle of work: the process is gone at once, its backends notice a moment later. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../../test/support/postgres.ts';
import { type Connection, connect } from '../connection.ts';
import { freezePlan, type Step } from '../plan.ts';
import { applyPlan } from './runner.ts';

const rows = 150_000;
let database: TestDatabase;
let client: Connection;

beforeEach(async () => {
  database = await createDatabase();
  client = await connect(database.url, 'test');
  await client.query(`create table public.items as select i as id, 0 as owner, repeat('x', 100) as note
    from generate_series(1, ${rows}) i`);
});

afterEach(async () => {
  await client.end();
  await database.drop();
});

const step = (id: string, phase: Step['phase'], up: Step['up']): Step => ({
  id,
  phase,
  table: null,
  title: id,
  lock: 'none',
  rewrites: false,
  restores: null,
  onlineOnly: false,
  down: null,
  up,
});
const update = 'update %TABLE% t set owner = t.owner + 1 where %RANGE%';
const plan = freezePlan(
  'test',
  { users: null, owned: [], unowned: [], legacyRoles: [], quarantineOwner: '', appRole: 'app' },
  [
    step('owners/items', 'owners', {
      kind: 'backfill',
      sweep: {
        table: 'public.items',
        leaves: ['public.items'],
        update: `${update} and t.owner = 0`,
        search: 'select t.ctid from %TABLE% t where %RANGE% and t.owner = 0',
        unclaimed: 't.owner = 0',
        recursive: false,
      },
    }),
    step('keys/items', 'keys', {
      kind: 'index',
      schema: 'public',
      name: 'items_by_note',
      statement: 'create index concurrently items_by_note on public.items (note, owner, md5(note || id))',
    }),
  ],
);

const program = `
  const { applyPlan } = await import(${JSON.stringify(new URL('./runner.ts', import.meta.url).href)});
  const { url, plan } = JSON.parse(process.argv[1]);
  await applyPlan(url, plan);`;

/** Starts an apply as a process of its own and kills it as soon as the condition holds. */
async function killWhen(condition: () => Promise<boolean>): Promise<void> {
  const child = spawn(
    process.execPath,
    ['--input-type=module', '-e', program, JSON.stringify({ url: database.url, plan })],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const ended = once(child, 'exit');
  await expect.poll(condition, { interval: 5 }).toBe(true);
  child.kill('SIGKILL');
  expect(await ended).toEqual([null, 'SIGKILL']);
}

async function one<T>(query: string): Promise<T | undefined> {
  const found = await client.query<{ value: T }>(query);
  return found.rows[0]?.value;
}

const doneBlocks = async () =>
  (await one<boolean>("select to_regclass('ringfence_rollout.ranges') is not null as value"))
    ? ((await one<number>('select sum(next_block - first_block)::int as value from ringfence_rollout.ranges')) ?? 0)
    : 0;

test('a killed apply is gone on with, range by range, and its half-built index is built anew', async () => {
  for (let kills = 0; kills < 3; kills++) {
    const before = await doneBlocks();
    await killWhen(async () => (await doneBlocks()) > before + 100);
  }
  expect(await one('select bool_or(next_block < end_block) as value from ringfence_rollout.ranges')).toBe(true);
  const building = "select count(*)::int as value from pg_index where indexrelid = to_regclass('public.items_by_note')";
  await killWhen(async () => (await one(building)) === 1);

  expect(await applyPlan(database.url, plan)).toMatchObject({ left: 0 });
  // Every row once: what was committed is in the ledger, and what is in the ledger was committed.
  expect(await one('select min(owner) = 1 and max(owner) = 1 as value from public.items')).toBe(true);
  expect(await one('select sum(rows)::int as value from ringfence_rollout.ranges')).toBe(rows);
  expect(
    await one("select indisvalid as value from pg_index where indexrelid = 'public.items_by_note'::regclass"),
  ).toBe(true);
}, 90_000);
