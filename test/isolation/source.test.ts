/**
 * Closure of the code: everything that outlives a request, runs when nobody waits, or leaves the server by another way than an
 * answer, as the source has it. Each is a user's own, everybody's, or out of users' reach, and says why; what is new fails
 * here until somebody has thought about it. Routes and methods of repositories have tests of their own: matrix.test.ts,
 * repository-matrix.test.ts; tables and functions: closure.test.ts.
 */
import { describe, expect, test } from 'vitest';
import { keptBy } from './source/kept.ts';
import { doneLaterBy } from './source/later.ts';
import { modulesOf, parseModule } from './source/modules.ts';
import { toldBy } from './source/told.ts';

/** owned: a user's, and no other user meets it. shared: nothing in it is a user's. denied: no user's request comes to it. */
type Class = readonly ['owned' | 'shared' | 'denied', why: string];
type Catalogue = Readonly<Record<string, Class>>;

const transaction = ['owned', 'of one transaction, which is one user’s'] as const;
const atStart = ['denied', 'when the server starts or stops'] as const;
const load = ['shared', 'how much work there is: a number, felt by everybody (docs/security.md)'] as const;
const ofRoutes = ['shared', 'made from the routes alone, the same for everybody'] as const;
const refusedRows = ['owned', 'each row with its caller, in whose scope it is written'] as const;
const oneCall = ['owned', 'ends with the request that made it'] as const;

const kept: Catalogue = {
  'src/access/api-token-check.ts: pending': ['owned', 'by user and token; says how often that user’s token was used'],
  'src/access/api-token-check.ts: timer': ['shared', 'whether a write of such numbers is due'],
  'src/access/external-token.ts: failedAt': ['shared', 'when the provider of identities last failed'],
  'src/access/password.ts: limit': load,
  'src/access/verified-token-cache.ts: verified': [
    'owned',
    'by the digest of the whole token: only who has it finds it',
  ],
  'src/access/work-limit.ts: queue': load,
  'src/access/work-limit.ts: running': load,
  'src/database/data-directory-lock.ts: owner': atStart,
  'src/database/postmaster.ts: stopping': atStart,
  'src/http/allowed-methods.ts: routes': ofRoutes,
  'src/http/authentication.ts: callers': ['owned', 'by the request, weakly'],
  'src/http/hidden-row.ts: refusedParts': ['owned', 'by the request, weakly'],
  'src/http/reference/openapi.ts: document': ofRoutes,
  'src/http/reference/openapi.ts: routes': ofRoutes,
  'src/http/reference/schemas.ts: NamedSchemas.#names': ofRoutes,
  'src/http/routes/health.ts: last': ['shared', 'whether the database answers, and the version of its schema'],
  'src/http/routes/health.ts: staleAt': ['shared', 'when that was'],
  'src/http/routes/reference.ts: json': ofRoutes,
  'src/http/routes/reference.ts: page': ofRoutes,
  'src/isolation/connection.ts: ConnectionPool.#backends': ['shared', 'pid, clock and name prefix of a connection'],
  'src/isolation/connection.ts: ConnectionPool.#numbers': [
    'shared',
    'numbers of statement texts; values are parameters, so no text has any (prepared-names.test.ts)',
  ],
  'src/isolation/connection.ts: Transaction.#broken': transaction,
  'src/isolation/connection.ts: Transaction.#failure': transaction,
  'src/isolation/connection.ts: Transaction.#identity': transaction,
  'src/isolation/connection.ts: Transaction.#state': transaction,
  'src/isolation/owner-filter.ts: mentions': ['shared', 'a pattern of the names of tables'],
  'src/isolation/scope.ts: Isolation.#prepared': ['shared', 'statements with holes where the user and the values go'],
  'src/log.ts: told': atStart,
  'src/repositories/tasks.ts: plainLists': ['shared', 'statements by order, limit and page, with holes for values'],
  'src/server.ts: closing': atStart,
  'src/work/export.ts: counts': oneCall,
  'src/work/export.ts: current': oneCall,
  'src/work/export.ts: running': load,
  'src/work/export.ts: written': oneCall,
  'src/work/task-bulk.ts: failed': oneCall,
  'src/work/task-bulk.ts: notFound': oneCall,
  'src/work/unauthorized-access.ts: dropped': load,
  'src/work/unauthorized-access.ts: droppedSinceTold': load,
  'src/work/unauthorized-access.ts: queue': refusedRows,
  'src/work/unauthorized-access.ts: refusals': refusedRows,
  'src/work/unauthorized-access.ts: rows': refusedRows,
  'src/work/unauthorized-access.ts: working': load,
};

const quietly = ['owned', 'the same failure reaches whoever waits for the request'] as const;

const later: Catalogue = {
  'src/access/api-token-check.ts: setTimeout in note': ['owned', 'writes each use under the user it was counted for'],
  'src/database/postmaster.ts: once exit in watch': atStart,
  'src/database/processes.ts: delay in waitUntil': atStart,
  'src/http/hidden-row.ts: hook onClose in registerHiddenRowWatch': atStart,
  'src/http/hidden-row.ts: hook onResponse in registerHiddenRowWatch': [
    'owned',
    'refusals go into the asker’s log in the asker’s scope; whose the row is goes to the operator’s security log alone',
  ],
  'src/http/protocol.ts: on checkExpectation in registerProtocolChecks': ['shared', 'hands the request on'],
  'src/http/request-log.ts: hook onResponse in registerRequestLog': ['denied', 'the operator’s log; no id, no body'],
  'src/http/routes/health.ts: setTimeout in within': ['shared', 'patience with the database'],
  'src/isolation/connection.ts: left to itself: catch in Transaction': quietly,
  'src/isolation/connection.ts: left to itself: catch in query': quietly,
  'src/isolation/connection.ts: left to itself: catch in seal': quietly,
  'src/isolation/connection.ts: on connect in ConnectionPool': ['shared', 'listens to a connection that may break'],
  'src/isolation/connection.ts: on error in ConnectionPool': ['shared', 'that a connection broke'],
  'src/isolation/connection.ts: on error in Transaction': transaction,
  'src/isolation/connection.ts: process.nextTick in #corkUntilNextTick': transaction,
  'src/isolation/scope.ts: left to itself: catch in asSystem': quietly,
  'src/isolation/scope.ts: left to itself: catch in mayBeIgnored': quietly,
  'src/isolation/scope.ts: left to itself: catch in readAsUser': quietly,
  'src/isolation/scope.ts: left to itself: catch in whenAdmitted': quietly,
  'src/log.ts: on error in guarded': atStart,
  'src/server.ts: delay in finishOrDrop': atStart,
  'src/server.ts: setInterval in remindOfDisabledIsolation': ['denied', 'a line for the operator, the same each time'],
};

const who = ['denied', 'the operator’s logs: who did it, by id'] as const;
const what = ['denied', 'the operator’s logs: names of the server’s own, no content of a row'] as const;

/** Members of lines in the logs. No user reads them; content of rows would still be content where it does not belong. */
const logged: Catalogue = {
  'a text made of parts': what,
  actor: what,
  address: who,
  attempts: what,
  check: what,
  detail: what,
  dropped: what,
  email_sha256: ['denied', 'the operator’s logs: which address was tried, as a digest'],
  enforcement: what,
  entity: what,
  err: ['denied', 'described by src/log-redaction.ts, which leaves values out (src/log.test.ts)'],
  event: what,
  id: who,
  method: what,
  ms: what,
  note: ['denied', 'the operator’s logs: what an administrator wanted'],
  outcome: what,
  reason: what,
  req_id: who,
  request_id: who,
  route: ['denied', 'the pattern, not the address'],
  scopes: what,
  seconds: what,
  session_id: who,
  status: what,
  token_id: who,
  url: ['denied', 'the address of the server itself'],
  user_id: who,
  version: what,
};

/** Packages in the serving process, for what they keep by themselves. */
const packages: Catalogue = {
  '@fastify/helmet': ['shared', 'headers, the same for everybody'],
  '@fastify/rate-limit': [
    'owned',
    'counters by user, address or digest of an e-mail address: src/http/credential-limit.ts makes each key',
  ],
  '@node-rs/argon2': ['shared', 'keeps nothing'],
  fastify: ['owned', 'a request and its answer'],
  jose: ['shared', 'the provider’s published keys'],
  kysely: ['shared', 'builds statements and cannot run them'],
  pg: ['shared', 'connections, between two transactions nobody’s (src/isolation/connection.ts)'],
  pino: ['denied', 'the operator’s logs'],
  uuid: ['shared', 'the last moment and counter of an id'],
  zod: ['shared', 'schemas'],
};

/** Ways out of the process that are neither an answer nor a connection to Postgres. */
const outside: Catalogue = {
  'src/access/secret.ts: node:fs/promises': atStart,
  'src/database/cluster.ts: node:child_process': atStart,
  'src/database/cluster.ts: node:fs': atStart,
  'src/database/data-directory-lock.ts: node:fs': atStart,
  'src/database/data-directory-lock.ts: node:sqlite': atStart,
  'src/database/embedded.ts: node:fs': atStart,
  'src/database/migrations.ts: node:fs': atStart,
  'src/database/postgres-binaries.ts: node:child_process': atStart,
  'src/database/postgres-binaries.ts: node:fs': atStart,
  'src/database/postmaster.ts: node:child_process': atStart,
  'src/database/postmaster.ts: node:fs': atStart,
  'src/database/postmaster.ts: node:net': atStart,
  'src/database/private-file.ts: node:fs': atStart,
  'src/database/processes.ts: node:child_process': atStart,
  'src/database/processes.ts: node:fs': atStart,
  'src/database/unprivileged.ts: node:child_process': atStart,
  'src/database/unprivileged.ts: node:fs': atStart,
  'src/http/protocol.ts: node:http': ['shared', 'names of statuses'],
  'src/log.ts: node:fs': ['denied', 'the operator’s logs'],
  'src/version.ts: node:fs': atStart,
  'src/work/export.ts: node:fs/promises': ['owned', 'a file without a name, of one export, gone when it is closed'],
};

const modules = modulesOf('src/server.ts');
const outsideModules = /^node:(?:fs|child_process|net|tls|dgram|http|https|http2|sqlite|worker_threads|cluster)/;
const enumerated: Readonly<Record<string, readonly [readonly string[], Catalogue]>> = {
  'what is kept between requests': [modules.flatMap(keptBy), kept],
  'what runs when nobody waits': [modules.flatMap(doneLaterBy), later],
  'what lines of the logs consist of': [modules.flatMap((one) => [...toldBy(one).keys()]), logged],
  packages: [
    modules.flatMap(({ imports }) => [...imports.keys()].filter((name) => !/^(?:\.|node:)/.test(name))),
    packages,
  ],
  'ways out of the process': [
    modules.flatMap(({ path, imports }) =>
      [...imports.keys()].filter((name) => outsideModules.test(name)).map((name) => `${path}: ${name}`),
    ),
    outside,
  ],
};

test('the serving process is read whole, and has nothing of commands or rollouts in it', () => {
  const rooms = new Set(
    modules.map(({ path }) => path.split('/').slice(0, 2).join('/')).filter((path) => !path.endsWith('.ts')),
  );
  // Commands and rollouts run with the owner's log-in, for who has it; a room that is not here (MCP, jobs) is to be
  // enumerated as routes and repositories are.
  expect([...rooms].sort()).toEqual(
    ['access', 'contract', 'database', 'http', 'isolation', 'repositories', 'work'].map((room) => `src/${room}`),
  );
  expect(modules.length).toBeGreaterThan(150);
});

describe('each is a user’s own, everybody’s, or out of users’ reach', () => {
  test.each(Object.keys(enumerated))('%s', (kind) => {
    const [found = [], catalogue = {}] = enumerated[kind] ?? [];
    expect([...new Set(found)].sort()).toEqual(Object.keys(catalogue).sort());
  });
});

describe('it can fail: what somebody adds is found', () => {
  const planted = (text: string) => parseModule('src/work/planted.ts', text);

  test.each([
    ['a cache of the module', 'const seen = new Map(); export function f(id) { seen.set(id, 1); }', 'seen'],
    ['a variable of the module', 'let last; export const f = (row) => { last = row; };', 'last'],
    ['a record of the module', 'const memo = {}; export function f(key, row) { memo[key] = row; }', 'memo'],
    [
      'a cache inside a record',
      'const kept = { answers: new Map() }; export function f(key, row) { kept.answers.set(key, row); }',
      'kept',
    ],
    [
      'a list deep inside a record',
      'const kept = { last: { rows: [] } }; export function f(row) { kept.last.rows.push(row); }',
      'kept',
    ],
    [
      'a list inside a cache',
      'const seen = new Map([[1, []]]); export function f(id, row) { seen.get(id)?.push(row); }',
      'seen',
    ],
    ['a record that is added to', 'const memo = {}; export function f(row) { Object.assign(memo, row); }', 'memo'],
    [
      'a record inside one that is added to',
      'const kept = { rows: {} }; export function f(row) { Object.assign(kept.rows, row); }',
      'kept',
    ],
    [
      'a record without a prototype',
      'const memo = Object.create(null); export function f(key, row) { memo[key] = row; }',
      'memo',
    ],
    ['a store that is made elsewhere', 'const store = make(); export function f(row) { store.add(row); }', 'store'],
    ['a record in a field', 'export class Feed { readonly #kept = { rows: [] }; }', 'Feed.#kept'],
    ['a cache in a closure', 'export function g() { const c = new Map(); return (k) => c.set(k, 1); }', 'c'],
    ['a field', 'export class Feed { #rows = new Map(); }', 'Feed.#rows'],
    ['a field that changes', 'export class Feed { latest = undefined; }', 'Feed.latest'],
  ])('%s', (_, text, name) => {
    expect(keptBy(planted(text))).toEqual([`src/work/planted.ts: ${name}`]);
  });

  test('and what ends with its call is not', () => {
    const text =
      'export function f(rows) { const seen = new Set(); rows.forEach((row) => { seen.add(row); }); let n = 0; n += 1; return seen; }';
    expect(keptBy(planted(text))).toEqual([]);
  });

  test.each([
    ['a timer', 'export function sweep() { setInterval(() => {}, 1000); }', 'setInterval in sweep'],
    ['a promise left to itself', 'export function f(work) { work().catch(() => {}); }', 'left to itself: catch in f'],
    [
      'a hook after the answer',
      `export function f(app) { app.addHook('onResponse', () => {}); }`,
      'hook onResponse in f',
    ],
    ['a listener', `export const f = (client) => client.on('notification', () => {});`, 'on notification in f'],
  ])('%s', (_, text, name) => {
    expect(doneLaterBy(planted(text))).toEqual([`src/work/planted.ts: ${name}`]);
  });

  test.each([
    ['a member', `log.info({ title: task.title }, 'changed');`, ['title']],
    ['a member by a spread', 'function about(t) { return { title: t }; } log.info({ ...about(task) });', ['title']],
    ['a whole row', 'securityLog.event(name, row);', ['…']],
    ['a text', 'log.warn(`task $' + '{task.title}`);', ['a text made of parts']],
  ])('a line of a log: %s', (_, text, names) => {
    expect([...toldBy(planted(text)).keys()]).toEqual(names);
  });
});
