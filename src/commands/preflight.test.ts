import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { createDatabase, statement, type TestDatabase } from '../../test/support/postgres.ts';
import { type Config, loadConfig } from '../config.ts';
import type { Finding } from '../rollout/finding.ts';
import { jwtFinding, logFinding, runPreflight } from './preflight.ts';

const secret = 'Zm9yIHRlc3RzIG9ubHksIG5vdCBhIHJlYWwgb25l4pyT';

let database: TestDatabase;
let directory: string;
let health: Server;
let url: string;
let status = 200;
let printed: string;

beforeAll(async () => {
  database = await createDatabase();
  directory = mkdtempSync(join(tmpdir(), 'ringfence-preflight-command-'));
  await statement(
    database.url,
    `create table users (id uuid primary key, email text unique);
     create table tasks (id uuid primary key, user_id uuid not null references users);
     create table settings (key text primary key);
     create schema other; create table other.legacy (x int); create table other.child () inherits (other.legacy)`,
  );
  health = createServer((request, reply) => {
    reply.writeHead(request.url === '/app/health' ? status : 404).end();
  });
  url = await listening(health);
});

afterAll(async () => {
  health?.close();
  rmSync(directory, { recursive: true, force: true });
  await database?.drop();
});

beforeEach(() => {
  printed = '';
  vi.spyOn(console, 'log').mockImplementation((text: string) => {
    printed += `${text}\n`;
  });
});
afterEach(() => vi.restoreAllMocks());

async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
}

const config = (env: Record<string, string> = {}): Config =>
  loadConfig({ DATABASE_URL: database.url, JWT_SECRET_KEY: secret, ...env });

function configured(document: unknown): string {
  const file = join(directory, 'ringfence.config.json');
  writeFileSync(file, JSON.stringify(document));
  return file;
}

async function json(flags: Parameters<typeof runPreflight>[1] = {}) {
  const code = await runPreflight(config(), { ...flags, json: true });
  const document: { findings: Finding[]; tables: { table: string }[]; summary: { fail: number } } = JSON.parse(printed);
  return { code, ...document };
}

test('a failure is exit code 1, and tables that the configuration leaves out are not looked at', async () => {
  const all = await json({ config: configured({}) });
  expect(all.code).toBe(1);
  expect(all.findings.filter(({ severity }) => severity === 'fail').map(({ object }) => object)).toEqual([
    'other.child',
    'other.legacy',
  ]);
  for (const rest of [{ schemas: ['public'] }, { ignored: ['other.legacy'], shared: ['other.child'] }]) {
    printed = '';
    const some = await json({ config: configured({ ...rest, tables: { 'public.settings': { class: 'shared' } } }) });
    expect(some.code).toBe(0);
    expect(some.summary.fail).toBe(0);
    expect(some.tables.map((row) => row.table).toSorted()).toEqual(['public.tasks', 'public.users']);
  }
});

test('the configured table of users is taken', async () => {
  const { findings } = await json({ config: configured({ schemas: ['public'], users: null }) });
  expect(findings.find(({ check }) => check === 'users-table')?.severity).toBe('warn');
});

test('JSON has the findings, the tables with their cost, and the counts', async () => {
  const { tables, findings } = await json({ config: configured({ schemas: ['public'] }) });
  expect(tables[0]).toEqual({
    table: expect.any(String),
    rows: expect.any(Number),
    bytes: expect.any(Number),
    backfillMs: expect.any(Number),
    indexMs: expect.any(Number),
    walBytes: expect.any(Number),
    longestLockMs: 37,
  });
  expect(findings.map(({ check }) => check)).toEqual(expect.arrayContaining(['version', 'jwt', 'logs', 'backup']));
});

test('people get the failures first, then what to know of, then the tables', async () => {
  expect(await runPreflight(config(), { config: configured({}) })).toBe(1);
  const order = ['FAIL  inheritance', 'WARN  backup', ' to put right, ', '\ntable  ', 'no\nmaintenance window'];
  const places = order.map((text) => printed.indexOf(text));
  expect(places).toEqual(places.toSorted((a, b) => a - b));
  expect(places[0]).toBe(0);
  expect(printed).not.toContain('pass  ');
  expect(Math.max(...printed.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
});

test('the health address is asked as a load balancer asks', async () => {
  const file = configured({ schemas: ['public'] });
  const well = await json({ config: file, url: `${url}/app` });
  expect(well.findings.filter(({ check }) => check === 'health')).toMatchObject([
    { severity: 'pass', object: `${url}/app/health` },
  ]);
  status = 302;
  printed = '';
  const redirected = await json({ config: file, url: `${url}/app/` });
  expect(redirected.code).toBe(1);
  expect(redirected.findings.find(({ check }) => check === 'health')?.message).toContain('answers 302');
  printed = '';
  const gone = createServer();
  const nobody = await listening(gone);
  gone.close();
  await once(gone, 'close');
  const silent = await json({ config: file, url: nobody });
  expect(silent.findings.find(({ check }) => check === 'health')?.message).toContain('ECONNREFUSED');
  await expect(runPreflight(config(), { url: 'app.example.com' })).rejects.toMatchObject({ code: 'usage_error' });
});

test('a signing secret that is weak for its algorithm is a failure', () => {
  const made = config();
  expect(jwtFinding(made).severity).toBe('pass');
  expect(jwtFinding({ ...made, jwt: { ...made.jwt, secretKey: 'your-production-jwt-secret' } }).severity).toBe('fail');
  expect(jwtFinding({ ...made, jwt: { ...made.jwt, algorithm: 'HS512' } }).severity).toBe('fail');
  expect(jwtFinding({ ...made, jwt: { ...made.jwt, secretKey: undefined } }).severity).toBe('warn');
  expect(jwtFinding(loadConfig({})).severity).toBe('pass');
  expect(JSON.stringify(jwtFinding({ ...made, jwt: { ...made.jwt, algorithm: 'HS512' } }))).not.toContain(secret);
});

test('logs must have a place', async () => {
  expect((await logFinding({ logDir: undefined })).severity).toBe('warn');
  expect((await logFinding({ logDir: directory })).severity).toBe('pass');
  expect((await logFinding({ logDir: join(directory, 'later') })).severity).toBe('pass');
  expect((await logFinding({ logDir: join(configured({}), 'below-a-file') })).severity).toBe('fail');
});
