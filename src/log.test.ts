import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { createLogs, type LogOptions } from './log.ts';

const made: string[] = [];
afterEach(() => {
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true, force: true });
});

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'ringfence-log-'));
  made.push(path);
  return path;
}

function logsTo(options: Partial<LogOptions> = {}) {
  const lines: string[] = [];
  const logs = createLogs({
    level: 'info',
    logDir: undefined,
    output: { write: (line) => lines.push(line) },
    ...options,
  });
  return { ...logs, lines, entries: () => lines.map((line) => JSON.parse(line)) };
}

const canary = 'Canary7hunter2';
const jwt = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlQ2FuYXJ5';
const opaque = `rft_${'Q2FuYXJ5'.repeat(10)}`;

test.each([
  ['members named as secrets', { password: canary, new_password: canary, refresh_token: canary, token: canary }],
  ['headers', { headers: { authorization: `Bearer ${canary}`, cookie: `a=${canary}`, 'set-cookie': [canary] } }],
  ['members deep down', { a: { b: [{ c: { JWT_SECRET_KEY: canary, access_token: 7 } }] } }],
  ['a value with quotes in it', { password: `${canary}"},"x":"` }],
  ['a connection string', { url: `postgres://owner:${canary}@db.example/prod?sslmode=require` }],
  ['a password with an @ in a connection string', { url: `postgres://owner:p@ss${canary}@db/prod` }],
  ['a connection string of another kind', { text: `host=db password=${canary} user=owner` }],
  ['a JWT in a text', { text: `could not read ${jwt.replace('Canary', canary)}, sorry` }],
  ['an opaque token in a text', { text: `got ${opaque}` }],
  ['JSON in a text', { text: `body was {"password": "${canary}", "b": 1}` }],
  ['a password hash', { text: `$argon2id$v=19$m=19456,t=2,p=1$${canary}$${canary}` }],
  ['an error and its causes', { err: new Error(`no ${jwt}`, { cause: new Error(`postgres://a:${canary}@b/c`) }) }],
  [
    'what libraries hang on errors',
    { err: Object.assign(new Error('failed'), { detail: `(${canary})`, config: { canary } }) },
  ],
])('no secret gets through: %s', (_, fields) => {
  const { log, securityLog, lines, entries } = logsTo();
  log.info(fields, 'a line');
  log.warn(`text ${JSON.stringify({ ...fields, err: undefined })}`);
  securityLog.event('INVALID_TOKEN', fields);
  const all = lines.join('');
  expect(entries()).toHaveLength(3);
  for (const secret of [canary, jwt, opaque, 'c2lnbmF0dXJl']) expect(all).not.toContain(secret);
});

test('what is no secret stays', () => {
  const { log, entries } = logsTo();
  const fields = { user_id: 'u1', token_id: 't1', url: 'http://127.0.0.1:8080', route: '/api/user/tokens/:id' };
  log.info(fields, 'JWT accepted');
  expect(entries()[0]).toMatchObject({ ...fields, level: 'info', msg: 'JWT accepted' });
});

test('both logs are files of their owner alone, a line for each event, written when it happens', () => {
  const logDir = join(directory(), 'made', 'on', 'demand');
  const { log, securityLog, files, flush } = logsTo({ logDir });
  log.info({ user_id: 'u1' }, 'request');
  securityLog.event('UNAUTHORIZED_ACCESS', { user_id: 'u1', entity: 'tasks' });
  const [application = '', security = ''] = files;
  expect(files.map((file) => statSync(file).mode & 0o777)).toEqual([0o600, 0o600]);
  // The security log does not wait for anything.
  const line = readFileSync(security, 'utf8');
  expect(line).toMatch(/^.*UNAUTHORIZED_ACCESS.*\n$/);
  expect(JSON.parse(line)).toMatchObject({ event: 'UNAUTHORIZED_ACCESS', entity: 'tasks' });
  flush();
  expect(readFileSync(application, 'utf8')).toMatch(/^.*"user_id":"u1".*\n$/);
});

test('after logrotate has moved a file away, lines go to the new one', async () => {
  const logDir = directory();
  const { securityLog, reopen } = logsTo({ logDir });
  const path = join(logDir, 'security.log');
  securityLog.event('LOGIN_FAILED', { n: 1 });
  renameSync(path, `${path}.1`);
  reopen();
  await expect
    .poll(() => {
      securityLog.event('LOGIN_FAILED', { n: 2 });
      return readFileSync(path, { encoding: 'utf8', flag: 'a+' });
    })
    .toContain('"n":2');
  expect(readFileSync(`${path}.1`, 'utf8')).toContain('"n":1');
});

test('security events do not depend on the level, and silent keeps them off standard output', () => {
  const logDir = directory();
  const { log, securityLog, lines } = logsTo({ level: 'silent', logDir });
  log.fatal('nothing');
  securityLog.event('SYSTEM_MODE', {});
  expect(lines).toEqual([]);
  expect(readFileSync(join(logDir, 'security.log'), 'utf8')).toContain('SYSTEM_MODE');
});

test('a directory that cannot be written is refused by name', () => {
  const file = join(directory(), 'a-file');
  writeFileSync(file, '');
  expect(() => createLogs({ level: 'info', logDir: file })).toThrow(/^LOG_DIR: .*a-file/);
});
