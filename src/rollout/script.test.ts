import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../test/support/postgres.ts';
import { type Connection, connect } from './connection.ts';
import { makePlan } from './make-plan.ts';
import { type Plan, phases } from './plan.ts';
import type { RolloutConfig } from './rollout-config.ts';
import { applyPlan, rollbackPlan } from './run/runner.ts';
import { renderScript } from './script.ts';
import { readLedger } from './state.ts';

/** Names that need quotes, a key of text, a self reference, an owner by e-mail. */
const schema = `
  create table public.users (id int generated always as identity primary key, email text not null unique);
  create schema "My App";
  create table "My App"."Order" (
    "Id" text primary key, owner_email text not null, parent text references "My App"."Order" on delete cascade
  );
  create table public.lines (
    id bigint primary key, "order" text not null references "My App"."Order" on delete cascade, place int,
    unique ("order", place)
  );
  insert into public.users (email) select 'user' || n || '@example.test' from generate_series(1, 20) n;
  insert into "My App"."Order" select 'o' || n, 'user' || 1 + n % 20 || '@example.test', null from generate_series(1, 400) n;
  insert into "My App"."Order" select 'child of o' || n, 'user' || 1 + n % 20 || '@example.test', 'o' || n
    from generate_series(1, 400) n;
  insert into public.lines select n, 'o' || 1 + n % 400, n from generate_series(1, 3000) n;
  analyze;
`;
const config: RolloutConfig = { tables: {}, shared: [], ignored: [], csv: {} };

let database: TestDatabase;
let client: Connection;
let directory: string;

beforeEach(async () => {
  database = await createDatabase();
  client = await connect(database.url, 'test');
  await client.query(schema);
  directory = mkdtempSync(join(tmpdir(), 'ringfence-script-'));
});
afterEach(async () => {
  await client.end();
  await database.drop();
  rmSync(directory, { recursive: true, force: true });
});

function psql(script: string): string {
  const file = join(directory, 'script.sql');
  writeFileSync(file, script);
  return execFileSync('psql', ['-qXAt', '-d', database.url, '-f', file], { stdio: 'pipe', encoding: 'utf8' });
}

/** Keys, references, indexes, policies and defaults, and whose the rows are. */
async function state(): Promise<unknown> {
  const { rows } = await client.query(`
    select 'constraint' as what, conrelid::regclass::text as "on", conname || ' ' || pg_get_constraintdef(oid) || ' ' || convalidated as is
    from pg_constraint where conrelid::regclass::text ~ 'users|Order|lines'
    union all select 'index', indrelid::regclass::text, pg_get_indexdef(indexrelid) || indisvalid from pg_index
      where indrelid::regclass::text ~ 'users|Order|lines' and indrelid::regclass::text !~ 'pg_'
    union all select 'policy', tablename, concat_ws(' ', policyname, roles, cmd, qual, with_check) from pg_policies
    union all select 'table', oid::regclass::text, concat_ws(' ', relrowsecurity, relforcerowsecurity,
        (select string_agg(a::text, ' ' order by a::text) from aclexplode(coalesce(relacl, acldefault('r', relowner))) a))
      from pg_class where oid in ('public.users'::regclass, '"My App"."Order"'::regclass, 'public.lines'::regclass)
    union all select 'default', adrelid::regclass::text, pg_get_expr(adbin, adrelid) from pg_attrdef
      where adrelid::regclass::text ~ 'users|Order|lines'
    union all select 'trigger', tgrelid::regclass::text, tgname from pg_trigger where not tgisinternal
    order by 1, 2, 3`);
  return rows;
}

async function owners(): Promise<unknown> {
  const { rows } = await client.query(`
    select 'order' as of, "Id" as id, user_id from "My App"."Order" union all
    select 'line', id::text, user_id from public.lines order by 1, 2`);
  return rows;
}

const plan = async (oneTransaction = false): Promise<Plan> => (await makePlan(client, config, { oneTransaction })).plan;

describe('online, through psql', () => {
  beforeEach((context) => {
    if (existsSync('/usr/bin/psql')) return;
    console.warn('skipped: psql is not on this machine');
    context.skip();
  });

  test('it comes to where apply comes to, and back', async () => {
    const frozen = await plan();
    const before = await state();
    await applyPlan(database.url, frozen, { until: 'contract' });
    const [applied, owned] = [await state(), await owners()];
    await rollbackPlan(database.url, frozen, { to: null });
    expect(await state()).toEqual(before);
    await client.query('drop schema ringfence_rollout cascade');

    psql(renderScript(frozen, { until: 'contract' }));
    expect(await owners()).toEqual(owned);
    expect(await state()).toEqual(applied);
    psql(renderScript(frozen, { direction: 'down' }));
    expect(await state()).toEqual(before);
  });

  test('it stops before the seal, can be run again, and apply goes on from there', async () => {
    const frozen = await plan();
    const script = renderScript(frozen);
    expect(script).not.toContain('-- seal ---');
    psql(script);
    const once = await state();
    psql(script);
    expect(await state()).toEqual(once);
    expect(script).toContain('The old application goes on meanwhile.');
    expect(renderScript(frozen, { until: 'seal' })).toContain('The old application must be off');
    const done = [...(await readLedger(client, frozen.hash)).values()].filter((entry) => entry.state === 'done');
    const upToCutover = frozen.steps.filter((step) => phases.indexOf(step.phase) <= phases.indexOf('cutover'));
    expect(done).toHaveLength(upToCutover.length);
    expect((await applyPlan(database.url, frozen, { until: 'contract' })).left).toBe(0);
  });

  test('what failed half way is done by the next run; an index that was broken off is built again', async () => {
    const frozen = await plan();
    const script = renderScript(frozen, { until: 'keys' });
    // Two rows with one key: the unique index cannot be built, and Postgres leaves an invalid one.
    const index = frozen.steps.find((step) => step.up?.kind === 'index' && step.table === 'public.lines');
    if (index?.up?.kind !== 'index') throw new Error('the plan builds no index on public.lines');
    await client.query('create table public.broken (id int); insert into public.broken values (1), (1)');
    const { name } = index.up;
    await expect(client.query(`create unique index concurrently ${name} on public.broken (id)`)).rejects.toThrow();
    psql(script);
    const { rows } = await client.query(
      `select indrelid::regclass::text as "on", indisvalid from pg_index where indexrelid = to_regclass($1)`,
      [`public.${name}`],
    );
    expect(rows).toEqual([{ on: 'public.lines', indisvalid: true }]);
  });

  test('rows that refer across users are named, and nothing behind the check is done', async () => {
    await client.query(`alter table public.lines add column owner text;
      update public.lines set owner = 'user1@example.test' where id = 7`);
    const owner = [{ column: 'owner', matches: 'email', ignoreCase: false }, { reference: 'order' }];
    const crossing: RolloutConfig = { ...config, tables: { 'public.lines': { owner } } };
    const { plan: frozen } = await makePlan(client, crossing);
    expect(() => psql(renderScript(frozen))).toThrow(/row 7 of public\.lines belongs to .* refers by order/);
    const { rows } = await client.query(`select count(*)::int as n from pg_policies`);
    expect(rows).toEqual([{ n: 0 }]);
  });
});

test('a list that owners are looked up in has to be there', async () => {
  const listed: RolloutConfig = {
    ...config,
    tables: { '"My App"."Order"': { owner: { column: 'owner_email', csv: 'people' } } },
    csv: { people: 'people.csv' },
  };
  const { plan: once } = await makePlan(client, listed, { oneTransaction: true });
  const script = renderScript(once, { oneTransaction: true });
  await expect(client.query(script)).rejects.toMatchObject({
    code: 'RF013',
    message: expect.stringContaining('people'),
  });
  await client.query('rollback');
});

describe('one transaction', () => {
  test('it comes to where apply comes to, a second run changes nothing, and it goes back', async () => {
    const before = await state();
    const frozen = await plan();
    await applyPlan(database.url, frozen, { until: 'contract' });
    const [applied, owned] = [await state(), await owners()];
    await rollbackPlan(database.url, frozen, { to: null });
    await client.query('drop schema ringfence_rollout cascade');

    const once = await plan(true);
    const [up, down] = [
      renderScript(once, { oneTransaction: true }),
      renderScript(once, { oneTransaction: true, direction: 'down' }),
    ];
    expect(renderScript(once, { oneTransaction: true, leavesPlan: false })).not.toMatch(
      /^\\|concurrently|ringfence_shadow|legacy_application|into ringfence_rollout\.plans/m,
    );
    await client.query(up);
    expect(await owners()).toEqual(owned);
    expect(await state()).toEqual(applied);
    await client.query(up);
    expect(await state()).toEqual(applied);
    await client.query(down);
    expect(await state()).toEqual(before);
    await client.query(down);
    expect(await state()).toEqual(before);
  });

  test('what an operator gave away comes back after a way down and up', async () => {
    const once = await plan(true);
    const up = renderScript(once, { oneTransaction: true });
    await client.query(up);
    const other = '01900000-0000-7000-8000-00000000000a';
    await client.query(`update "My App"."Order" set user_id = '${other}', parent = null where "Id" = 'child of o7'`);
    await client.query(renderScript(once, { oneTransaction: true, direction: 'down' }));
    await client.query(up);
    const { rows } = await client.query(`select user_id from "My App"."Order" where "Id" = 'child of o7'`);
    expect(rows).toEqual([{ user_id: other }]);
  });

  test('a rollout that is under way is not run over', async () => {
    const once = await plan(true);
    await applyPlan(database.url, await plan(), { until: 'keys' });
    await expect(client.query(renderScript(once, { oneTransaction: true }))).rejects.toMatchObject({ code: 'RF014' });
    await client.query('rollback');
  });

  test('a plan is of one kind', async () => {
    const [online, once] = [await plan(), await plan(true)];
    expect(() => renderScript(online, { oneTransaction: true })).toThrow('other kind');
    expect(() => renderScript(once)).toThrow('other kind');
  });
});
