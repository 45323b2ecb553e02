/** Defects of tokens, sessions and logs: who somebody is comes before whose rows are seen. */
import { inCode, type Mutant } from './mutant.ts';

const localToken = 'src/access/local-token.ts';
const jwt = 'src/access/jwt.test.ts';
const auth = 'src/http/routes/auth.test.ts';
const apiTokens = 'src/http/routes/api-tokens.test.ts';
const apiCheck = 'src/access/api-token-check.ts';
const sessions = 'src/access/sessions.ts';

export const accessMutants: readonly Mutant[] = [
  inCode('I2', 'a JWT without a signature that fits', jwt, localToken, [
    'const { payload } = await jwtVerify(token, key, {',
    "const { payload } = { payload: JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as JWTPayload };\n        if (form.claimedIssuer === '') await jwtVerify(token, key, {",
  ]),
  inCode('I2', 'a JWT by any algorithm', jwt, localToken, [
    'algorithms: [algorithm],',
    "algorithms: ['HS256', 'HS384', 'HS512', algorithm],",
  ]),
  inCode('I2', 'a JWT that has expired', jwt, localToken, [
    '          currentDate,\n',
    '          currentDate: new Date(0),\n',
  ]),
  inCode('I2', 'a JWT for somebody else', jwt, localToken, ['          audience,\n', '']),
  inCode('I2', 'a JWT of another kind', jwt, localToken, ['          typ: accessTokenType,\n', '']),
  inCode('I2', 'a JWT from the future', jwt, localToken, [' || claims.data.iat > now + clockSkewSeconds', '']),
  inCode(
    'I2',
    'a remembered token that has expired',
    'src/access/verified-token-cache.test.ts',
    'src/access/verified-token-cache.ts',
    ['if (known.expiresAt > Math.floor(clock.now() / 1000)) {', 'if (known) {'],
  ),
  inCode(
    'I3',
    'tokens are remembered by what all have in common',
    'src/access/verified-token-cache.test.ts',
    'src/access/verified-token-cache.ts',
    ["hash('sha256', token, 'base64')", "hash('sha256', token.split('.')[0] ?? '', 'base64')"],
  ),
  inCode('I2', 'tokens in the address', 'src/access/authenticate.test.ts', 'src/http/authentication.ts', [
    '    refuseSecretsInQuery(request);\n',
    '',
  ]),
  inCode('I2', 'what a token may do is not checked', apiTokens, 'src/http/authentication.ts', [
    "if (!caller.scopes.includes(access === 'admin' ? 'admin' : access)) {",
    "if (access === 'admin' && !caller.scopes.includes(access)) {",
  ]),
  inCode(
    'I7',
    'the scope of administrators is not checked',
    'src/http/routes/administration.test.ts',
    'src/access/caller.ts',
    [" && (scope !== 'admin' || held.includes('admin'))", ''],
  ),
  inCode('I2', 'an API token has all rights of its user', apiTokens, apiCheck, [
    'scopesOf(held, token.scopes)',
    'scopesOf(held)',
  ]),
  inCode(
    'I2',
    'an API token that was revoked',
    apiTokens,
    apiCheck,
    ['if (found.revoked || found.expired', 'if (found.expired'],
    ["if (!token || token.revoked || token.status !== 'active')", "if (!token || token.status !== 'active')"],
  ),
  inCode('I2', 'an API token whose secret is wrong', apiTokens, apiCheck, [
    ' || !hashesEqual(found.token_hash, secretHash)',
    ' || secretHash.length === 0',
  ]),
  inCode('I2', 'an API token that has expired', apiTokens, apiCheck, [
    "    if (token.expired) throw tokenFault('expired');\n",
    '',
  ]),
  inCode('I2', 'an API token changes the account itself', apiTokens, 'src/access/caller.ts', [
    "if (caller.actor === 'token') {",
    'if (false) {',
  ]),
  inCode('I2', 'a refresh token is used twice', auth, sessions, [
    "if (!session.in_grace || !previous || !hashesEqual(previous, presented.secretHash)) return 'reused';",
    "if (!previous) return 'reused';",
  ]),
  inCode('I2', 'a refresh token of a session that was ended', auth, sessions, [
    '!session || session.ended ||',
    '!session ||',
  ]),
  inCode('I2', 'a refresh token of a suspended account', 'src/access/sessions.test.ts', sessions, [
    " || session.status !== 'active') return 'invalid';",
    ") return 'invalid';",
  ]),
  inCode(
    'I2',
    'a refresh token that nobody gave out',
    'src/access/refresh-token.test.ts',
    'src/access/refresh-token.ts',
    [
      'return this.#accepted.some((keys) => hashesEqual(mark, markOf(keys, userId, rowId, half))) ? parsed : null;',
      'return this.#accepted.length > 0 && mark.length === half.length ? parsed : null;',
    ],
  ),
  inCode('I2', 'a suspended or quarantined account signs in', auth, 'src/access/accounts.ts', [
    "account?.status === 'active' && account.locked_seconds === 0;",
    'account?.locked_seconds === 0;',
  ]),
  inCode('I2', 'any password fits', auth, 'src/access/accounts.ts', [
    'return matches && open ? stored',
    'return open ? stored',
  ]),
  inCode('I8', 'secrets in the log', 'src/log.test.ts', 'src/log-redaction.ts', [
    'if (!suspicious.test(line)) return line;',
    'return line;',
  ]),
  inCode('I8', 'whole rows in the log of a fault', 'src/log.test.ts', 'src/log-redaction.ts', [
    "    ...text('constraint'),\n",
    "    ...text('constraint'),\n    ...text('detail'),\n",
  ]),
  inCode(
    'I2',
    'an e-mail address of an outside provider joins an account',
    'src/access/provider-accounts.test.ts',
    'src/access/provider-accounts.ts',
    [
      'const known = await accounts.findByProvider(token.issuer, token.subject);',
      "const known = (await accounts.findByProvider(token.issuer, token.subject)) ?? (await accounts.findByEmail(token.email ?? ''));",
    ],
  ),
];
