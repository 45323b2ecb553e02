/**
 * Credentials that are none: everything that RFC 8725 warns of and what else a forger would try. Many are signed with the
 * server's real secret, so that what refuses them is the check in question and not the signature.
 */
import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { mintOpaqueToken, opaqueTokenLength } from '../../../../src/access/opaque-token.ts';
import { type Case, properDraft, type Scene } from './case.ts';
import { turned } from './families.ts';
import { issuer, type Person } from './people.ts';
import type { Random } from './random.ts';

/** `refused`: 401, whatever else is wrong. `powerless`: may look genuine, and must still get nothing. */
interface Forgery {
  readonly name: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly query?: readonly string[];
  readonly fate: 'refused' | 'powerless' | 'unreadable' | 'accepted';
}

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const publicPem = rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString();

const base64url = (text: string | Uint8Array) => Buffer.from(text).toString('base64url');
const json = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));

type Signer = (input: string) => string;
const hmac =
  (key: string | Uint8Array, hash = 'sha256'): Signer =>
  (input) =>
    createHmac(hash, key).update(input).digest('base64url');
const genuine = hmac(issuer.secretKey);
const rs256: Signer = (input) => sign('sha256', Buffer.from(input), rsa.privateKey).toString('base64url');
const es256: Signer = (input) =>
  sign('sha256', Buffer.from(input), { key: ec.privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url');
const unsigned: Signer = () => '';

/** Header and claims are texts when they hold what no object can, such as one name twice. */
function jwt(header: unknown, claims: unknown, signer: Signer): string {
  const input = `${base64url(json(header))}.${base64url(json(claims))}`;
  return `${input}.${signer(input)}`;
}

const ourHeader = { alg: 'HS256', typ: 'at+jwt' };

function ourClaims(person: Person, now: number) {
  return {
    sub: person.id,
    sid: person.sessionId,
    email: person.email,
    roles: ['user'],
    iss: issuer.issuer,
    aud: issuer.audience,
    iat: now - 5,
    exp: now + 3_600,
    jti: 'fuzz',
  };
}

/** Names of these are figures of the report. */
export const forgeries: readonly ((scene: Scene, now: number) => Forgery)[] = [
  ({ random, self }, now) => {
    const alg = random.pick(['none', 'None', 'NONE', 'nOnE', '', 'null', 'HS256 ']);
    const end = random.pick([unsigned, genuine, hmac(''), () => 'AA']);
    return bearer('alg none', jwt({ ...ourHeader, alg }, ourClaims(self, now), end));
  },
  ({ random, victims }, now) =>
    bearer('unsigned, of a victim', jwt({ ...ourHeader, alg: 'none' }, ourClaims(random.pick(victims), now), unsigned)),
  ({ random, self }, now) => {
    const [alg, hash] = random.pick([
      ['HS384', 'sha384'],
      ['HS512', 'sha512'],
      ['HS1', 'sha1'],
      ['hs256', 'sha256'],
    ] as const);
    return bearer('another HMAC', jwt({ ...ourHeader, alg }, ourClaims(self, now), hmac(issuer.secretKey, hash)));
  },
  ({ random, self }, now) => {
    const key = random.pick([publicPem, publicPem.trim(), rsa.publicKey.export({ type: 'spki', format: 'der' })]);
    return bearer(
      'RS/HS confusion',
      jwt({ ...ourHeader, alg: random.pick(['HS256', 'RS256']) }, ourClaims(self, now), hmac(key)),
    );
  },
  ({ random, victims }, now) => {
    const [alg, signer] = random.pick([
      ['RS256', rs256],
      ['ES256', es256],
      ['PS256', rs256],
      ['EdDSA', es256],
    ] as const);
    const jwk = (alg === 'RS256' ? rsa : ec).publicKey.export({ format: 'jwk' });
    const header = random.pick<unknown>([
      { jwk },
      { jku: 'https://evil.example/jwks' },
      { x5u: 'https://evil.example/x' },
      { x5c: ['MIIB'] },
      {},
      { kid: 'a' },
    ]);
    return bearer(
      'own key',
      jwt({ ...ourHeader, alg, ...Object(header) }, ourClaims(random.pick(victims), now), signer),
    );
  },
  ({ random, victims }, now) => {
    const kid = random.pick<unknown>([
      '../../../../dev/null',
      '/dev/null',
      "' union select 'key' --",
      '| id',
      'x'.repeat(600),
      '',
      0,
      null,
      {},
      ['a'],
      '\0',
      'http://evil.example/',
    ]);
    const signer = random.pick([hmac(''), hmac('key'), hmac('\0'), genuine]);
    return bearer('kid', jwt({ ...ourHeader, kid }, ourClaims(random.pick(victims), now), signer));
  },
  ({ random, self }, now) => {
    const extra = random.pick<object>([
      { crit: ['exp'] },
      { crit: [] },
      { crit: ['b64'], b64: false },
      { b64: false },
      { zip: 'DEF' },
      { enc: 'A256GCM' },
      { jku: 'http://127.0.0.1/' },
      { x5u: 'file:///dev/zero' },
      { x5c: [] },
      { jwk: { kty: 'oct', k: 'AA' } },
      { cty: 'JWT' },
      { typ: 'JWT' },
      { typ: undefined },
      { typ: 'logout+jwt' },
      { typ: 1 },
      { alg: ['HS256'] },
      { alg: null },
      { alg: undefined },
      { iss: 'ringfence' },
      { 'http://x/': 1 },
    ]);
    return bearer('header', jwt({ ...ourHeader, ...extra }, ourClaims(self, now), genuine));
  },
  ({ random, self, victims }, now) => {
    const claims = JSON.stringify(ourClaims(self, now));
    const name = random.pick(['sub', 'sid', 'exp', 'iss', 'roles', 'aud', 's\\u0075b', 'extra']);
    const value = JSON.stringify(random.pick(victims).id);
    const twice = random.chance(0.5)
      ? `{"${name}":${value},${claims.slice(1)}`
      : `${claims.slice(0, -1)},"${name}":${value}}`;
    // Every claim but "extra" is in there already.
    const text = name === 'extra' ? `${twice.slice(0, -1)},"extra":1}` : twice;
    const header = random.chance(0.2) ? '{"alg":"none","alg":"HS256","typ":"at+jwt"}' : ourHeader;
    return bearer('duplicated claims', jwt(header, text, genuine));
  },
  ({ random, self }, now) => {
    const times = random.pick<object>([
      { exp: now - 1 },
      { exp: 0 },
      { exp: -1 },
      { exp: `${now + 3600}` },
      { exp: null },
      { exp: undefined },
      { exp: [now + 3600] },
      { exp: 1e300 },
      { exp: true },
      { exp: {} },
      { exp: (now + 3600) * 1000 },
      { iat: now + 3_600 },
      { iat: `${now}` },
      { iat: undefined },
      { iat: -5 },
      { iat: null },
      { iat: 1e300 },
      { nbf: now + 3_600 },
      { nbf: 'x' },
      { nbf: null },
      { nbf: {} },
    ]);
    return bearer('exp, iat, nbf', jwt(ourHeader, { ...ourClaims(self, now), ...times }, genuine));
  },
  ({ self }, now) => {
    const claims = JSON.stringify(ourClaims(self, now)).replace(/"exp":\d+/, '"exp":1e999');
    return bearer('exp without end', jwt(ourHeader, claims, genuine));
  },
  ({ random, self }, now) => {
    const who = random.pick<object>([
      { aud: 'other' },
      { aud: [issuer.audience] },
      { aud: [] },
      { aud: undefined },
      { aud: '' },
      { iss: 'other' },
      { iss: undefined },
      { iss: [issuer.issuer] },
      { iss: `${issuer.issuer} ` },
      { iss: issuer.issuer.toUpperCase() },
      { iss: { toString: 1 } },
      { sub: undefined },
      { sub: '' },
      { sub: 1 },
      { sub: null },
      { sub: [self.id] },
      { sub: `${self.id} ` },
      { sub: `${self.id}\0` },
      { sub: "' or ''='" },
      { sub: 'admin' },
      { sub: self.email },
      { sid: undefined },
      { sid: '' },
      { sid: 1 },
      { sid: null },
      { roles: [] },
      { roles: 'admin' },
      { roles: ['root'] },
      { roles: ['user', 'admin', 'user'] },
      { roles: undefined },
      { jti: '' },
      { jti: undefined },
      { jti: 'x'.repeat(129) },
      { email: '' },
      { email: 1 },
      { email: undefined },
    ]);
    return bearer('claims', jwt(ourHeader, { ...ourClaims(self, now), ...who }, genuine));
  },
  ({ random, self, victims, operation }, now) => {
    // Signed as only the server can; the database knows that the session is not this user's, or not there.
    const victim = random.pick(victims);
    const claims = random.pick<object>([
      // A refused administrator's log has the attempt, whose session it was or not: the secret itself was used.
      ...(operation.access === 'admin' ? [] : [{ sub: victim.id }]),
      { sid: victim.sessionId },
      { sid: random.uuid() },
      { sub: random.uuid(), sid: random.uuid() },
      { sub: '00000000-0000-4000-8000-000000000000' },
      { sub: '00000000-0000-4000-8000-000000000000', sid: self.sessionId },
    ]);
    return {
      ...bearer('session of somebody else', jwt(ourHeader, { ...ourClaims(self, now), ...claims }, genuine)),
      fate: 'powerless',
    };
  },
  ({ self, operation }, now) => ({
    ...bearer('role that is not held', jwt(ourHeader, { ...ourClaims(self, now), roles: ['user', 'admin'] }, genuine)),
    fate: operation.access === 'admin' ? 'powerless' : 'accepted',
  }),
  ({ random, self }) => bearer('bit turned', turnedToken(random, self.accessToken)),
  ({ random, self }) => {
    const [head = '', body = '', mac = ''] = self.accessToken.split('.');
    return bearer(
      'shape',
      random.pick([
        `${head}.${body}`,
        `${head}.${body}.`,
        `${head}.${body}.${mac}.`,
        `${head}.${body}.${mac}.${mac}`,
        `.${body}.${mac}`,
        `${head}..${mac}`,
        '.',
        '..',
        '...',
        'a',
        'e30.e30.e30',
        `${head}.${body}.${mac}=`,
        `${head}=.${body}.${mac}`,
        `${mac}.${body}.${head}`,
        `${body}.${head}.${mac}`,
        `${head}.${body}.${mac.slice(0, -1)}`,
        `${head}.${body}.${mac}A`,
        `${head}.${body}.${mac.slice(0, 20)}`,
        `${head}.${body}.${'A'.repeat(43)}`,
        `${head}.e30.${mac}`,
        `bnVsbA.bnVsbA.${mac}`,
        `W10.W10.${mac}`,
        self.accessToken.toUpperCase(),
        self.accessToken.toLowerCase(),
        'rft_',
        'rfr_',
        'null',
        'undefined',
        '0',
        '-',
        '~',
        '=',
        self.sessionId,
        self.id,
      ]),
    );
  },
  ({ random, self }) => {
    const { accessToken: token } = self;
    const value = random.pick([
      `Bearer ${token},${token}`,
      `Bearer ${token} ${token}`,
      `Bearer "${token}"`,
      `Bearer token=${token}`,
      `Bearer\t${token}`,
      `Bearer:${token}`,
      `Bearer=${token}`,
      token,
      `Bearer`,
      `Bearer `,
      '',
      ' ',
      `Basic ${Buffer.from(`${self.email}:x`).toString('base64')}`,
      `Digest username="x"`,
      `Token ${token}`,
      `JWT ${token}`,
      `Bearer Bearer ${token}`,
      `Be\xe0rer ${token}`,
      `bearer\xa0${token}`,
      `Negotiate ${token}`,
      `Bearer ${token}\xff`,
      `Bearer %20${token}`,
      `Bearer ${token}%00`,
      `Bearer ${encodeURIComponent(`${token}/`)}`,
      `DPoP ${token}`,
      `null`,
      `Bearer {{token}}`,
    ]);
    return { name: 'scheme', headers: [['authorization', value]], fate: 'refused' };
  },
  ({ random, self }) => ({
    name: 'scheme in lower case',
    headers: [['authorization', `${random.pick(['bearer', 'BEARER', 'bEARER'])} ${self.accessToken}`]],
    fate: 'accepted',
  }),
  ({ random, self, victims }, now) => {
    const other = random.pick([
      `Bearer ${self.accessToken}`,
      'Bearer x',
      '',
      'Basic eDp5',
      `Bearer ${jwt({ alg: 'none' }, ourClaims(random.pick(victims), now), unsigned)}`,
    ]);
    const both: [string, string][] = [
      ['authorization', `Bearer ${self.accessToken}`],
      ['Authorization', other],
    ];
    return {
      name: 'several Authorization headers',
      headers: random.chance(0.5) ? both : both.reverse(),
      fate: 'refused',
    };
  },
  ({ random }) => {
    const size = random.pick([4_000, 8_190, 8_193, 8_300, 12_000, 15_000]);
    const token = random.pick([
      'a'.repeat(size),
      `${'a'.repeat(size / 2)}.${'b'.repeat(size / 2)}.c`,
      `rft_${'A'.repeat(size)}`,
      '.'.repeat(size),
    ]);
    return bearer('huge token', token);
  },
  ({ random }) => ({
    name: 'beyond all headers',
    headers: [['authorization', `Bearer ${'a'.repeat(16_400 + random.below(20_000))}`]],
    fate: 'unreadable',
  }),
  ({ random }, now) => {
    const claims = `{"iss":"ringfence","a":${'['.repeat(2_500)}${']'.repeat(2_500)},"exp":${now + 99}}`;
    return bearer(
      'deep claims',
      jwt(
        random.chance(0.5) ? ourHeader : `{"alg":"HS256","typ":"at+jwt","a":${'['.repeat(400)}${']'.repeat(400)}}`,
        claims.slice(0, 5_200),
        genuine,
      ),
    );
  },
  ({ random, self }) => bearer('API token, bit turned', turnedToken(random, self.apiTokens.good)),
  ({ random, self }) => bearer('API token, over', random.pick([self.apiTokens.revoked, self.apiTokens.expired])),
  ({ random, victims }) => {
    const { apiTokens } = random.pick(victims);
    return bearer(
      'API token of a victim, over or bit turned',
      random.pick([apiTokens.revoked, apiTokens.expired, turnedToken(random, apiTokens.good)]),
    );
  },
  ({ random, self, victims }) => {
    const victim = random.pick(victims);
    const secret = Buffer.from(self.apiTokens.good.slice(4), 'base64url').subarray(32);
    const ids: readonly (readonly [string, string])[] = [
      [victim.id, victim.apiTokenIds[0] ?? ''],
      [victim.id, self.apiTokenIds[0] ?? ''],
      [self.id, victim.apiTokenIds[0] ?? ''],
      [self.id, self.sessionId],
      [victim.id, victim.sessionId],
    ];
    const [user, row] = random.pick(ids);
    return bearer('API token with ids of others', mintOpaqueToken('api', user, row, secret).token);
  },
  ({ random, self, victims }) => {
    const zero = Buffer.alloc(32);
    const token = random.pick([
      mintOpaqueToken('refresh', self.id, self.sessionId, zero).token,
      self.apiTokens.good.replace('rft_', 'rfr_'),
      self.apiTokens.good.replace('rft_', 'RFT_'),
      `${self.apiTokens.good}=`,
      self.apiTokens.good.slice(0, -1),
      `${self.apiTokens.good}A`,
      `rft_${self.apiTokens.good}`,
      'rft_'.padEnd(opaqueTokenLength, 'A'),
      'rft_'.padEnd(opaqueTokenLength, '_'),
      'rft_'.padEnd(opaqueTokenLength, '+'),
      mintOpaqueToken('api', random.pick(victims).id, random.pick(victims).world.api_token, zero).token,
      self.apiTokens.good.replace('_', '.'),
    ]);
    return bearer('API token, form', token);
  },
  ({ self, operation }) => ({
    ...bearer('API token without the scope', self.apiTokens.readOnly),
    fate: operation.access === 'read' ? 'accepted' : 'powerless',
  }),
  ({ random, self }) => ({
    name: 'elsewhere in the request',
    headers: [
      random.pick<readonly [string, string]>([
        ['cookie', `token=${self.accessToken}; authorization=Bearer%20${self.accessToken}`],
        ['proxy-authorization', `Bearer ${self.accessToken}`],
        ['x-api-key', self.apiTokens.good],
        ['x-authorization', `Bearer ${self.accessToken}`],
        ['authorisation', `Bearer ${self.accessToken}`],
      ]),
    ],
    fate: 'refused',
  }),
  ({ random, self }) => ({
    name: 'in the address',
    headers: [['authorization', `Bearer ${self.accessToken}`]],
    query: [
      `${random.pick(['access_token', 'token', 'api_key', 'authorization', 'refresh_token', 'password'])}=${self.accessToken}`,
    ],
    fate: 'powerless',
  }),
];

function bearer(name: string, token: string): Forgery {
  return { name, headers: [['authorization', `Bearer ${token}`]], fate: 'refused' };
}

/** A bit that leaves a character of a token: what is none is the business of other forgeries. */
function turnedToken(random: Random, token: string): string {
  for (;;) {
    const changed = turned(random, token);
    if (/^[\w.-]+$/.test(changed) && changed !== token) return changed;
  }
}

export function credentials(scene: Scene): Omit<Case, 'family' | 'operation'> | undefined {
  const { random, operation, self } = scene;
  const forgery = random.pick(forgeries)(scene, Math.floor(Date.now() / 1000));
  const draft = properDraft(scene, self.world, 0.1);
  const accepted = forgery.fate === 'accepted';
  return {
    caller: accepted ? 'user' : 'hostile',
    draft: {
      ...draft,
      query: [...draft.query, ...(forgery.query ?? [])],
      headers: [...draft.headers, ...forgery.headers],
    },
    ...(operation.access === 'open' ? {} : fateOf(forgery)),
  };
}

function fateOf({ name, fate }: Forgery): Pick<Case, 'must' | 'mustNotSucceed'> {
  if (fate === 'refused') return { must: { statuses: [401], why: `the credential is none: ${name}` } };
  if (fate === 'unreadable') return { must: { statuses: [400, 431], why: name } };
  return fate === 'powerless' ? { mustNotSucceed: `the credential gives no right to this: ${name}` } : {};
}
