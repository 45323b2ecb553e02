import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { SignJWT } from 'jose';
import { v7 } from 'uuid';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Clock } from '../clock.ts';
import { createTokenVerifier, type VerifyToken } from './jwt.ts';
import { createTokenMinter, type LocalIssuer } from './local-token.ts';

const local: LocalIssuer = {
  secretKey: 'Zk3vQ9x1tB7mW5rY2nC8pL4sD6fG0hJaXe',
  algorithm: 'HS256',
  issuer: 'ringfence',
  audience: 'ringfence-api',
};
const issuer = 'https://idp.example/';
const audience = 'tasks';
const now = Math.floor(Date.now() / 1000);

const pairs = {
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519'),
};
const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 });
const weak = generateKeyPairSync('rsa', { modulusLength: 1024 });

function publish(alg: string, key: KeyObject) {
  return { ...key.export({ format: 'jwk' }), alg, kid: alg, use: 'sig' };
}

const published = {
  keys: [
    ...Object.entries(pairs).map(([alg, pair]) => publish(alg, pair.publicKey)),
    { ...publish('RS256', weak.publicKey), kid: 'weak' },
    { kty: 'oct', kid: 'oct', alg: 'HS256', k: Buffer.from('x'.repeat(32)).toString('base64url') },
  ],
};

/** The provider: a real server on this machine, whose answers a test can change. */
let provider: Server;
let requests: string[];
let answer: { status: number; body: string; headers?: Record<string, string> };
let milliseconds: number;
let verify: VerifyToken;

beforeEach(async () => {
  requests = [];
  answer = { status: 200, body: JSON.stringify(published) };
  provider = createServer((request, response) => {
    requests.push(request.url ?? '');
    response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers }).end(answer.body);
  });
  await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve));
  milliseconds = now * 1000;
  verify = verifierAt(addressOf(provider));
});

afterEach(async () => {
  provider.closeAllConnections();
  await new Promise((resolve) => provider.close(resolve));
});

function addressOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the provider has no port');
  return `http://127.0.0.1:${address.port}/keys`;
}

function verifierAt(url: string): VerifyToken {
  const clock: Clock = { now: () => milliseconds };
  return createTokenVerifier({ local, external: { url, issuer, audience }, clock });
}

const goodClaims = { iss: issuer, aud: audience, sub: 'auth0|42', iat: now, exp: now + 300 };

interface Making {
  readonly claims?: Record<string, unknown>;
  readonly header?: Record<string, unknown>;
  readonly key?: KeyObject;
}

function make(alg: keyof typeof pairs, { claims = {}, header = {}, key = pairs[alg].privateKey }: Making = {}) {
  const entries = Object.entries({ ...goodClaims, ...claims }).filter(([, value]) => value !== undefined);
  return new SignJWT(Object.fromEntries(entries)).setProtectedHeader({ alg, kid: alg, ...header }).sign(key);
}

function signedWithText(header: unknown, claims: unknown, secret: string): string {
  const input = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
}

const invalid = { code: 'unauthenticated', message: 'Invalid token' };

describe('tokens of an outside provider', () => {
  test.each(['RS256', 'ES256', 'EdDSA'] as const)('%s', async (alg) => {
    expect(await verify(await make(alg))).toEqual({
      kind: 'external',
      issuer,
      subject: 'auth0|42',
      email: undefined,
      emailVerified: false,
      name: undefined,
      issuedAt: now,
      expiresAt: now + 300,
    });
  });

  test.each([undefined, 'JWT', 'jwt', 'at+jwt', 'AT+JWT', 'application/at+jwt'])('typ %s', async (typ) => {
    await expect(verify(await make('RS256', { header: typ === undefined ? {} : { typ } }))).resolves.toMatchObject({
      kind: 'external',
    });
  });

  test('the e-mail counts as verified only when the provider says true', async () => {
    const claims = { email: 'ann@example.org', email_verified: true, name: ' Ann ' };
    const person = { email: 'ann@example.org', emailVerified: true, name: 'Ann' };
    expect(await verify(await make('ES256', { claims }))).toMatchObject(person);
    for (const email_verified of [undefined, 'true', 1, false]) {
      const token = await make('ES256', { claims: { ...claims, email_verified } });
      expect(await verify(token)).toMatchObject({ ...person, emailVerified: false });
    }
  });

  test.each(['no address', 'a@b\0', '@', 7, { a: 1 }, `${'a'.repeat(400)}@example.org`])(
    'an e-mail %j is left out',
    async (email) => {
      const token = await make('ES256', { claims: { email, email_verified: true } });
      expect(await verify(token)).toMatchObject({ email: undefined, emailVerified: false });
    },
  );

  test('audience among several, times within half a minute', async () => {
    await expect(verify(await make('RS256', { claims: { aud: ['other', audience] } }))).resolves.toBeDefined();
    await expect(verify(await make('RS256', { claims: { exp: now - 20, nbf: now + 20 } }))).resolves.toBeDefined();
  });

  test('our own tokens are still ours', async () => {
    const userId = v7();
    const mint = createTokenMinter(local, 60, { now: () => milliseconds });
    const { token } = await mint({ userId, sessionId: v7(), email: 'a@example.org', roles: ['admin'] });
    expect(await verify(token)).toMatchObject({ kind: 'local', userId, roles: ['admin'] });
    expect(requests).toEqual([]);
  });
});

describe('refused', () => {
  test('expired', async () => {
    await expect(verify(await make('RS256', { claims: { exp: now - 31 } }))).rejects.toMatchObject({
      code: 'unauthenticated',
      message: 'Token expired',
    });
  });

  test.each([undefined, '', '  ', 5, null, 'a\0b'])('sub %j', async (sub) => {
    await expect(verify(await make('RS256', { claims: { sub } }))).rejects.toMatchObject({
      code: 'unauthenticated',
      message: 'User ID not found in request',
    });
  });

  test.each<[string, Making]>([
    ['no exp', { claims: { exp: undefined } }],
    ['exp a string', { claims: { exp: String(now + 300) } }],
    ['exp in milliseconds', { claims: { exp: now * 1000 } }],
    ['iat in the future', { claims: { iat: now + 3600 } }],
    ['nbf in the future', { claims: { nbf: now + 3600 } }],
    ['no aud', { claims: { aud: undefined } }],
    ['another aud', { claims: { aud: 'other' } }],
    ['our own aud', { claims: { aud: 'ringfence-api' } }],
    ['no iss', { claims: { iss: undefined } }],
    ['another iss', { claims: { iss: 'https://evil.example/' } }],
    ['an iss that differs by its slash', { claims: { iss: 'https://idp.example' } }],
    ['our iss', { claims: { iss: 'ringfence' } }],
    ['a long sub', { claims: { sub: 'x'.repeat(256) } }],
    ['bound to a key of the client', { claims: { cnf: { jkt: 'x' } } }],
    ['typ of a logout token', { header: { typ: 'logout+jwt' } }],
    ['typ of a proof', { header: { typ: 'dpop+jwt' } }],
    ['an unpublished key', { key: stranger.privateKey }],
    ['an unpublished key without kid', { key: stranger.privateKey, header: { kid: undefined } }],
    [
      'an unpublished key that comes along',
      { key: stranger.privateKey, header: { jwk: stranger.publicKey.export({ format: 'jwk' }) } },
    ],
    ['an address for the key', { header: { jku: 'https://evil.example/keys' } }],
    ['an address for the certificate', { header: { x5u: 'https://evil.example/cert' } }],
    ['the kid of another key', { header: { kid: 'ES256' } }],
    ['a kid that is unknown', { header: { kid: '../../etc/passwd' } }],
  ])('%s', async (_name, making) => {
    await expect(verify(await make('RS256', making))).rejects.toMatchObject(invalid);
    expect(requests.every((path) => path === '/keys')).toBe(true);
  });

  test('HS256 with the public key, in every spelling of it, under either issuer', async () => {
    const { publicKey } = pairs.RS256;
    const spellings = [
      publicKey.export({ type: 'spki', format: 'pem' }).toString(),
      publicKey.export({ type: 'spki', format: 'pem' }).toString().trim(),
      publicKey.export({ type: 'pkcs1', format: 'pem' }).toString(),
      JSON.stringify(publicKey.export({ format: 'jwk' })),
      JSON.stringify(publish('RS256', publicKey)),
      'x'.repeat(32), // the symmetric key that the provider publishes by mistake
      local.secretKey,
    ];
    for (const secret of spellings) {
      for (const kid of ['RS256', 'oct', undefined]) {
        const token = signedWithText({ alg: 'HS256', kid }, goodClaims, secret);
        await expect(verify(token)).rejects.toMatchObject(invalid);
      }
    }
    const asOurs = { ...goodClaims, iss: 'ringfence', aud: 'ringfence-api' };
    for (const secret of spellings.slice(0, -1)) {
      await expect(verify(signedWithText({ alg: 'HS256', typ: 'at+jwt' }, asOurs, secret))).rejects.toMatchObject(
        invalid,
      );
    }
    expect(requests).toEqual([]);
  });

  test('alg none, other algorithms, and a key that is too short', async () => {
    const claims = Buffer.from(JSON.stringify(goodClaims)).toString('base64url');
    for (const alg of ['none', 'None', 'RS384', 'PS256', 'RS1', 'ES256K', 'dir']) {
      const header = Buffer.from(JSON.stringify({ alg, kid: 'RS256' })).toString('base64url');
      await expect(verify(`${header}.${claims}.`)).rejects.toMatchObject(invalid);
      await expect(verify(`${header}.${claims}.AAAA`)).rejects.toMatchObject(invalid);
    }
    expect(requests).toEqual([]);
    const short = signedWithText({ alg: 'RS256', kid: 'weak' }, goodClaims, 'x');
    await expect(verify(short)).rejects.toMatchObject(invalid);
  });
});

describe('the provider', () => {
  test('is asked once for many tokens, also when they come together', async () => {
    const token = await make('RS256');
    await Promise.all(Array.from({ length: 20 }, () => verify(token)));
    await verify(await make('ES256'));
    expect(requests).toEqual(['/keys']);
  });

  test('is not asked again for every unknown kid', async () => {
    for (let i = 0; i < 10; i++) {
      await expect(verify(await make('RS256', { header: { kid: `k${i}` } }))).rejects.toMatchObject(invalid);
    }
    expect(requests).toEqual(['/keys']);
  });

  test.each<[string, typeof answer]>([
    ['an error', { status: 500, body: '' }],
    ['a page', { status: 200, body: '<html></html>' }],
    ['no key set', { status: 200, body: '{"keys":"none"}' }],
    ['a way elsewhere', { status: 302, body: '', headers: { location: 'http://127.0.0.1:1/keys' } }],
  ])(
    'that answers with %s is unavailable, not the token invalid; it is asked again after a pause',
    async (_name, wrong) => {
      const good = answer;
      answer = wrong;
      const token = await make('RS256');
      const unavailable = { code: 'unavailable', message: 'The identity provider does not answer; try again' };
      for (let i = 0; i < 5; i++) await expect(verify(token)).rejects.toMatchObject(unavailable);
      expect(requests).toHaveLength(1);
      answer = good;
      milliseconds += 5001;
      await expect(verify(token)).resolves.toMatchObject({ kind: 'external' });
      expect(requests).toHaveLength(2);
    },
  );

  test('that is not there is unavailable', async () => {
    const gone = createServer();
    await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', resolve));
    const url = addressOf(gone);
    await new Promise((resolve) => gone.close(resolve));
    await expect(verifierAt(url)(await make('RS256'))).rejects.toMatchObject({ code: 'unavailable' });
  });
});
