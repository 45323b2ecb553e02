import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { createDatabase, statement, type TestDatabase, withDatabase } from '../../test/support/postgres.ts';
import { ringfence } from '../../test/support/ringfence.ts';
import { type Config, loadConfig } from '../config.ts';
import { deriveIdentityKey, identityKeyPads, mintIdentity, parseUserId } from '../isolation/identity.ts';
import { withConnection } from '../rollout/connection.ts';
import { runApply } from './apply.ts';
import { runIdentityInstall, runIdentityList, runIdentityRemove, type SecretFlags } from './identity.ts';

const owner = `identity_owner_${randomBytes(4).toString('hex')}`;
const [first, second, third] = Array.from({ length: 3 }, () => randomBytes(48).toString('base64'));
let database: TestDatabase;
let url: string;
let directory: string;

/** The owner is no superuser: he has the database, and may make and give away roles. */
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'ringfence-identity-'));
  database = await createDatabase();
  await statement(
    database.url,
    `create role ${owner} login createrole password 'secret';
    grant ringfence_app, ringfence_system to ${owner} with admin option;
    alter database ${database.name} owner to ${owner}`,
  );
  const login = new URL(database.url);
  login.username = owner;
  login.password = 'secret';
  url = login.href;
  await statement(url, 'create table public.notes (id integer primary key, user_id uuid not null)');
});

afterEach(() => vi.restoreAllMocks());

afterAll(async () => {
  rmSync(directory, { recursive: true, force: true });
  await database.drop();
  await statement(withDatabase(database.url, 'postgres'), `drop role ${owner}`);
});

const configOf = (secret?: string): Config =>
  loadConfig({ DATABASE_URL: url, ...(secret === undefined ? {} : { IDENTITY_SECRET: secret }) }, {}, false);

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

const install = (secret?: string, flags: SecretFlags = {}) =>
  printed(() => runIdentityInstall(configOf(secret), flags));
const keysNow = async (secret?: string) =>
  JSON.parse(await printed(() => runIdentityList(configOf(secret), { json: true }))).keys;
const idOf = (secret = '') => deriveIdentityKey(secret).keyId;

/** Who the database takes the bearer of an identity signed with this secret for. */
async function bearer(secret = ''): Promise<unknown> {
  const user = parseUserId('0190a1b2-0000-7000-8000-000000000001');
  if (user === null) throw new Error('not a user id');
  return withConnection(url, 'test', async (client) => {
    const identity = mintIdentity(deriveIdentityKey(secret), user, 0, Date.now());
    await client.query("select set_config('ringfence.identity', $1, false)", [identity]);
    const { rows } = await client.query<{ id: string }>('select ringfence.current_user_id() as id');
    return rows[0]?.id === user;
  });
}

test('before the rollout there is no place for a key, and that is said', async () => {
  await expect(install(first)).rejects.toMatchObject({
    code: 'rollout_refused',
    message: expect.stringContaining('ringfence apply'),
  });
  await expect(keysNow()).rejects.toMatchObject({ code: 'rollout_refused' });
});

test('a key is put in, another takes over, and the first is removed', async () => {
  await printed(() => runApply(configOf(), { until: 'prepare' }));
  expect(await printed(() => runIdentityList(configOf(), {}))).toMatch(/^No key is in/);
  await expect(bearer(first)).rejects.toMatchObject({ message: expect.stringContaining('RF002') });

  expect(await install(first)).toBe(`The key ${idOf(first)} is in: identities signed with this secret are accepted.`);
  expect(await bearer(first)).toBe(true);
  // Again, as a deployment does that runs at every start.
  await install(first);
  expect(await keysNow()).toHaveLength(1);

  const secretFile = join(directory, 'secret');
  writeFileSync(secretFile, `${second}\n`);
  expect(await install(first, { secretFile })).toContain(`  ringfence identity remove ${idOf(first)}`);
  expect([await bearer(first), await bearer(second)]).toEqual([true, true]);
  expect(await keysNow(second)).toEqual([
    { keyId: idOf(second), installedAt: expect.any(String), ofThisSecret: true },
    { keyId: idOf(first), installedAt: expect.any(String), ofThisSecret: false },
  ]);

  // A third would leave no one to say which of the others is in use.
  await expect(install(third)).rejects.toMatchObject({
    code: 'rollout_refused',
    message: expect.stringContaining(`ringfence identity remove ${idOf(first)}`),
  });
  await printed(() => runIdentityRemove(configOf(), idOf(first), {}));
  await expect(bearer(first)).rejects.toMatchObject({ message: expect.stringContaining('RF002') });
  expect(await bearer(second)).toBe(true);

  await expect(runIdentityRemove(configOf(), idOf(first), {})).rejects.toMatchObject({ code: 'usage_error' });
  await expect(runIdentityRemove(configOf(), "x'; drop", {})).rejects.toMatchObject({ code: 'usage_error' });
  await expect(runIdentityRemove(configOf(), idOf(second), {})).rejects.toMatchObject({
    code: 'usage_error',
    message: expect.stringContaining('--yes'),
  });
  await printed(() => runIdentityRemove(configOf(), idOf(second), { yes: true }));
  expect(await keysNow()).toEqual([]);
});

test('several at the same time do not put in more than two', async () => {
  let outcomes: PromiseSettledResult<void>[] = [];
  await printed(async () => {
    outcomes = await Promise.allSettled(
      [first, second, third].map((secret) => runIdentityInstall(configOf(secret), {})),
    );
  });
  expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'fulfilled', 'rejected']);
  expect(await keysNow()).toHaveLength(2);
});

test('without a secret, with a weak one, with two: refused by the name of where it came from', async () => {
  const weak = join(directory, 'weak');
  writeFileSync(weak, 'hunter2\n');
  await expect(install()).rejects.toMatchObject({
    code: 'usage_error',
    message: expect.stringContaining('IDENTITY_SECRET'),
  });
  await expect(install(first, { secretFile: weak })).rejects.toMatchObject({
    code: 'usage_error',
    message: expect.stringMatching(/^--secret-file: the secret must be at least 32 bytes/),
  });
  await expect(install(first, { secretFile: weak, secretStdin: true })).rejects.toMatchObject({
    code: 'usage_error',
  });
  await expect(install(first, { secretFile: join(directory, 'none') })).rejects.toMatchObject({
    code: 'usage_error',
    message: expect.stringContaining('cannot be read'),
  });
});

test('on standard input; nothing that is printed is the secret or the key; and none is taken from the arguments', async () => {
  await statement(url, 'delete from ringfence.identity_keys');
  const env = { DATABASE_URL: url };
  const run = (args: string[], input?: string) =>
    ringfence(['identity', ...args], { env, ...(input === undefined ? {} : { input }) });
  const secret = first ?? '';
  const said = [
    await run(['install', '--secret-stdin', '--json'], `${secret}\n`),
    await run(['install', '--secret-stdin'], `${secret}\n`),
    await run(['list', '--secret-stdin'], secret),
    await run(['install', '--secret-stdin'], `${secret.slice(0, 20)}\n`),
  ];
  expect(said.map(({ code }) => code)).toEqual([0, 0, 0, 2]);
  const key = deriveIdentityKey(secret);
  const hidden = [key.key, ...Object.values(identityKeyPads(key))].flatMap((bytes) => [
    bytes.toString('hex'),
    bytes.toString('base64'),
    bytes.toString('base64url'),
  ]);
  const text = said.map(({ stdout, stderr }) => stdout + stderr).join('\n');
  for (const part of [secret, secret.slice(0, 20), ...hidden]) expect(text).not.toContain(part);
  expect(text).toContain(idOf(secret));
  expect(await run(['install', secret])).toMatchObject({ code: 2, stdout: '' });
  expect((await run(['install', '--help'])).stdout).toMatch(/Example:\n {2}ringfence identity install/);
});
