import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../test/support/postgres.ts';
import { ownedTables } from '../isolation/owned-tables.ts';
import { withConnection } from '../rollout/connection.ts';
import { makePlan } from '../rollout/make-plan.ts';
import type { Plan } from '../rollout/plan.ts';
import { applyPlan, rollbackPlan } from '../rollout/run/runner.ts';
import { renderScript } from '../rollout/script.ts';
import { isolationMigration } from './isolation-migration.ts';
import { migrateDown, migrateUp, migrationStatus } from './migrations.ts';
import { configFor } from './own-rollout.ts';
import { withOwner } from './owner.ts';
import { dumpSchema } from './schema-dump.ts';

const file = (name: string) =>
  readFileSync(new URL(`../../database/migrations/003_add_user_isolation${name}.sql`, import.meta.url), 'utf8');

let database: TestDatabase;

beforeEach(async () => {
  database = await createDatabase('before_isolation');
});
afterEach(() => database.drop());

const schema = () => withOwner(database.url, dumpSchema);

/** As the commands make it. */
const ownPlan = (): Promise<Plan> =>
  withConnection(database.url, 'test', async (client) => {
    const config = await configFor(client, { tables: {}, shared: [], ignored: [], csv: {} });
    return (await makePlan(client, config)).plan;
  });

test('003 is what the plan of the schema before it says', async () => {
  const { up, down } = await withOwner(database.url, isolationMigration);
  expect(up).toBe(file(''));
  expect(down).toBe(file('.down'));
});

test('it adds the owner to every table as the guide writes it (G14, G15)', () => {
  for (const { table } of ownedTables) {
    expect(file('').toLowerCase()).toContain(
      `alter table public.${table} add column if not exists user_id uuid not null`,
    );
  }
});

test('applied online it comes to what 003 comes to, and back to what was', async () => {
  const before = await schema();
  await migrateUp(database.url);
  const migrated = await schema();
  await migrateDown(database.url, 2);
  const plan = await ownPlan();
  await applyPlan(database.url, plan, { until: 'contract' });
  expect(await schema()).toBe(migrated);
  expect((await migrationStatus(database.url)).at(-1)).toMatchObject({ version: 3, applied: true });
  expect(await migrateUp(database.url)).toEqual([]);
  await rollbackPlan(database.url, plan, { to: null });
  expect(await schema()).toBe(before);
}, 120_000);

test('applied online, it can be taken back by the migration; and the other way is refused half way', async () => {
  const before = await schema();
  const plan = await ownPlan();
  await applyPlan(database.url, plan);
  await expect(migrateUp(database.url)).rejects.toThrow('a rollout of this database is under way');
  await applyPlan(database.url, plan, { until: 'contract' });
  await migrateDown(database.url, 2);
  expect(await schema()).toBe(before);
  expect(await migrateUp(database.url)).toEqual(['003_add_user_isolation']);
}, 120_000);

test('the operator may know whose rows are, and may have tables of his own beside ours', async () => {
  const { ownership } = await withConnection(database.url, 'test', async (client) => {
    await client.query('create table public.notes (id int primary key, user_id uuid not null)');
    const tables = { 'public.global_contexts': { class: 'ignored', owner: { column: 'id', as: 'uuid' } } } as const;
    const config = await configFor(client, { tables, shared: [], ignored: [], csv: {} });
    return (await makePlan(client, config)).plan;
  });
  const found = (table: string) => ownership.owned.find((owned) => owned.table === table);
  expect(found('public.global_contexts')?.sources).toEqual([{ kind: 'uuid', column: 'id', isText: false }]);
  expect(found('public.projects')?.sources).toEqual([]);
  expect(found('public.notes')).toMatchObject({ ownerColumn: 'user_id', adopted: true });
});

test('so does the script for psql', async (context) => {
  if (!existsSync('/usr/bin/psql')) {
    console.warn('skipped: psql is not on this machine');
    return context.skip();
  }
  const before = await schema();
  const plan = await ownPlan();
  const psql = (input: string) => execFileSync('psql', ['-qXAt', '-d', database.url], { input, stdio: 'pipe' });
  psql(renderScript(plan, { until: 'contract' }));
  const scripted = await schema();
  await migrateDown(database.url, 2);
  await migrateUp(database.url);
  expect(scripted).toBe(await schema());
  await migrateDown(database.url, 2);
  expect(await schema()).toBe(before);
}, 120_000);
