import { v7 as uuidv7 } from 'uuid';
import { beforeEach, expect, test } from 'vitest';
import { createTokenVerifier, type VerifiedToken, type VerifyToken } from './jwt.ts';
import { createTokenMinter, type LocalIssuer } from './local-token.ts';
import { rememberVerified } from './verified-token-cache.ts';

const local: LocalIssuer = {
  secretKey: 'Zk3vQ9x1tB7mW5rY2nC8pL4sD6fG0hJaXe',
  algorithm: 'HS256',
  issuer: 'ringfence',
  audience: 'ringfence-api',
};

let milliseconds: number;
let asked: string[];
let verify: VerifyToken;
const clock = { now: () => milliseconds };
const mint = createTokenMinter(local, 60, clock);
const subject = () => ({ userId: uuidv7(), sessionId: uuidv7(), email: 'a@example.org', roles: ['user'] as const });

beforeEach(() => {
  milliseconds = 1_800_000_000_000;
  asked = [];
  const real = createTokenVerifier({ local, clock });
  verify = (token) => {
    asked.push(token);
    return real(token);
  };
});

test('a good token is verified once', async () => {
  const remembered = rememberVerified(verify, clock);
  const { token } = await mint(subject());
  const first = await remembered(token);
  expect(await remembered(token)).toEqual(first);
  expect(asked).toEqual([token]);
});

test('a remembered token expires to the second, with the guide’s text', async () => {
  const remembered = rememberVerified(verify, clock);
  const { token } = await mint(subject());
  await remembered(token);
  milliseconds += 59_999;
  await expect(remembered(token)).resolves.toMatchObject({ kind: 'local' });
  milliseconds += 1;
  await expect(remembered(token)).rejects.toMatchObject({ code: 'unauthenticated', message: 'Token expired' });
  await expect(remembered(token)).rejects.toMatchObject({ message: 'Token expired' });
  expect(asked).toHaveLength(3);
});

test('a refusal is not remembered, and no token is taken for another', async () => {
  const remembered = rememberVerified(verify, clock);
  const { token } = await mint(subject());
  await remembered(token);
  const forged = `${token.slice(0, -2)}${token.endsWith('AA') ? 'BB' : 'AA'}`;
  for (let i = 0; i < 2; i += 1) {
    await expect(remembered(forged)).rejects.toMatchObject({ message: 'Invalid token' });
  }
  expect(asked).toEqual([token, forged, forged]);
});

test('there is room for so many; the one that was not used for the longest time goes', async () => {
  const remembered = rememberVerified(verify, clock, 2);
  const [a, b, c] = await Promise.all([mint(subject()), mint(subject()), mint(subject())]);
  for (const { token } of [a, b, a, c]) await remembered(token);
  asked = [];
  await remembered(a.token);
  expect(asked).toEqual([]);
  await remembered(b.token);
  expect(asked).toEqual([b.token]);
});

test('tokens of an outside provider are verified each time', async () => {
  let calls = 0;
  const external: VerifiedToken = {
    kind: 'external',
    issuer: 'https://idp.example/',
    subject: '42',
    email: undefined,
    emailVerified: false,
    name: undefined,
    issuedAt: undefined,
    expiresAt: milliseconds / 1000 + 60,
  };
  const remembered = rememberVerified(async () => {
    calls += 1;
    return external;
  }, clock);
  await remembered('x.y.z');
  await remembered('x.y.z');
  expect(calls).toBe(2);
});
