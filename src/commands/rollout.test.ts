import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { createDatabase, type TestDatabase } from '../../test/support/postgres.ts';
import { type Config, loadConfig } from '../config.ts';
import { type Connection, connect } from '../rollout/connection.ts';
import { loadRolloutConfig } from '../rollout/rollout-config.ts';
import { withRolloutLock } from '../rollout/run/lock.ts';
import { type ApplyFlags, runApply, throttleLimits } from './apply.ts';
import { type RollbackFlags, runRollback } from './rollback.ts';
import { runStatus } from './status.ts';

let database: TestDatabase;
let client: Connection;
let config: Config;
let directory: string;
let settings: string;

beforeAll(async () => {
  database = await createDatabase();
  client = await connect(database.url, 'test');
  await client.query(`
    create table public.users (id uuid primary key, email text);
    create table public.projects (id int primary key, owner_id uuid references public.users, name text unique);
    create table public.tasks (id int primary key, project_id int references public.projects, title text);
    insert into public.users
      select ('00000000-0000-4000-8000-00000000000' || i)::uuid, 'u' || i from generate_series(1, 3) i;
    insert into public.projects
      select i, ('00000000-0000-4000-8000-00000000000' || 1 + i % 3)::uuid, 'p' || i from generate_series(1, 30) i;
    insert into public.tasks select i, 1 + i % 30, 't' || i from generate_series(1, 3000) i;
    analyze`);
  directory = mkdtempSync(join(tmpdir(), 'ringfence-rollout-'));
  settings = join(directory, 'ringfence.config.json');
  writeFileSync(settings, '{}');
  config = loadConfig({
    DATABASE_URL: database.url,
    JWT_SECRET_KEY: 'c2VjcmV0IG9mIHRoZSB0ZXN0cyBhbG9uZSwgbm90IGZvciB1c2U',
  });
});

afterEach(() => vi.restoreAllMocks());

afterAll(async () => {
  rmSync(directory, { recursive: true, force: true });
  await client.end();
  await database.drop();
});

async function printed(work: () => Promise<unknown>): Promise<string> {
  const lines: string[] = [];
  vi.spyOn(console, 'log').mockImplementation((line: string) => void lines.push(line));
  vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  try {
    await work();
  } finally {
    vi.restoreAllMocks();
  }
  return lines.join('\n');
}

const apply = (flags: ApplyFlags = {}) => printed(() => runApply(config, { config: settings, ...flags }));
const status = () => printed(() => runStatus(config, {}));
const back = (flags: Partial<RollbackFlags> = {}) =>
  printed(() => runRollback(config, { level: 'database', yes: true, ...flags }));

test('before anything there is no plan, and a dry run makes none', async () => {
  expect(await status()).toMatch(/^Plan {5}none is in force/);
  expect(await apply({ dryRun: true })).toMatch(/cutover\/policies/);
  expect(await status()).toMatch(/none is in force/);
  await expect(back()).rejects.toMatchObject({ code: 'rollout_refused' });
  expect(await back({ level: 'app' })).toContain('USER_ISOLATION_ENABLED=false');
});

test('a plan that is another one is refused, and a file that is none', async () => {
  const file = join(directory, 'plan.json');
  writeFileSync(file, JSON.stringify({ hash: 'f'.repeat(64) }));
  await expect(apply({ plan: file })).rejects.toMatchObject({ code: 'rollout_refused' });
  writeFileSync(file, '{}');
  await expect(apply({ plan: file })).rejects.toMatchObject({
    code: 'usage_error',
    message: expect.stringMatching(/no hash/),
  });
});

test('the whole way there and back, with what each says', async () => {
  expect(await apply()).toMatch(
    /steps done in .*\n {2}Rows changed {4}[\d ]+\n[\s\S]*apply --until contract --yes`\.$/,
  );
  expect(await status()).toMatch(/^Plan {5}[0-9a-f]{12}, frozen .*\nReached {2}cutover\n[\s\S]*nobody is at work/);
  expect(await apply()).toMatch(/^Nothing was left to do/);
  await expect(apply({ until: 'contract' })).rejects.toMatchObject({ code: 'usage_error' });
  expect(await apply({ until: 'contract', yes: true, force: true })).toContain('The rollout is complete');
  expect(await status()).toContain('Reached  contract');

  expect(await back({ level: 'app' })).toMatch(/steps taken back in [\s\S]*3 of 3 tables hold in every column/);
  expect(await status()).toContain('Reached  cutover');

  await expect(printed(() => runRollback(config, { level: 'database' }))).rejects.toMatchObject({
    code: 'usage_error',
  });
  expect(await back({ dryRun: true })).toMatch(/cutover\/policies[\s\S]*prepare\/roles/);
  expect(await back()).toMatch(/3 of 3 tables hold in every column what they held\.$/);
  expect(await status()).toMatch(/none is in force/);
  const { rows } = await client.query(
    "select attname from pg_attribute where attrelid = 'public.tasks'::regclass and attnum > 0 and not attisdropped",
  );
  expect(rows.map((row) => row.attname)).toEqual(['id', 'project_id', 'title']);
});

test('who holds the lock is told from another terminal', async () => {
  await withRolloutLock(database.url, 'apply', async () => {
    expect(await status()).toMatch(/At work {2}ringfence apply, pid \d+/);
  });
});

test('the commands print nothing but their document with --json', async () => {
  const document = JSON.parse(await printed(() => runStatus(config, { json: true })));
  expect(document).toMatchObject({ plan: null, holder: null, steps: 0 });
  expect(JSON.parse(await apply({ json: true, until: 'prepare' }))).toMatchObject({ direction: 'up', displaced: 0 });
  expect(JSON.parse(await back({ json: true }))).toMatchObject({ summary: { direction: 'down' }, health: null });
});

test('a limit of the command line outweighs the one in the file, and that the usual one', async () => {
  writeFileSync(settings, '{ "throttle": { "maxLagSeconds": 3, "maxProbeMs": null } }');
  const said = await loadRolloutConfig(settings, directory);
  writeFileSync(settings, '{}');
  const usual = { maxLagSeconds: 10, maxWalMBPerSecond: null, maxProbeMs: 250, maxDeadRatio: 3 };
  expect(throttleLimits({}, await loadRolloutConfig(settings, directory))).toEqual(usual);
  expect(throttleLimits({}, said)).toEqual({ ...usual, maxLagSeconds: 3, maxProbeMs: null });
  expect(throttleLimits({ maxLag: 1, maxProbeMs: 20, maxWalRate: 8, maxDeadRatio: 2 }, said)).toEqual({
    maxLagSeconds: 1,
    maxWalMBPerSecond: 8,
    maxProbeMs: 20,
    maxDeadRatio: 2,
  });
});
