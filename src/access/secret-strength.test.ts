import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { secretWeakness } from './secret-strength.ts';

describe('secretWeakness', () => {
  test.each([
    ['your-production-jwt-secret', /placeholder/],
    ['YOUR_PRODUCTION_JWT_SECRET', /placeholder/],
    ['your-256-bit-secret', /placeholder/],
    ['a-string-secret-at-least-256-bits-long', /placeholder/],
    ['change-me-please-1234567890-abcdefgh', /placeholder/],
    ['please_Change_This_before-deploying-it', /placeholder/],
    ['super-secret-jwt-token-with-at-least-32-characters-long', /placeholder/],
    ['correct-password-battery-staple-9182', /placeholder/],
    ['', /at least 32 bytes, got 0/],
    [' Zk3vQ9x1tB7mW5rY2nC8pL4sD6fG0hJa', /white space/],
    ['Zk3vQ9x1tB7mW5rY2nC8pL4sD6fG0hJa\n', /white space/],
    ['Zk3vQ9x1tB7mW5rY2nC8pL4sD6fG0hJ', /at least 32 bytes, got 31/],
    ['a'.repeat(200), /8 different characters/],
    ['abcabcabcabcabcabcabcabcabcabcabcabc', /8 different characters/],
    ['k7Jq2Wm9Xc'.repeat(4), /short text repeated/],
    [`${'k7Jq2Wm9Xc'.repeat(3)}k7J`, /short text repeated/],
    ['abcdefghijklmnopqrstuvwxyz0123456789', /sequence/],
    ['zyxwvutsrqponmlkjihgfedcba9876543210', /sequence/],
  ])('refuses %j', (secret, reason) => {
    expect(secretWeakness(secret)).toMatch(reason);
  });

  test('counts bytes, not characters', () => {
    expect(secretWeakness('äöüßéèêñçåøæœÿłš')).toBeUndefined();
  });

  test('accepts random bytes in the usual encodings', () => {
    for (let i = 0; i < 500; i++) {
      for (const encoding of ['base64', 'base64url', 'hex'] as const) {
        expect(secretWeakness(randomBytes(32).toString(encoding))).toBeUndefined();
      }
    }
  });

  test('never repeats the secret and does not fail on any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme-ascii', minLength: 9, maxLength: 80 }), (secret) => {
        const weakness = secretWeakness(secret);
        return weakness === undefined || !weakness.includes(secret);
      }),
    );
  });
});
