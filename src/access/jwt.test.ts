import { createHmac, generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { v7 } from 'uuid';
import { describe, expect, test } from 'vitest';
import type { Clock } from '../clock.ts';
import { createTokenVerifier } from './jwt.ts';
import { createTokenMinter, type LocalIssuer } from './local-token.ts';
import { mintOpaqueToken } from './opaque-token.ts';

const secretKey = 'Zk3vQ9x1tB7mW5rY2nC8pL4sD6fG0hJaXe';
const otherSecret = 'mB4kT8wLq2Yx7Rn1Vc9Zd5Ph3Gj6Sf0AuO';
const local: LocalIssuer = { secretKey, algorithm: 'HS256', issuer: 'ringfence', audience: 'ringfence-api' };
const now = 1_790_000_000;
const clock: Clock = { now: () => now * 1000 };
const at = (seconds: number): Clock => ({ now: () => seconds * 1000 });

const userId = v7();
const sessionId = v7();
const subject = { userId, sessionId, email: 'ann@example.org', roles: ['user'] as const };
const mint = createTokenMinter(local, 3600, clock);
const verify = createTokenVerifier({ local, clock });

const goodHeader = { alg: 'HS256', typ: 'at+jwt' };
const goodClaims = {
  iss: 'ringfence',
  aud: 'ringfence-api',
  sub: userId,
  sid: sessionId,
  email: 'ann@example.org',
  roles: ['user'],
  iat: now,
  exp: now + 3600,
  jti: 'one',
};

const encode = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** A token made by hand: signed with our secret whatever the header says, so that only the check under test refuses. */
function forge(header: unknown, claims: unknown, secret: string | Buffer = secretKey, hash = 'sha256'): string {
  const input = `${encode(header)}.${encode(claims)}`;
  return `${input}.${createHmac(hash, secret).update(input).digest('base64url')}`;
}

const unsigned = (header: unknown, claims: unknown = goodClaims) => `${encode(header)}.${encode(claims)}.`;
const without = (name: string) => Object.fromEntries(Object.entries(goodClaims).filter(([key]) => key !== name));

const invalid = { code: 'unauthenticated', message: 'Invalid token' };
const expired = { code: 'unauthenticated', message: 'Token expired' };
const noUser = { code: 'unauthenticated', message: 'User ID not found in request' };

describe('our own tokens', () => {
  test('what is minted is verified', async () => {
    const { token, tokenId, expiresIn } = await mint(subject);
    expect(expiresIn).toBe(3600);
    expect(await verify(token)).toEqual({
      kind: 'local',
      ...subject,
      tokenId,
      issuedAt: now,
      expiresAt: now + 3600,
    });
  });

  test('the hand-made token of these tests is right, so each refusal below has its one reason', async () => {
    expect(await verify(forge(goodHeader, goodClaims))).toMatchObject({ kind: 'local', userId });
  });

  test('good until its last second, expired from then on', async () => {
    const { token } = await mint(subject);
    await expect(createTokenVerifier({ local, clock: at(now + 3599) })(token)).resolves.toMatchObject({ userId });
    await expect(createTokenVerifier({ local, clock: at(now + 3600) })(token)).rejects.toMatchObject(expired);
  });

  test('a clock that runs a minute behind is forgiven, more is not', async () => {
    const { token } = await mint(subject);
    await expect(createTokenVerifier({ local, clock: at(now - 60) })(token)).resolves.toMatchObject({ userId });
    await expect(createTokenVerifier({ local, clock: at(now - 61) })(token)).rejects.toMatchObject(invalid);
  });

  test.each(['HS384', 'HS512'] as const)('%s, and no other algorithm beside it', async (algorithm) => {
    const long = { ...local, algorithm, secretKey: secretKey + otherSecret };
    const verifyLong = createTokenVerifier({ local: long, clock });
    const { token } = await createTokenMinter(long, 60, clock)(subject);
    await expect(verifyLong(token)).resolves.toMatchObject({ userId });
    await expect(verifyLong(forge(goodHeader, goodClaims, long.secretKey))).rejects.toMatchObject(invalid);
    await expect(
      verify(forge({ ...goodHeader, alg: algorithm }, goodClaims, secretKey, `sha${algorithm.slice(2)}`)),
    ).rejects.toMatchObject(invalid);
  });

  test('while a secret is replaced both are good; afterwards the old one is not', async () => {
    const { token: old } = await mint(subject);
    const renewed = { ...local, secretKey: otherSecret };
    const both = createTokenVerifier({ local: { ...renewed, previousSecretKey: secretKey }, clock });
    const { token: fresh } = await createTokenMinter(renewed, 60, clock)(subject);
    await expect(both(old)).resolves.toMatchObject({ userId });
    await expect(both(fresh)).resolves.toMatchObject({ userId });
    await expect(createTokenVerifier({ local: renewed, clock })(old)).rejects.toMatchObject(invalid);
    const late = { local: { ...renewed, previousSecretKey: secretKey }, clock: at(now + 7200) };
    await expect(createTokenVerifier(late)(old)).rejects.toMatchObject(expired);
  });

  test('two issuers of one name are refused when the verifier is made', () => {
    const external = { url: 'https://idp.example/keys', issuer: 'ringfence', audience: 'x' };
    expect(() => createTokenVerifier({ local, external })).toThrow(TypeError);
  });
});

describe('forged tokens', () => {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const jwk = publicKey.export({ format: 'jwk' });
  const valid = forge(goodHeader, goodClaims);
  const [head = '', body = '', signature = ''] = valid.split('.');
  const json = JSON.stringify(goodClaims);

  const corpus: Record<string, string> = {
    // no signature
    ...Object.fromEntries(
      ['none', 'None', 'NONE', 'nOnE', '', ' none', 'none '].map((alg) => [
        `alg "${alg}"`,
        unsigned({ ...goodHeader, alg }),
      ]),
    ),
    'alg none with a signature': forge({ ...goodHeader, alg: 'none' }, goodClaims),
    'alg is an array': forge({ ...goodHeader, alg: ['HS256'] }, goodClaims),
    'alg is null': forge({ ...goodHeader, alg: null }, goodClaims),
    'no alg': forge({ typ: 'at+jwt' }, goodClaims),
    'alg in lower case': forge({ ...goodHeader, alg: 'hs256' }, goodClaims),
    'signature removed': `${head}.${body}.`,
    'signature cut': valid.slice(0, -4),
    'signature of another token': `${head}.${encode({ ...goodClaims, sub: v7() })}.${signature}`,
    'another secret': forge(goodHeader, goodClaims, otherSecret),
    'the empty secret': forge(goodHeader, goodClaims, ''),
    // algorithm confusion
    'alg RS256, signed with our secret': forge({ ...goodHeader, alg: 'RS256' }, goodClaims),
    'HS256 with a public key as the secret': forge(goodHeader, goodClaims, pem),
    'HS256 with a public JWK as the secret': forge(goodHeader, goodClaims, JSON.stringify(jwk)),
    HS512: forge({ ...goodHeader, alg: 'HS512' }, goodClaims, secretKey, 'sha512'),
    // headers that would bring a key, or tell where one is
    'jwk in the header': forge(
      { ...goodHeader, jwk: { kty: 'oct', k: encode('x'.repeat(32)) } },
      goodClaims,
      'x'.repeat(32),
    ),
    'jku in the header': forge({ ...goodHeader, jku: 'https://evil.example/keys' }, goodClaims),
    'x5u in the header': forge({ ...goodHeader, x5u: 'https://evil.example/cert' }, goodClaims),
    'x5c in the header': forge({ ...goodHeader, x5c: ['MIIB'] }, goodClaims),
    'kid with a path': forge({ ...goodHeader, kid: '../../../../dev/null' }, goodClaims),
    'kid with a path, empty key': forge({ ...goodHeader, kid: '/dev/null' }, goodClaims, ''),
    'kid with SQL': forge({ ...goodHeader, kid: "x' UNION SELECT 'k" }, goodClaims, 'k'),
    'any kid': forge({ ...goodHeader, kid: '1' }, goodClaims),
    crit: forge({ ...goodHeader, crit: ['exp'], exp: 1 }, goodClaims),
    'crit with b64': forge({ ...goodHeader, crit: ['b64'], b64: false }, goodClaims),
    zip: forge({ ...goodHeader, zip: 'DEF' }, goodClaims),
    // type
    'typ JWT': forge({ alg: 'HS256', typ: 'JWT' }, goodClaims),
    'no typ': forge({ alg: 'HS256' }, goodClaims),
    'typ refresh': forge({ alg: 'HS256', typ: 'rt+jwt' }, goodClaims),
    // claims
    'no exp': forge(goodHeader, without('exp')),
    'exp null': forge(goodHeader, { ...goodClaims, exp: null }),
    'exp a string': forge(goodHeader, { ...goodClaims, exp: String(now + 3600) }),
    'exp a date': forge(goodHeader, { ...goodClaims, exp: '2099-01-01T00:00:00Z' }),
    'exp an array': forge(goodHeader, { ...goodClaims, exp: [now + 3600] }),
    'exp infinite': forge(goodHeader, json.replace(`"exp":${now + 3600}`, '"exp":1e999')),
    'exp in milliseconds': forge(goodHeader, { ...goodClaims, exp: (now + 3600) * 1000 }),
    'no iat': forge(goodHeader, without('iat')),
    'iat a string': forge(goodHeader, { ...goodClaims, iat: String(now) }),
    'iat far in the future': forge(goodHeader, { ...goodClaims, iat: now + 3000 }),
    'nbf in the future': forge(goodHeader, { ...goodClaims, nbf: now + 3000 }),
    'nbf a string': forge(goodHeader, { ...goodClaims, nbf: '0' }),
    'no iss': forge(goodHeader, without('iss')),
    'another iss': forge(goodHeader, { ...goodClaims, iss: 'ringfence2' }),
    'iss in upper case': forge(goodHeader, { ...goodClaims, iss: 'RINGFENCE' }),
    'iss an array': forge(goodHeader, { ...goodClaims, iss: ['ringfence'] }),
    'iss with a look-alike': forge(goodHeader, { ...goodClaims, iss: 'ringfenсe' }), // a Cyrillic с
    'no aud': forge(goodHeader, without('aud')),
    'another aud': forge(goodHeader, { ...goodClaims, aud: 'ringfence-mcp' }),
    'aud a list': forge(goodHeader, { ...goodClaims, aud: ['ringfence-api', 'other'] }),
    'aud a prefix': forge(goodHeader, { ...goodClaims, aud: 'ringfence' }),
    'no session': forge(goodHeader, without('sid')),
    'no jti': forge(goodHeader, without('jti')),
    'a role that is none': forge(goodHeader, { ...goodClaims, roles: ['root'] }),
    'roles a string': forge(goodHeader, { ...goodClaims, roles: 'admin' }),
    'no roles': forge(goodHeader, { ...goodClaims, roles: [] }),
    // two readings
    'sub twice': forge(goodHeader, json.replace('{', `{"sub":"${v7()}",`)),
    'sub twice, once escaped': forge(goodHeader, json.replace('{', `{"s\\u0075b":"${v7()}",`)),
    'alg twice': forge('{"alg":"none","typ":"at+jwt","alg":"HS256"}', goodClaims),
    'claims an array': forge(goodHeader, [goodClaims]),
    'claims a string': forge(goodHeader, '"ringfence"'),
    'claims with a byte-order mark': forge(goodHeader, `\ufeff${json}`),
    'claims not JSON': forge(goodHeader, json.slice(1)),
    'claims that are not UTF-8': `${head}.${Buffer.from([0x7b, 0xff, 0x7d]).toString('base64url')}.${signature}`,
    // spelling
    padding: `${valid}=`,
    'padding inside': `${head}=.${body}.${signature}`,
    'a part more': `${valid}.x`,
    'a part less': `${head}.${body}`,
    'five parts, as encrypted ones have': `${head}..${body}.${signature}.x`,
    'JSON serialisation': JSON.stringify({ protected: head, payload: body, signature }),
    'a space before': ` ${valid}`,
    'a line break after': `${valid}\n`,
    'a line break inside': `${head}.${body.slice(0, 20)}\n${body.slice(20)}.${signature}`,
    'a NUL': `${valid}\0`,
    'full-width letters': valid.replace('e', 'ｅ'),
    'Bearer in front': `Bearer ${valid}`,
    empty: '',
    dots: '..',
    'a megabyte': `${head}.${'A'.repeat(1_000_000)}.${signature}`,
    'just too long': forge(goodHeader, { ...goodClaims, pad: 'x'.repeat(8192) }),
    'deeply nested': forge(goodHeader, `${'['.repeat(3000)}${']'.repeat(3000)}`),
    __proto__: forge(goodHeader, '{"__proto__":{"iss":"ringfence"}}'),
    // other credentials
    'a refresh token': mintOpaqueToken('refresh', userId, v7()).token,
    'an API token': mintOpaqueToken('api', userId, v7()).token,
  };

  test.each(Object.entries(corpus))('%s', async (_name, token) => {
    await expect(verify(token)).rejects.toMatchObject(invalid);
  });

  test('each of the spare bits of the signature', async () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const last = alphabet.indexOf(valid.slice(-1));
    expect(last % 4).toBe(0);
    for (const spare of [1, 2, 3]) {
      await expect(verify(valid.slice(0, -1) + alphabet[last + spare])).rejects.toMatchObject(invalid);
    }
  });

  test('one changed character anywhere', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: valid.length - 1 }),
        fc.string({ minLength: 1, maxLength: 1 }),
        async (place, character) => {
          fc.pre(valid[place] !== character);
          await expect(verify(valid.slice(0, place) + character + valid.slice(place + 1))).rejects.toMatchObject(
            invalid,
          );
        },
      ),
      { numRuns: 300 },
    );
  });

  test('any text', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ maxLength: 200 }), async (text) => {
        await expect(verify(text)).rejects.toMatchObject(invalid);
      }),
    );
  });
});

describe('whose token it is', () => {
  test.each([
    ['missing', without('sub')],
    ['empty', { ...goodClaims, sub: '' }],
    ['null', { ...goodClaims, sub: null }],
    ['a number', { ...goodClaims, sub: 1 }],
    ['an array', { ...goodClaims, sub: [userId] }],
    ['no UUID', { ...goodClaims, sub: 'ann' }],
    ['a UUID and more', { ...goodClaims, sub: `${userId}' OR 1=1` }],
  ])('sub is %s', async (_name, claims) => {
    await expect(verify(forge(goodHeader, claims))).rejects.toMatchObject(noUser);
  });

  test('a forged token without a user is told no more than that it is invalid', async () => {
    await expect(verify(forge(goodHeader, without('sub'), otherSecret))).rejects.toMatchObject(invalid);
  });

  test('so is a forged one that has expired', async () => {
    await expect(verify(forge(goodHeader, { ...goodClaims, exp: 1 }, otherSecret))).rejects.toMatchObject(invalid);
    await expect(verify(forge(goodHeader, { ...goodClaims, exp: 1 }))).rejects.toMatchObject(expired);
  });

  test('an upper-case UUID is the same user', async () => {
    const token = forge(goodHeader, { ...goodClaims, sub: userId.toUpperCase() });
    expect(await verify(token)).toMatchObject({ userId });
  });
});
