/** Defects of connections, transactions and scopes. */
import { inCode, type Mutant, suite } from './mutant.ts';

const { identityOracle, matrix, preparedNames, repositories, scope: scopes } = suite;
const identitySent = 'src/isolation/identity-sent.test.ts';
const oneFlush = 'src/isolation/one-flush.test.ts';
const connection = 'src/isolation/connection.ts';
const scope = 'src/isolation/scope.ts';
const base = 'src/repositories/base-user-scoped-repository.ts';
const admission = 'src/database/isolation.ts';

const noUser: readonly [string, string] = ['if (!caller || parseUserId(caller.userId) === null) {', 'if (false) {'];

export const coreMutants: readonly Mutant[] = [
  inCode('I1', 'a repository is made without a scope', repositories, base, [
    "if (!scope?.caller) throw new TypeError('a repository needs the scope of a user');",
    '',
  ]),
  inCode('I1', 'system mode’s rows without system mode', repositories, 'src/repositories/system-rows.ts', [
    "if (!scope?.use) throw new TypeError('system mode is required');",
    '',
  ]),
  inCode('I1', 'the builder runs statements by itself', suite.ownerFilter, 'src/isolation/cold-dialect.ts', [
    'acquireConnection: async () => refuse(),',
    'acquireConnection: async () => ({ executeQuery: async () => ({ rows: [] }), streamQuery: () => refuse() }),',
  ]),
  inCode('I2', 'a missing user is system mode', scopes, scope, noUser, [
    "if (this.enforcement !== 'on') return this.#options.system.begin(mode);",
    "if (this.enforcement !== 'on' || !caller?.userId) return this.#options.system.begin(mode);",
  ]),
  inCode('I2', 'the identity is not checked in the flush', identitySent, scope, [
    "set_config('ringfence.identity', $1, true), ringfence.current_user_id()",
    "set_config('ringfence.identity', $1, true)",
  ]),
  inCode('I2', 'who may not act is answered all the same', scopes, scope, ['  await admitted;\n', '']),
  inCode('I2', 'a suspended account may act', scopes, admission, [
    "and status = 'active' and tokens_valid_after",
    'and tokens_valid_after',
  ]),
  inCode('I2', 'tokens from before a password change are good', scopes, admission, [
    'and tokens_valid_after <= $2',
    'and $2::timestamptz is not null',
  ]),
  inCode('I2', 'tokens of a session that was ended are good', scopes, admission, [
    'and revoked_at is null and expires_at',
    'and expires_at',
  ]),
  inCode('I4', 'the identity is set for the whole session', identitySent, scope, [
    "set_config('ringfence.identity', $1, true), ringfence",
    "set_config('ringfence.identity', $1, false), ringfence",
  ]),
  inCode('I4', 'the identity stands in the statement’s text', identitySent, scope, [
    'sql: becomeUser,\n      parameters: [mintIdentity(key, caller.userId, transaction.pid, now)],',
    "sql: becomeUser.replace('$1', `'${mintIdentity(key, caller.userId, transaction.pid, now)}'`),\n      parameters: [],",
  ]),
  inCode('I4', 'the identity is good on any connection', identitySent, connection, [
    'pid: announced === row.pid ? row.pid : 0,',
    'pid: 0,',
  ]),
  inCode('I6', 'a handle outlives its transaction', scopes, connection, [
    "if (this.#state !== 'open') throw new DeadHandleError();\n    this.#renewIdentity();",
    'this.#renewIdentity();',
  ]),
  inCode('I6', 'what the user before left on the session stays', scopes, connection, [
    "'reset all; close all; select pg_advisory_unlock_all(); unlisten *'",
    "'select 1'",
  ]),
  inCode('I6', 'a COMMIT that rolled back counts as one', scopes, connection, [
    "if (verb === 'commit' && result.command !== 'COMMIT') {",
    'if (false) {',
  ]),
  inCode('I6', 'a read may write', scopes, scope, [
    "await this.#open(requireUser(caller), 'read only');",
    "await this.#open(requireUser(caller), 'read write');",
  ]),
  inCode('I6', 'statements wait for each other', oneFlush, connection, ['pipeline: true,', 'pipeline: false,']),
  inCode('I6', 'a read asks for its COMMIT when it has its answer', oneFlush, scope, [
    'const committed = transaction.seal();\n      const result = await whenAdmitted(admitted, working);',
    'const result = await whenAdmitted(admitted, working);\n      const committed = transaction.seal();',
  ]),
  inCode('I8', 'transactions that do not begin as deferrable', identityOracle, connection, [
    '`begin isolation level read committed, deferrable, ${mode}',
    '`begin isolation level read committed, ${mode}',
  ]),
  inCode('I6', 'names of prepared statements can be guessed', preparedNames, connection, [
    "namePrefix: `rf${randomBytes(12).toString('hex')}_`,",
    "namePrefix: `rf${'0'.repeat(24)}_`,",
  ]),
  inCode('I6', 'a statement under one of our names is run', preparedNames, connection, [
    'if (backend.namesShow && backend.pid !== 0) {',
    'if (false) {',
  ]),
  inCode('I6', 'a text may hold two statements', scopes, scope, [
    'transaction.query<Row & Record<string, unknown>>({ sql: marked, parameters, single: true });',
    'transaction.query<Row & Record<string, unknown>>({ sql: marked, parameters });',
  ]),
  inCode(
    'I3',
    'a prepared statement remembers its first user',
    matrix,
    scope,
    ['this.#prepare(statement);', 'this.#prepare(statement, caller.userId);'],
    [
      'statement: PreparedStatement<DB, Readonly<Record<string, unknown>>, Row>): Statement {',
      'statement: PreparedStatement<DB, Readonly<Record<string, unknown>>, Row>, first: UserId): Statement {',
    ],
    ['this.#userFilter(callerHole)', 'this.#userFilter(first)'],
  ),
  inCode('I7', 'system mode is not written down', scopes, scope, [
    'this.#options.recordSystemUse(scope);',
    'Promise.resolve();',
  ]),
  inCode('I7', 'statements of system mode are not marked', scopes, scope, ['`${verb} ${mark}`', 'verb']),
  inCode('I7', 'a reason can end the mark that it stands in', scopes, scope, [
    "${reason.replaceAll(/[^\\w .,:-]/g, ' ')}",
    '${reason}',
  ]),
  inCode('I7', 'before anybody is known, everybody’s rows are in reach', scopes, scope, [
    "{ kind: 'accounts' });",
    "{ kind: 'system', marked: true });",
  ]),
];
