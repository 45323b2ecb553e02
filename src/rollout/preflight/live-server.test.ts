/** What needs a server of its own: settings that the shared one has not, and roles that are no superusers. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../database/embedded.ts';
import { readCatalog, type Table } from '../catalog.ts';
import { freezePlan } from '../plan.ts';
import { freeze, installState, recordEvent } from '../state.ts';
import { standbyFinding, wraparoundFinding } from './activity.ts';
import { preflight } from './preflight.ts';
import { versionFinding } from './server.ts';
import type { PreflightOptions } from './subject.ts';

let dataDir: string;
let server: EmbeddedPostgres;
let owner: pg.Client;
const opened: pg.Client[] = [];

beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'ringfence-preflight-'));
  chmodSync(dataDir, 0o711);
  const settings = { max_prepared_transactions: '2', wal_level: 'logical' };
  server = await startEmbeddedPostgres({ dataDir, durable: false, settings });
  owner = await session(server.url);
  await owner.query(`
    create table users (id uuid primary key, email text unique);
    create table tasks (id uuid primary key, user_id uuid references users);
    create function touch() returns trigger language plpgsql as 'begin return new; end';
    create trigger touched before update on tasks for each row execute function touch();
    create role lesser login password 'lesser';
  `);
}, 60_000);

afterEach(async () => {
  for (const client of opened.splice(0)) await client.end();
});

afterAll(async () => {
  await owner?.end();
  await server?.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

async function session(url: string, options: pg.ClientConfig = {}): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: 'old application', ...options });
  await client.connect();
  return client;
}

async function another(url = server.url): Promise<pg.Client> {
  const client = await session(url);
  opened.push(client);
  return client;
}

function lesserUrl(): string {
  const url = new URL(server.url);
  url.username = 'lesser';
  url.password = 'lesser';
  return url.href;
}

async function run(options: PreflightOptions = {}, client = owner, change: (table: Table) => Table = (table) => table) {
  const catalog = await readCatalog(client);
  const tables = new Map([...catalog.tables].map(([label, table]) => [label, change(table)]));
  return preflight(client, { ...catalog, tables }, options);
}

async function checked(check: string, ...more: Parameters<typeof run>) {
  const findings = await run(...more);
  return findings.filter((finding) => finding.check === check);
}

test('a long transaction is named by pid, age and state, never by its query', async () => {
  const busy = await another();
  await busy.query('begin');
  const { rows } = await busy.query<{ pid: number }>("select pg_backend_pid() as pid, 'hush' as secret");
  const [finding, ...rest] = await checked('long-transactions', { longTransactionSeconds: 0 });
  expect(rest).toEqual([]);
  expect(finding).toMatchObject({ severity: 'warn', object: `pid ${rows[0]?.pid}` });
  expect(finding?.message).toMatch(
    /^A transaction of \S+ \(old application\) has been open for \d.*"idle in transaction"\.$/,
  );
  expect(JSON.stringify(finding)).not.toContain('hush');
});

test('a session that idles in a transaction is told of even when that is not long', async () => {
  const busy = await another();
  await busy.query('begin; select 1');
  expect(await checked('idle-in-transaction')).toMatchObject([{ severity: 'warn' }]);
  expect(await checked('long-transactions')).toEqual([]);
  await busy.query('rollback');
  expect(await checked('idle-in-transaction')).toEqual([]);
  expect(await checked('long-transactions')).toMatchObject([{ severity: 'pass' }]);
});

test('a prepared transaction is told of, until it is ended', async () => {
  await owner.query("begin; insert into users values (gen_random_uuid()); prepare transaction 'two phases'");
  expect(await checked('prepared-transactions')).toMatchObject([
    { severity: 'warn', object: 'prepared transaction two phases' },
  ]);
  await owner.query("rollback prepared 'two phases'");
  expect(await checked('prepared-transactions')).toMatchObject([{ severity: 'pass' }]);
});

test('a replication slot that nobody uses is told of', async () => {
  await owner.query("select pg_create_physical_replication_slot('abandoned', true)");
  expect(await checked('replication-slots')).toMatchObject([
    { severity: 'warn', object: 'replication slot abandoned', message: expect.stringContaining('of WAL') },
  ]);
  await owner.query("select pg_drop_replication_slot('abandoned')");
  expect(await checked('replication-slots')).toEqual([]);
});

test('tables that logical replication writes to', async () => {
  const url = new URL(server.url);
  url.pathname = '/subscriber';
  await owner.query('create database subscriber');
  await owner.query('create publication everything for table tasks');
  await owner.query("select pg_create_logical_replication_slot('feed', 'pgoutput')");
  const subscriber = await session(url.href);
  try {
    await subscriber.query('create table tasks (id uuid primary key, user_id uuid)');
    // The publisher is the same server, so the subscription may not make its slot itself.
    await subscriber.query(`
      create subscription feed connection '${server.url}' publication everything
      with (create_slot = false, slot_name = 'feed', copy_data = false, enabled = false)`);
    const findings = await checked('subscription', {}, subscriber);
    expect(findings).toMatchObject([{ severity: 'warn', message: expect.stringContaining('public.tasks') }]);
    await subscriber.query('alter subscription feed set (slot_name = none)');
    await subscriber.query('drop subscription feed');
    expect(await checked('subscription', {}, subscriber)).toEqual([]);
  } finally {
    await subscriber.end();
    await owner.query("select pg_drop_replication_slot('feed')");
    await owner.query('drop publication everything');
  }
});

test('a table that is locked does not keep the report waiting', async () => {
  const catalog = await readCatalog(owner);
  const busy = await another();
  await busy.query('begin; lock table tasks');
  const findings = await preflight(owner, catalog, { readSeconds: 1 });
  expect(findings.filter(({ check }) => check === 'owner-column')).toMatchObject([
    { severity: 'warn', object: 'public.tasks', message: 'Its owner columns could not be read within 1 s.' },
  ]);
});

test('a standby that has not said where it is', async () => {
  // The driver knows the parameter, its types do not.
  const options: pg.ClientConfig & { replication: string } = { replication: 'true', application_name: 'replica' };
  const standby = await session(server.url, options);
  const streaming = standby.query('start_replication physical 0/1000000').catch(() => {});
  try {
    await expect
      .poll(() => checked('standby-lag'))
      .toMatchObject([
        { severity: 'warn', object: 'standby replica', message: expect.stringContaining('cannot be told') },
      ]);
  } finally {
    await standby.end();
    await streaming;
  }
});

// A standby that falls behind and 180 million transactions cannot be planted in a test: the rows are given.
test('a standby that is behind, and a vacuum that does not give way', async () => {
  const gigabytes = 3 * 1024 ** 3;
  expect(standbyFinding({ name: 'b', state: 'streaming', bytes: gigabytes, seconds: 2 })).toMatchObject({
    severity: 'warn',
    message: 'It is 3.0 GB, 2 s behind; the rollout writes more.',
  });
  expect(standbyFinding({ name: 'b', state: 'streaming', bytes: 0, seconds: 61 }).severity).toBe('warn');
  expect(standbyFinding({ name: 'b', state: 'startup', bytes: null, seconds: null }).severity).toBe('warn');
  expect(standbyFinding({ name: 'b', state: 'streaming', bytes: 10, seconds: null }).severity).toBe('pass');
  expect(wraparoundFinding({ running: ['public.tasks'], age: 1, maxAge: 2e8 })).toMatchObject({
    severity: 'warn',
    message: expect.stringContaining('public.tasks'),
  });
  expect(wraparoundFinding({ running: [], age: 1.9e8, maxAge: 2e8 }).severity).toBe('warn');
  expect(await checked('wraparound')).toMatchObject([{ severity: 'pass' }]);
});

test('a role that is not the owner cannot roll out, and is told of everything that it lacks', async () => {
  await owner.query(`
    alter table tasks enable row level security, force row level security;
    create policy everything on tasks using (true)`);
  const findings = await run({}, await another(lesserUrl()));
  const missing = findings.filter(({ check, severity }) => check === 'rollout-role' && severity === 'fail');
  expect(missing.map(({ message }) => message)).toEqual([
    expect.stringContaining('may not create roles'),
    expect.stringContaining('may not create schemas'),
    expect.stringContaining('not the owner of public.tasks, public.users'),
    expect.stringContaining('would fire triggers: public.tasks touched'),
    expect.stringContaining('Policies filter what it sees of public.tasks'),
  ]);
  expect(findings.find(({ check }) => check === 'activity-visibility')?.severity).toBe('warn');
  expect(findings.find(({ check }) => check === 'disk')?.message).toContain('cannot be seen');
  expect(findings.find(({ check }) => check === 'owner-column')?.message).toContain('may not be read');
  await owner.query(
    'drop policy everything on tasks; alter table tasks disable row level security, no force row level security',
  );
});

test('a superuser lacks nothing', async () => {
  const findings = await checked('rollout-role');
  expect(new Set(findings.map(({ severity }) => severity))).toEqual(new Set(['pass']));
  expect(findings.map(({ message }) => message)).toContainEqual(expect.stringContaining('fires no trigger'));
});

test('privileges short of superuser are enough', async () => {
  await owner.query(`
    alter role lesser createrole bypassrls;
    grant create on database ${(await readCatalog(owner)).database} to lesser;
    grant set on parameter session_replication_role to lesser;
    create role keeper; grant keeper to lesser;
    alter table tasks owner to keeper; alter table users owner to keeper`);
  const findings = await checked('rollout-role', {}, await another(lesserUrl()));
  expect(new Set(findings.map(({ severity }) => severity))).toEqual(new Set(['pass']));
});

test('room for twice the largest table', async () => {
  expect(await checked('disk')).toMatchObject([{ severity: 'pass' }]);
  const huge = (table: Table) => ({ ...table, bytes: 2 ** 59 });
  expect(await checked('disk', {}, owner, huge)).toMatchObject([
    { severity: 'fail', message: expect.stringContaining('1024 PB (2 times the largest table)') },
  ]);
});

test('read-only by default is refused', async () => {
  expect(await checked('writable')).toMatchObject([{ severity: 'pass' }]);
  const reader = await another();
  await reader.query('set default_transaction_read_only = on');
  expect(await checked('writable', {}, reader)).toMatchObject([{ severity: 'fail' }]);
});

test('a backup must be there and be of today, and a plan must be frozen', async () => {
  expect(await checked('backup')).toMatchObject([{ severity: 'warn', message: expect.stringContaining('No backup') }]);
  expect(await checked('rollback-plan')).toMatchObject([{ severity: 'warn' }]);
  await installState(owner);
  expect(await checked('backup')).toMatchObject([{ severity: 'warn', message: expect.stringContaining('No backup') }]);
  await owner.query(
    "insert into ringfence_rollout.events (at, kind, detail) values (now() - interval '25 h', 'backup', '{}')",
  );
  expect(await checked('backup')).toMatchObject([{ severity: 'warn', message: 'The last backup is 1 d old (G3).' }]);
  await recordEvent(owner, 'backup');
  expect(await checked('backup')).toMatchObject([{ severity: 'pass' }]);
  const ownership = { users: null, owned: [], unowned: [], legacyRoles: [], quarantineOwner: '', appRole: '' };
  await freeze(owner, freezePlan('x', ownership, []));
  expect(await checked('rollback-plan')).toMatchObject([{ severity: 'pass' }]);
});

test('the version: too old, with a known hole, repaired, newer than we know', () => {
  expect(versionFinding(140_024).severity).toBe('fail');
  expect(versionFinding(150_018)).toMatchObject({ severity: 'warn', remedy: 'Update to 15.19 or newer.' });
  for (const [bad, good] of [
    [150_018, 150_019],
    [160_014, 160_015],
    [170_010, 170_011],
    [180_005, 180_006],
  ] as const) {
    expect(versionFinding(bad).severity).toBe('warn');
    expect(versionFinding(good).severity).toBe('pass');
  }
  expect(versionFinding(190_000).severity).toBe('pass');
});
