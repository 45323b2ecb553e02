/** Defects of the accounts scope, which has no wall: a condition is left out of each of its statements in turn. */
import { inCode, type Mutant } from './mutant.ts';

const suite = 'test/isolation/accounts-scope.test.ts';
const providers = 'src/access/provider-accounts.test.ts';
const accounts = 'src/repositories/accounts.ts';
const sessions = 'src/repositories/sessions.ts';
const apiTokens = 'src/repositories/api-tokens.ts';

/** The first condition of a statement, by what stands behind it. */
const left = (condition: string, behind: string): readonly [string, string] => [`${condition}${behind}`, behind];

const byId = `        .where('id', '=', id)`;
const byUser = `        .where('user_id', '=', userId)\n`;

export const accountMutants: readonly Mutant[] = [
  inCode('I2', 'an e-mail address signs in to any account', suite, accounts, [
    'this.#accounts().where(sql<boolean>`lower(email) = lower(${email}::text)`)',
    'this.#accounts()',
  ]),
  inCode('I2', 'the password of any account is the caller’s', suite, accounts, [
    "this.#accounts().where('id', '=', id)",
    'this.#accounts()',
  ]),
  inCode('I2', 'an outside subject is the same with every provider', providers, accounts, [
    "where(outside, '=', `${issuer} ${subject}`)",
    "where('external_subject', '=', subject)",
  ]),
  inCode('I2', 'an outside provider has one account', providers, accounts, [
    "where(outside, '=', `${issuer} ${subject}`)",
    "where('external_issuer', '=', issuer)",
  ]),
  inCode('I3', 'who signs in is shown any account', suite, accounts, [
    "db.selectFrom('users').where('id', '=', id)",
    "db.selectFrom('users')",
  ]),
  inCode('I3', 'a wrong password locks everybody out', suite, accounts, [
    ...left(byId, '\n        .where(notLocked)\n        .returning('),
  ]),
  inCode('I3', 'a right password forgets everybody’s failures', suite, accounts, [
    ...left(byId, "\n        .where('status', '=', 'active')"),
  ]),
  inCode('I3', 'a log-in is everybody’s last', suite, accounts, [
    "last_login_at: sql<Date>`now()` }).where('id', '=', id)",
    'last_login_at: sql<Date>`now()` })',
  ]),
  inCode('I3', 'a change of password refuses everybody’s tokens', suite, accounts, [
    ...left(byId, ',\n    );\n  }\n\n  #accounts() {'),
  ]),
  inCode('I3', 'a session is found by its own id alone', suite, sessions, [
    "        .where('sessions.user_id', '=', userId)\n",
    '',
  ]),
  inCode('I2', 'any session of the user is gone on with', suite, sessions, [
    "        .where('sessions.id', '=', id)\n",
    '',
  ]),
  inCode('I3', 'an exchange changes another user’s session of the same id', suite, sessions, [
    ...left(byUser, `${byId},\n`),
  ]),
  inCode('I2', 'an exchange changes all sessions of the user', suite, sessions, [
    ...left(byId, ',\n    );\n  }\n\n  /** Locks the session until'),
  ]),
  inCode('I3', 'a session is live when another user’s of the same id is', suite, sessions, [
    ...left(byUser, `${byId}\n        .where('revoked_at', 'is', null)`),
  ]),
  inCode('I2', 'a session is live when another of the user is', suite, sessions, [
    ...left(byId, "\n        .where('revoked_at', 'is', null)"),
  ]),
  inCode('I2', 'a refresh token that is used twice ends all sessions of the user', suite, sessions, [
    "this.#ending(userId, reason).where('id', '=', id)",
    'this.#ending(userId, reason)',
  ]),
  inCode('I3', 'a change of password ends everybody’s sessions', suite, sessions, [
    ...left("\n      .where('user_id', '=', userId)", "\n      .where('revoked_at', 'is', null);"),
  ]),
  inCode('I3', 'an API token is found by its own id alone', suite, apiTokens, [
    "        .where('api_tokens.user_id', '=', userId)\n",
    '',
  ]),
  inCode('I2', 'any API token of the user is meant', suite, apiTokens, [
    "        .where('api_tokens.id', '=', id)\n        .select([\n",
    '        .select([\n',
  ]),
  inCode('I3', 'a use is counted on another user’s token of the same id', suite, apiTokens, [
    ...left(byUser, `${byId},\n`),
  ]),
  inCode('I2', 'a use is counted on all tokens of the user', suite, apiTokens, [
    ...left(`\n${byId}`, ',\n    );\n  }\n}\n'),
  ]),
  inCode('I3', 'what happens to an account stands in everybody’s log', suite, 'src/repositories/access-log.ts', [
    "          .where('users.id', '=', event.userId)\n",
    '',
  ]),
  inCode('I7', 'who makes an administrator makes everybody one', suite, 'src/repositories/account-administration.ts', [
    '        .where(sql<boolean>`lower(email) = lower(${email}::text)`)\n',
    '',
  ]),
];
