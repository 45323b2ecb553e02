import { appendFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { statement } from '../../test/support/postgres.ts';
import { temporaryDirectory } from '../../test/support/ringfence.ts';
import { startTestServer, type TestServer } from '../../test/support/server.ts';
import { testSecret } from '../../test/support/templates.ts';
import { runVerb, startVerb } from '../../test/support/verb-process.ts';

let server: TestServer;
let env: Record<string, string>;

beforeAll(async () => {
  server = await startTestServer();
  env = { DATABASE_URL: server.database.url, JWT_SECRET_KEY: testSecret };
});
afterAll(() => server.close());
beforeEach(async () => {
  await statement(
    server.database.url,
    'create extension if not exists pg_stat_statements; select pg_stat_statements_reset(0, oid, 0) from pg_database where datname = current_database()',
  );
});

interface Report {
  readonly findings: readonly { severity: string; check: string; object?: string; message: string }[];
  readonly statements: { readonly list: readonly { kind: string; query: string }[] };
  // biome-ignore lint/suspicious/noExplicitAny: tests look into what they expect
  readonly logs: any;
  readonly access_log_refusals: readonly { user_id: string; refused: number }[];
}

async function report(extra: Record<string, string> = {}): Promise<{ code: number | null; report: Report }> {
  const { code, stdout, stderr } = await runVerb('monitor.ts', 'runMonitor(config(), { json: true })', {
    ...env,
    ...extra,
  });
  expect(stderr).toBe('');
  return { code, report: JSON.parse(stdout) };
}

const found = ({ findings }: Report, check: string) => findings.filter((finding) => finding.check === check);

describe('our own server', () => {
  test('runs no statement on a table of users without its owner or the mark (N18)', async () => {
    const [ann, bob] = [await server.user(), await server.user({ roles: ['user', 'admin'] })];
    const task = await ann.call('POST', '/api/tasks', { title: 'mine', description: 'test' });
    expect(task.status).toBe(201);
    await ann.call('GET', '/api/tasks?limit=5&q=mine');
    await ann.call('GET', '/api/tasks/overview');
    await ann.call('PATCH', `/api/tasks/${task.body.id}`, { title: 'changed' });
    await ann.call('POST', '/api/projects', { name: 'p' });
    await ann.call('GET', '/api/user/profile');
    await bob.call('GET', '/admin/system/tasks');
    await bob.call('GET', `/api/tasks/${task.body.id}`);
    await ann.call('DELETE', `/api/tasks/${task.body.id}`);
    const { code, report: seen } = await report();
    expect(seen.statements.list.filter(({ kind }) => kind === 'unscoped')).toEqual([]);
    expect(seen.statements.list.map(({ kind }) => kind)).toContain('system');
    expect(found(seen, 'unscoped-statements')).toMatchObject([{ severity: 'pass' }]);
    expect(found(seen, 'owner-index').filter(({ severity }) => severity === 'fail')).toEqual([]);
    expect(found(seen, 'system-mark')).toEqual([]);
    expect(code).toBe(0);
  });

  test('with a statement that forgot its owner is not well', async () => {
    await statement(server.database.url, "select title from tasks where title = 'x\u001b[2J'");
    const { code, report: seen } = await report();
    expect(code).toBe(1);
    expect(found(seen, 'unscoped-statements')).toMatchObject([{ severity: 'fail', object: 'public.tasks' }]);
    const shown = await runVerb('monitor.ts', 'runMonitor(config(), {})', env);
    expect(shown.stdout).toMatch(/unscoped +1 .*select title from tasks where title = \$1/);
    expect(shown.stdout.split('\n').every((line) => line.length <= 110)).toBe(true);
  });

  test("users' own access logs tell who was refused", async () => {
    const ann = await server.user();
    await ann.call('GET', '/api/tasks/00000000-0000-7000-8000-000000000000');
    await expect
      .poll(async () => (await report()).report.access_log_refusals)
      .toContainEqual({ user_id: ann.id, refused: 1 });
  });
});

test('metrics come in the text format, without ids', async () => {
  const { code, stdout } = await runVerb('monitor.ts', 'runMonitor(config(), { prometheus: true })', env);
  expect(code).toBe(0);
  expect(stdout).toContain('# TYPE ringfence_findings gauge\n');
  expect(stdout).toContain('ringfence_owner_indexes{table="public.tasks"}');
  expect(stdout).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}-/);
});

test('--prometheus and --watch exclude each other', async () => {
  const { code, stderr } = await runVerb('monitor.ts', 'runMonitor(config(), { prometheus: true, watch: 1 })', env);
  expect(code).toBe(2);
  expect(stderr).toContain('--prometheus');
});

test('an unreachable database is one line and exit code 3', async () => {
  const away = { ...env, DATABASE_URL: 'postgresql://nobody:x@127.0.0.1:1/none' };
  const { code, stderr } = await runVerb('monitor.ts', 'runMonitor(config(), {})', away);
  expect(code).toBe(3);
  expect(stderr).toMatch(/^ringfence: The database cannot be reached.*\n$/);
});

test('the logs are counted, whatever else stands in them', async () => {
  const logDir = temporaryDirectory();
  const [ann, bob] = ['a5f0b0c0-0000-4000-8000-00000000000a', 'a5f0b0c0-0000-4000-8000-00000000000b'];
  const refused = (user: string) =>
    `${JSON.stringify({ level: 'warn', event: 'UNAUTHORIZED_ACCESS', user_id: user })}\n`;
  const request = (status: number, ms: number) => `${JSON.stringify({ level: 'info', msg: 'request', status, ms })}\n`;
  writeFileSync(
    join(logDir, 'security.log'),
    `${refused(ann)}${refused(bob)}${refused(ann)}{"event":"LOGIN_FAILED"}\nno json\n[1]\n{"cut":`,
  );
  writeFileSync(
    join(logDir, 'application.log'),
    `${request(200, 1.5).repeat(95)}${request(401, 40).repeat(10)}{"msg":"JWT missing","reason":"noUser"}\n`.concat(
      '{"msg":"JWT missing","reason":"noUser"}\n'.repeat(9),
      'x'.repeat(300_000),
      '\n',
    ),
  );
  const { report: seen } = await report({ LOG_DIR: logDir });
  expect(seen.logs).toMatchObject({
    requests: 105,
    statuses: { 200: 95, 401: 10 },
    token_faults: { noUser: 10, invalid: 0, expired: 0 },
    milliseconds_at_most: { p50: 2, p95: 50 },
    refusals: { [ann]: 2, [bob]: 1 },
    malformed: 3,
  });
  expect(found(seen, 'user-context')).toMatchObject([{ severity: 'warn' }]);
  expect(found(seen, 'unauthorized-access')).toMatchObject([{ severity: 'warn' }]);
  const metrics = await runVerb('monitor.ts', 'runMonitor(config(), { prometheus: true })', {
    ...env,
    LOG_DIR: logDir,
  });
  expect(metrics.stdout).toContain('ringfence_unauthorized_access_total 3\n');
  expect(metrics.stdout).toContain('ringfence_request_duration_seconds_bucket{le="+Inf"} 105\n');
  expect(metrics.stdout).not.toContain(ann);
  const none = await report({ LOG_DIR: temporaryDirectory() });
  expect(none.report.logs).toMatchObject({ files: [], requests: 0, malformed: 0 });
});

test('watching goes on over a rotation and ends well with Ctrl-C', async () => {
  const logDir = temporaryDirectory();
  const log = join(logDir, 'security.log');
  const line = '{"event":"UNAUTHORIZED_ACCESS","user_id":"u"}\n';
  writeFileSync(log, line);
  const watching = startVerb('monitor.ts', 'runMonitor(config(), { json: true, watch: 0.2 })', {
    ...env,
    LOG_DIR: logDir,
  });
  await watching.until(/"refusals":\{"u":1\}/);
  appendFileSync(log, line);
  renameSync(log, `${log}.1`);
  writeFileSync(log, line);
  await watching.until(/"refusals":\{"u":3\}/);
  watching.child.kill('SIGINT');
  expect(await watching.outcome).toMatchObject({ code: 0, signal: null, stderr: '' });
});
