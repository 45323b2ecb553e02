import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test, vi } from 'vitest';
import { clusterProcesses } from '../../src/database/processes.ts';
import { ringfence, type ServingProcess, serving, temporaryDirectory } from '../support/ringfence.ts';

// A dozen processes one after the other, on a machine that may be doing other things.
vi.setConfig({ testTimeout: 120_000 });

const base = temporaryDirectory();
chmodSync(base, 0o755);
const dataDir = join(base, 'data');
const logDir = join(base, 'logs');
const env = { DATA_DIR: dataDir, LOG_DIR: logDir, LOG_LEVEL: 'debug', CREDENTIAL_RATE_LIMIT_PER_MINUTE: '0' };
mkdirSync(dataDir);
// Postgres runs as somebody else when we are root.
chmodSync(dataDir, 0o711);

const password = 'Canary-pass-phrase-1';
let server: ServingProcess;

async function post(path: string, body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(`${server.url}${path}`, { method: 'POST', body: JSON.stringify(body), headers });
  // biome-ignore lint/suspicious/noExplicitAny: answers of every shape
  const answer: any = await response.json();
  return { status: response.status, body: answer };
}

test('the first start makes everything, and the commands it prints work as printed', async () => {
  server = await serving(env);
  expect(server.welcome).toContain(dataDir);
  expect(server.welcome).toContain(join(logDir, 'application.log'));
  expect(server.welcome).not.toMatch(/Deprecat|Warning/);
  const commands = server.welcome
    .split('\n')
    .filter((line) => line.startsWith('  TOKEN=') || line.startsWith('  curl'));
  expect(commands).toHaveLength(2);
  const { stdout } = await promisify(execFile)('sh', ['-c', commands.join('\n')]);
  expect(JSON.parse(stdout)).toMatchObject({ title: 'My first task', status: 'todo' });
});

test('a second start on the same data is refused, and says who has it', async () => {
  const second = await ringfence(['serve'], { env: { ...env, PORT: '0' } });
  expect(second).toMatchObject({ code: 3, stdout: '' });
  expect(second.stderr).toMatch(/^ringfence: .* in use by process \d+, started .*, serving on http:\S+.*\n$/);
  expect(second.stderr).toContain(server.url);
  expect((await fetch(`${server.url}/health`)).status).toBe(200);
});

test('no secret is in any log, every line can be read, and the guide’s patterns are there', async () => {
  const user = await post('/api/auth/register', { email: 'ann@example.com', password, name: 'Ann' });
  const { access_token: token, refresh_token: refresh } = user.body;
  const authorization = `Bearer ${token}`;
  await post('/api/auth/login', { email: 'ann@example.com', password: 'Canary-wrong-one' });
  await post('/api/auth/refresh', { refresh_token: refresh });
  await fetch(`${server.url}/api/tasks?q=Canary-search`, { headers: { authorization } });
  await fetch(`${server.url}/api/tasks`, { headers: { authorization: `Bearer ${token.slice(0, -4)}AAAA` } });
  await fetch(`${server.url}/api/tasks`, { headers: { authorization: 'Bearer Canary-not-a-token' } });
  const hidden = await post('/api/projects', { name: 'Canary-project' }, { authorization });
  const other = await post('/api/auth/register', { email: 'bob@example.com', password, name: 'Bob' });
  await fetch(`${server.url}/api/projects/${hidden.body.id}`, {
    headers: { authorization: `Bearer ${other.body.access_token}` },
  });
  const read = (name: string) => readFileSync(join(logDir, name), 'utf8');
  await expect.poll(() => read('security.log')).toContain('UNAUTHORIZED_ACCESS');

  const application = read('application.log');
  const security = read('security.log');
  const postgres = readFileSync(join(dataDir, 'postgres.log'), 'utf8');
  for (const secret of ['Canary-', token, refresh, token.split('.')[2]]) {
    expect(application + security).not.toContain(secret);
  }
  expect(postgres).not.toContain('Canary-pass');
  const lines = [...application.trim().split('\n'), ...security.trim().split('\n')].map((line) => JSON.parse(line));
  expect(lines).toContainEqual(
    expect.objectContaining({
      msg: 'request',
      req_id: expect.any(String),
      user_id: user.body.user.id,
      method: 'GET',
      route: '/api/tasks',
      status: 200,
      ms: expect.any(Number),
    }),
  );
  expect(lines).toContainEqual(expect.objectContaining({ msg: 'JWT accepted', user_id: user.body.user.id }));
  expect(lines).toContainEqual(expect.objectContaining({ msg: 'JWT refused', reason: 'invalid' }));
  expect(security).toContain('LOGIN_FAILED');
  expect(security).toContain(`"id":"${hidden.body.id}"`);
});

test('Ctrl-C ends it and its Postgres in order', async () => {
  const outcome = await server.end('SIGINT');
  expect(outcome).toMatchObject({ code: 0, signal: null });
  expect(clusterProcesses(join(dataDir, 'postgres'))).toEqual([]);
  expect(readFileSync(join(dataDir, 'postgres.log'), 'utf8').trimEnd()).toMatch(/database system is shut down$/);
  expect(readFileSync(join(logDir, 'application.log'), 'utf8').trimEnd()).toMatch(/server closed"}$/);
});

test('after kill -9 the next start recovers with its data', async () => {
  server = await serving(env);
  const killed = await server.end('SIGKILL');
  expect(killed.signal).toBe('SIGKILL');
  server = await serving(env);
  expect(server.welcome).toContain('earlier run left behind');
  const again = await post('/api/auth/login', { email: 'ann@example.com', password });
  expect(again.status).toBe(200);
  expect(await server.end('SIGTERM')).toMatchObject({ code: 0 });
});

test('what is wrong with the environment is said at once, by name, before anything is started', async () => {
  const wrong = { PORT: '99999', LOG_LEVEL: 'loud', USER_ISOLATION_ENABLED: 'maybe', DATA_DIR: join(base, 'never') };
  const { code, stderr } = await ringfence(['serve'], { env: wrong });
  expect(code).toBe(2);
  const names = stderr
    .trim()
    .split('\n')
    .map((line) => /^ringfence: (\w+): /.exec(line)?.[1]);
  expect(names).toEqual(['USER_ISOLATION_ENABLED', 'PORT', 'LOG_LEVEL']);
});

test('a port that is taken, and an address that is not ours, are named', async () => {
  const squatter = createServer();
  squatter.listen(0, '127.0.0.1');
  await once(squatter, 'listening');
  const address = squatter.address();
  const port = typeof address === 'object' && address !== null ? String(address.port) : '';
  try {
    const taken = await ringfence(['serve'], { env: { ...env, PORT: port } });
    expect(taken).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/^ringfence: PORT: 127.0.0.1:\d+ is taken .*\n$/),
    });
    const foreign = await ringfence(['serve'], { env: { ...env, PORT: '0', HOST: '192.0.2.1' } });
    expect(foreign).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^ringfence: HOST: 192.0.2.1 is no address .*\n$/),
    });
    expect(clusterProcesses(join(dataDir, 'postgres'))).toEqual([]);
  } finally {
    squatter.close();
  }
});
