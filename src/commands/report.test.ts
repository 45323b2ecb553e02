import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { command, startCommand } from '../../test/rollout/command.ts';
import { createDatabase, statement, type TestDatabase } from '../../test/support/postgres.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let database: TestDatabase;
let directory: string;
let env: Record<string, string>;
const attack = '<script>alert(1)</script> | `x`';

beforeAll(async () => {
  database = await createDatabase();
  await statement(
    database.url,
    `create table public.users (id int primary key, email text);
    create table public."${attack.replaceAll('"', '""')}" (id int primary key, user_id int references public.users);
    insert into public.users select n, 'u' || n from generate_series(1, 5) n;
    insert into public."${attack}" select n, case when n > 4 then 1 + n % 5 end from generate_series(1, 100) n;
    analyze`,
  );
  directory = mkdtempSync(join(tmpdir(), 'ringfence-report-'));
  env = { DATABASE_URL: database.url };
});

afterAll(async () => {
  rmSync(directory, { recursive: true, force: true });
  await database.drop();
});

const stateOf = (document: { criteria: { id: string; state: string }[] }) =>
  Object.fromEntries(document.criteria.map(({ id, state }) => [id, state]));

test('before a rollout nothing is called met that nobody measured', async () => {
  const { stdout } = await startCommand(['report', '--json'], env, directory).outcome;
  expect(stateOf(JSON.parse(stdout))).toMatchObject({
    G2: 'not measured',
    G3: 'not measured',
    G17: 'not measured',
    G84: 'not measured',
    G8: 'met',
  });
});

test('after it the page holds what was measured, with everything escaped', async () => {
  await command(0, ['apply'], env, directory);
  await command(0, ['verify'], env, directory);
  const [html, markdown] = [join(directory, 'r.html'), join(directory, 'r.md')];
  const { stdout } = await command(0, ['report', '--json', '--html', html, '--markdown', markdown], env, directory);
  const document = JSON.parse(stdout);
  expect(stateOf(document)).toMatchObject({
    G2: 'met',
    G7: 'met',
    G12: 'met',
    G17: 'met',
    G18: 'met',
    G90: 'met',
    G83: 'not measured',
  });
  expect(document.tables).toContainEqual(expect.objectContaining({ rows: 100, owners: 5, quarantined: 4 }));
  for (const { state, evidence } of document.criteria) if (state === 'met') expect(evidence).toMatch(/\d/);
  const page = readFileSync(html, 'utf8');
  expect(page).not.toMatch(/<script|src=|href=|url\(/i);
  expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt; | `x`');
  expect(page).toContain('<th scope="col">');
  expect(page).toContain('ringfence monitor --watch 10');
  const text = readFileSync(markdown, 'utf8');
  expect(text).not.toContain('<script>');
  expect(text).toContain('\\<script\\>alert(1)\\</script\\> \\| \\`x\\`');
  expect(text).toMatch(/- \[ \] G110 Database Administrator/);
  expect(text).toMatch(/\| verify \| 0 to put right/);
});

test('a fault found by the fresh verify is a criterion that is not met: exit code 1', async () => {
  await statement(database.url, 'alter table public.users no force row level security');
  const { code, stdout } = await startCommand(['report'], env, directory).outcome;
  expect(code).toBe(1);
  expect(stdout).toMatch(/\| G2 \| No access across users \| not met \|/);
  await statement(database.url, 'alter table public.users force row level security');
});

test('a server is timed, and its answers are looked at', async () => {
  const server = createServer((request, response) => {
    const allowed = request.url === '/health' || request.headers.authorization !== undefined;
    response.statusCode = allowed ? 200 : 401;
    response.end('{"items":[]}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const token = join(directory, 'token');
  writeFileSync(token, 'abc\n');
  const url = `http://127.0.0.1:${port}`;
  const flags = ['--url', url, '--baseline-url', url, '--token-a-file', token, '--requests', '20', '--no-verify'];
  const { stdout } = await startCommand(['report', '--json', ...flags], env, directory).outcome;
  server.close();
  const document = JSON.parse(stdout);
  expect(stateOf(document)).toMatchObject({ G9: 'met', G11: 'met', G86: 'met', G89: 'met', G2: 'not measured' });
  expect(document.served.latency).toMatchObject({ requests: 20, p50: expect.any(Number), p95: expect.any(Number) });
});
