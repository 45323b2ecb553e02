import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { v7 } from 'uuid';
import { expect, test } from 'vitest';
import { mintOpaqueToken, opaqueTokenLength } from './opaque-token.ts';
import { RefreshTokens } from './refresh-token.ts';

const secret = randomBytes(48).toString('base64url');
const tokens = new RefreshTokens({ secret });
const [userId, rowId] = [v7(), v7()];

function parsed(of: RefreshTokens, token: string) {
  const found = of.parse(token);
  if (found === null) throw new Error('not taken');
  return found;
}

test('what is minted is taken, and what follows it', () => {
  const { token, hash } = tokens.mint(userId, rowId);
  expect(token).toHaveLength(opaqueTokenLength);
  expect(tokens.parse(token)).toMatchObject({ userId, rowId, secretHash: hash });
  const next = tokens.succeed(parsed(tokens, token));
  expect(tokens.parse(next.token)).toMatchObject({ userId, rowId, secretHash: next.hash });
  expect(tokens.mint(userId, rowId).token).not.toBe(token);
});

test('a successor depends on token and secret alone', () => {
  const first = parsed(tokens, tokens.mint(userId, rowId).token);
  const next = tokens.succeed(first);
  expect(next.hash).not.toEqual(first.secretHash);
  expect(tokens.succeed(first)).toEqual(next);
  expect(new RefreshTokens({ secret }).succeed(first)).toEqual(next);
  expect(new RefreshTokens({ secret: `${secret}2` }).succeed(first).token).not.toBe(next.token);
  expect(tokens.succeed(parsed(tokens, next.token)).token).not.toBe(next.token);
});

test('a token that nobody gave out is not taken', () => {
  expect(tokens.parse(mintOpaqueToken('refresh', userId, rowId).token)).toBeNull();
  expect(tokens.parse(mintOpaqueToken('api', userId, rowId).token)).toBeNull();
  const body = Buffer.from(tokens.mint(userId, rowId).token.slice(4), 'base64url');
  fc.assert(
    fc.property(fc.nat({ max: body.length * 8 - 1 }), (bit) => {
      const changed = Buffer.from(body);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(tokens.parse(`rfr_${changed.toString('base64url')}`)).toBeNull();
    }),
  );
});

test('while the secret is being replaced, tokens made under the one before are taken, and followed by new ones', () => {
  const old = tokens.mint(userId, rowId).token;
  const replaced = { secret: `${secret}, replaced` };
  expect(new RefreshTokens(replaced).parse(old)).toBeNull();
  const during = new RefreshTokens({ ...replaced, previousSecret: secret });
  const next = during.succeed(parsed(during, old)).token;
  expect(new RefreshTokens(replaced).parse(next)).not.toBeNull();
  expect(tokens.parse(next)).toBeNull();
});
