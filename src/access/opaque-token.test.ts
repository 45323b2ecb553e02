import { createHash, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { v7 } from 'uuid';
import { describe, expect, test } from 'vitest';
import { hashesEqual, mintOpaqueToken, opaqueTokenKind, opaqueTokenLength, parseOpaqueToken } from './opaque-token.ts';

const kinds = ['refresh', 'api'] as const;
const kind = fc.constantFrom(...kinds);
const uuid = fc.uuid();

describe('opaque tokens', () => {
  test('what is minted is parsed, and gives the hash that is stored', () => {
    fc.assert(
      fc.property(kind, uuid, uuid, (kind, userId, rowId) => {
        const { token, hash } = mintOpaqueToken(kind, userId, rowId);
        expect(token).toHaveLength(opaqueTokenLength);
        expect(opaqueTokenKind(token)).toBe(kind);
        const parsed = parseOpaqueToken(kind, token);
        // The secret, not the whole token, is what is hashed; nothing of it is in the hash.
        const secret = Buffer.from(token.slice(4), 'base64url').subarray(32);
        expect(parsed).toEqual({ userId, rowId, secret, secretHash: hash });
        expect(hash).toHaveLength(32);
        expect(hash).toEqual(createHash('sha256').update(secret).digest());
      }),
    );
  });

  test('a token of one kind is not one of the other', () => {
    const { token } = mintOpaqueToken('refresh', v7(), v7());
    expect(parseOpaqueToken('api', token)).toBeNull();
    expect(parseOpaqueToken('api', `rft_${token.slice(4)}`)?.userId).toBeDefined(); // told apart by its row, in the database
    expect(opaqueTokenKind('eyJhbGciOiJIUzI1NiJ9.e30.x')).toBeNull();
  });

  test('each token has one spelling: any other text with the same bytes is refused', () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const { token } = mintOpaqueToken('api', v7(), v7());
    const last = alphabet.indexOf(token.slice(-1));
    for (let spare = 1; spare < 16; spare++) {
      expect(parseOpaqueToken('api', token.slice(0, -1) + alphabet[last + spare])).toBeNull();
    }
  });

  test('one changed character is another token or none', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: opaqueTokenLength - 1 }),
        fc.string({ minLength: 1, maxLength: 1 }),
        (at, character) => {
          const { token } = mintOpaqueToken('api', v7(), v7());
          fc.pre(token[at] !== character);
          const changed = token.slice(0, at) + character + token.slice(at + 1);
          expect(parseOpaqueToken('api', changed)).not.toEqual(parseOpaqueToken('api', token));
        },
      ),
    );
  });

  test.each([
    ['empty', () => ''],
    ['the prefix alone', () => 'rft_'],
    ['one character less', (token: string) => token.slice(0, -1)],
    ['one character more', (token: string) => `${token}A`],
    ['padding', (token: string) => `${token}==`],
    ['padding in place of characters', (token: string) => `${token.slice(0, -2)}==`],
    ['a space before', (token: string) => ` ${token}`],
    ['a line break after', (token: string) => `${token}\n`],
    ['upper-case prefix', (token: string) => token.replace('rft_', 'RFT_')],
    ['the other alphabet', (token: string) => `${token.slice(0, 50)}+/${token.slice(52)}`],
    ['a NUL', (token: string) => `${token.slice(0, 50)}\0${token.slice(51)}`],
    ['full-width letters', (token: string) => `${token.slice(0, 50)}Ａ${token.slice(51)}`],
    ['bytes that are no UUID', () => `rft_${Buffer.alloc(64, 0xab).fill(0xe0, 6, 7).toString('base64url')}`],
    ['a megabyte', () => `rft_${'A'.repeat(1_000_000)}`],
  ])('refuses %s', (_name, change) => {
    const { token } = mintOpaqueToken('api', v7(), v7());
    expect(parseOpaqueToken('api', token)).not.toBeNull();
    expect(parseOpaqueToken('api', change(token))).toBeNull();
  });

  test('any text is parsed or refused, never an error', () => {
    fc.assert(
      fc.property(
        kind,
        fc.string({ maxLength: 120 }),
        fc.uint8Array({ minLength: 64, maxLength: 64 }),
        (kind, text, bytes) => {
          expect(parseOpaqueToken(kind, text)).toBeNull();
          const token = (kind === 'api' ? 'rft_' : 'rfr_') + Buffer.from(bytes).toString('base64url');
          const parsed = parseOpaqueToken(kind, token);
          if (parsed !== null) expect(parsed.userId).toMatch(/^[0-9a-f-]{36}$/);
        },
      ),
    );
  });

  test('ids that are no UUID cannot be minted', () => {
    expect(() => mintOpaqueToken('api', 'me', v7())).toThrow(TypeError);
    expect(() => mintOpaqueToken('api', v7(), '')).toThrow(TypeError);
  });
});

test('hashesEqual', () => {
  const hash = randomBytes(32);
  expect(hashesEqual(hash, Buffer.from(hash))).toBe(true);
  expect(hashesEqual(hash, randomBytes(32))).toBe(false);
  expect(hashesEqual(hash, hash.subarray(1))).toBe(false);
  expect(hashesEqual(Buffer.alloc(0), hash)).toBe(false);
});
