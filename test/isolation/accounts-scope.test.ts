/**
 * The accounts scope has no wall: sign-in and the checks of tokens run before anybody is known, so each statement there names
 * its user itself. Whatever is done for one user, everybody else's accounts, sessions, tokens and logs stay as they were. Ids
 * of sessions and tokens are met twice here, as I5 allows: what is looked up without its user finds the other's.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { AccountAdministration } from '../../src/repositories/account-administration.ts';
import { AccountRepository } from '../../src/repositories/accounts.ts';
import { RefreshTokenRepository } from '../../src/repositories/sessions.ts';
import { statement } from '../support/postgres.ts';
import { type Answer, startTestServer, type TestServer } from '../support/server.ts';

const password = 'a pass phrase of some length';
const server: TestServer = await startTestServer();
afterAll(() => server.close());

interface Session {
  readonly id: string;
  readonly access: string;
  readonly refresh: string;
}

interface Person {
  readonly id: string;
  readonly email: string;
  readonly sessions: readonly [Session, Session];
  readonly apiTokens: readonly [string, string];
}

const sql = async (text: string) => (await statement(server.database.url, text)).rows;
const as = (token: string, method: string, path: string, body?: unknown) =>
  server.call(method, path, body, { authorization: `Bearer ${token}` });
const signIn = (email: string, secret = password) =>
  server.call('POST', '/api/auth/login', { email, password: secret });
const refresh = (token: string) => server.call('POST', '/api/auth/refresh', { refresh_token: token });

function sessionOf({ status, body }: Answer): Session {
  expect(status).toBeLessThan(300);
  const claims = JSON.parse(Buffer.from(body.access_token.split('.')[1], 'base64url').toString());
  return { id: claims.sid, access: body.access_token, refresh: body.refresh_token };
}

async function person(): Promise<Person> {
  const email = `${randomUUID()}@example.test`;
  const registered = await server.call('POST', '/api/auth/register', { email, password, name: 'Somebody' });
  const first = sessionOf(registered);
  const makeToken = async () => (await as(first.access, 'POST', '/api/user/tokens', { name: 'script' })).body.token;
  return {
    id: registered.body.user.id,
    email,
    sessions: [first, sessionOf(await signIn(email))],
    apiTokens: [await makeToken(), await makeToken()],
  };
}

/** Gives the one sessions and API tokens with the ids of the other's, before them in the table, with hashes that fit nothing. */
async function decoys(of: Person, owner: Person): Promise<void> {
  const own = `user_id = '${of.id}' and token_hash <> sha256('decoy')`;
  for (const [table, more] of [
    ['sessions', 'expires_at, user_agent'],
    ['api_tokens', 'name, scopes'],
  ]) {
    await sql(`insert into ${table} (user_id, id, token_hash, ${more})
      select '${owner.id}', id, sha256('decoy'), ${more} from ${table} where ${own}`);
    await sql(`update ${table} set created_at = created_at where ${own}`);
  }
}

/** All account rows of everybody else. */
async function othersThan(...users: readonly string[]): Promise<unknown> {
  const not = (column: string) => `${column} not in (${users.map((id) => `'${id}'`).join()})`;
  const rows = (table: string, column: string) =>
    `(select jsonb_agg(to_jsonb(t) order by to_jsonb(t)::text) from ${table} t where ${not(column)}) as ${table}`;
  const tables = ['sessions', 'api_tokens', 'user_access_log'].map((table) => rows(table, 'user_id'));
  const [found] = await sql(`select ${rows('users', 'id')}, ${tables.join()}`);
  return found;
}

let ann: Person;
let bob: Person;
beforeEach(async () => {
  [ann, bob] = [await person(), await person()];
  await decoys(ann, bob);
  await decoys(bob, ann);
  // One password hash, and failures that are his.
  await sql(`update users set failed_login_attempts = 2, password_hash =
    (select password_hash from users where id = '${ann.id}') where id = '${bob.id}'`);
});

const change = (who: Person, next: string) =>
  as(who.sessions[0].access, 'POST', '/api/auth/change-password', { current_password: password, new_password: next });

async function everythingWorksFor(who: Person): Promise<void> {
  for (const session of who.sessions) {
    expect((await as(session.access, 'GET', '/api/user/profile')).body).toMatchObject({ id: who.id });
    const refreshed = await refresh(session.refresh);
    expect(refreshed).toMatchObject({ status: 200, body: { user: { id: who.id, email: who.email } } });
    const mine = (await as(refreshed.body.access_token, 'GET', '/api/user/profile')).body;
    expect(mine).toMatchObject({ id: who.id, email: who.email });
  }
  for (const token of who.apiTokens) {
    expect((await as(token, 'GET', '/api/user/profile')).body).toMatchObject({ id: who.id });
  }
  expect(await signIn(who.email)).toMatchObject({ status: 200, body: { user: { id: who.id } } });
}

describe('nothing of anybody else’s changes, and it goes on working, when somebody', () => {
  test.each<[string, () => Promise<unknown>]>([
    ['signs in', () => signIn(ann.email)],
    [
      'goes on with sessions',
      async () => [await refresh(ann.sessions[0].refresh), await refresh(ann.sessions[1].refresh)],
    ],
    ['uses an API token', () => as(ann.apiTokens[0], 'GET', '/api/projects')],
    ['changes the password', () => change(ann, 'another pass phrase of some length')],
    ['signs out', () => as(ann.sessions[0].access, 'POST', '/api/auth/logout')],
    ['signs out everywhere', () => as(ann.sessions[0].access, 'POST', '/api/auth/logout?all=true')],
    ['erases the account', () => as(ann.sessions[0].access, 'DELETE', '/api/user', { password })],
  ])('%s', async (_, act) => {
    const before = await othersThan(ann.id);
    for (const answer of [await act()].flat()) expect((answer as Answer).status).toBeLessThan(300);
    expect(await othersThan(ann.id)).toEqual(before);
    await everythingWorksFor(bob);
  });

  test('fails to sign in until the account is locked', async () => {
    const before = await othersThan(ann.id);
    for (let i = 0; i < 6; i += 1) expect((await signIn(ann.email, 'wrong')).status).toBe(401);
    expect((await signIn(ann.email)).status).toBe(401);
    expect(await othersThan(ann.id)).toEqual(before);
    await everythingWorksFor(bob);
  });

  test('uses a refresh token twice, which ends that session and no other', async () => {
    const before = await othersThan(ann.id);
    const [{ refresh: stolen }, other] = ann.sessions;
    await refresh((await refresh(stolen)).body.refresh_token);
    expect((await refresh(stolen)).status).toBe(401);
    expect(await othersThan(ann.id)).toEqual(before);
    expect((await refresh(other.refresh)).status).toBe(200);
    await everythingWorksFor(bob);
  });

  test('is suspended', async () => {
    await sql(`update users set status = 'suspended' where id = '${ann.id}'`);
    const before = await othersThan(ann.id);
    expect((await refresh(ann.sessions[0].refresh)).status).toBe(401);
    expect((await as(ann.apiTokens[0], 'GET', '/api/projects')).status).toBe(401);
    expect((await signIn(ann.email)).status).toBe(401);
    expect(await othersThan(ann.id)).toEqual(before);
    await everythingWorksFor(bob);
  });

  test('registers', async () => {
    const known = (await sql('select array_agg(id) as ids from users'))[0].ids;
    const before = await othersThan(randomUUID());
    const { body } = await server.call('POST', '/api/auth/register', {
      email: `${randomUUID()}@example.test`,
      password,
      name: 'New',
    });
    expect(known).not.toContain(body.user.id);
    expect(await othersThan(body.user.id)).toEqual(before);
  });

  test('is made an administrator', async () => {
    const before = await othersThan(ann.id);
    const now = await server.isolation.withAccounts('test', (scope) =>
      new AccountAdministration(scope).setRoles(ann.email.toUpperCase(), ['user', 'admin']),
    );
    expect(now).toMatchObject({ id: ann.id, roles: ['user', 'admin'] });
    expect(await othersThan(ann.id)).toEqual(before);
  });
});

describe('of one’s own, only what was named changes', () => {
  const uses = () =>
    sql(`select usage_count::int as n from api_tokens where user_id = '${ann.id}' and token_hash <> sha256('decoy')`);

  test('the API token that was used', async () => {
    await as(ann.apiTokens[0], 'GET', '/api/projects');
    expect((await uses()).map(({ n }) => n).sort()).toEqual([0, 1]);
  });

  test('the sessions that had not ended', async () => {
    await sql(`update sessions set revoked_at = now(), revoked_reason = 'logout' where id = '${ann.sessions[1].id}'`);
    expect((await change(ann, 'another pass phrase of some length')).status).toBe(200);
    const ended = await sql(
      `select revoked_reason from sessions where user_id = '${ann.id}' and id = '${ann.sessions[1].id}'`,
    );
    expect(ended).toEqual([{ revoked_reason: 'logout' }]);
    for (const session of ann.sessions) expect((await refresh(session.refresh)).status).toBe(401);
  });
});

describe('what changed between two statements is seen by the second', () => {
  const accounts = <T>(work: (repository: AccountRepository) => Promise<T>) =>
    server.isolation.withAccounts('test', (scope) => work(new AccountRepository(scope)));
  const hashOf = async (who: Person) =>
    (await sql(`select password_hash from users where id = '${who.id}'`))[0].password_hash;

  test.each([
    ['suspended', `status = 'suspended'`],
    ['locked', `locked_until = now() + interval '1 minute'`],
    ['given another password', `password_hash = 'x'`],
  ])('an account that was %s is not signed in to', async (_, changed) => {
    const hash = await hashOf(ann);
    expect(await accounts((repository) => repository.confirmPassword(ann.id, hash))).toBe(true);
    await sql(`update users set ${changed} where id = '${ann.id}'`);
    expect(await accounts((repository) => repository.confirmPassword(ann.id, hash))).toBe(false);
  });

  test('a lock is not made longer by who goes on guessing', async () => {
    for (let i = 0; i < 5; i += 1) await accounts((repository) => repository.countFailure(ann.id));
    expect(await accounts((repository) => repository.countFailure(ann.id))).toBe(0);
    expect((await accounts((repository) => repository.findById(ann.id)))?.locked_seconds).toBeLessThanOrEqual(30);
  });

  test.each([
    ['ended', 'revoked_at = now()'],
    ['over', `expires_at = now() - interval '1 second', created_at = now() - interval '1 day'`],
  ])('a session that is %s is not live, whatever others of its id or its user are', async (_, changed) => {
    const [{ id }] = ann.sessions;
    const isLive = () =>
      server.isolation.withAccounts('test', (scope) => new RefreshTokenRepository(scope).isLive(ann.id, id));
    expect(await isLive()).toBe(true);
    await sql(`update sessions set ${changed} where user_id = '${ann.id}' and id = '${id}'`);
    expect(await isLive()).toBe(false);
  });
});

test('the owner of what nobody has claimed is no account', async () => {
  const [{ email }] = await sql(`select email from users where id = '00000000-0000-4000-8000-000000000000'`);
  await server.isolation.withAccounts('test', async (scope) => {
    const administration = new AccountAdministration(scope);
    expect(await administration.setRoles(email, ['user', 'admin'])).toBeUndefined();
    expect((await administration.list()).map((account) => account.email)).not.toContain(email);
  });
});
