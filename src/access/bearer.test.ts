import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { maximumBearerLength, parseBearer } from './bearer.ts';

describe('parseBearer', () => {
  test('no header', () => {
    expect(parseBearer(undefined)).toEqual({ kind: 'none' });
    expect(parseBearer([])).toEqual({ kind: 'none' });
  });

  test.each(['Bearer abc', 'bearer abc', 'BEARER abc', 'bEaReR   abc', ['Bearer abc']])('%j', (header) => {
    expect(parseBearer(header)).toEqual({ kind: 'token', token: 'abc' });
  });

  test('the longest token', () => {
    const token = 'a'.repeat(maximumBearerLength);
    expect(parseBearer(`Bearer ${token}`)).toEqual({ kind: 'token', token });
  });

  test.each<[string | string[], RegExp]>([
    ['', /empty/],
    ['Bearer', /no token follows/],
    ['Bearer ', /no token follows/],
    ['Bearer    ', /no token follows/],
    ['abc', /not Bearer/],
    ['Bearerabc', /not Bearer/],
    ['Basic dTpw', /not Bearer/],
    ['DPoP abc', /not Bearer/],
    ['Bearer\tabc', /not Bearer/],
    [' Bearer abc', /empty/],
    ['Bearer abc ', /characters/],
    ['Bearer abc def', /characters/],
    ['Bearer abc, Bearer def', /characters/],
    ['Bearer abc,def', /characters/],
    ['Bearer Bearer abc', /characters/],
    ['Bearer "abc"', /characters/],
    ['Bearer token=abc', /characters/],
    ['Bearer =', /characters/],
    ['Bearer abc\n', /characters/],
    ['Bearer ab\0c', /characters/],
    ['Bearer åbc', /characters/],
    ['Bearer $JWT_TOKEN', /characters/],
    ['Bearer <token>', /characters/],
    [`Bearer ${'a'.repeat(maximumBearerLength + 1)}`, /too long/],
    [`Bearer${' '.repeat(10_000)}a`, /too long/],
    [['Bearer abc', 'Bearer abc'], /more than one/],
    [['Bearer abc', 'Basic x'], /more than one/],
  ])('refuses %j', (header, reason) => {
    expect(parseBearer(header)).toEqual({ kind: 'malformed', reason: expect.stringMatching(reason) });
  });

  test('any text has one answer; a token is what was sent, and a reason never repeats it', () => {
    const header = fc.oneof(
      fc.string({ maxLength: 60 }),
      fc
        .tuple(fc.constantFrom('Bearer', 'bearer', 'Basic'), fc.string({ minLength: 6 }))
        .map((parts) => parts.join(' ')),
    );
    fc.assert(
      fc.property(header, (header) => {
        const result = parseBearer(header);
        if (result.kind === 'token') expect(header.toLowerCase()).toMatch(/^bearer +/);
        if (result.kind === 'token') expect(header.endsWith(result.token)).toBe(true);
        if (result.kind === 'malformed' && header.length > 20) expect(result.reason).not.toContain(header);
        expect(result.kind).not.toBe('none');
      }),
    );
  });

  test('every token of the grammar goes through unchanged', () => {
    const token = fc.stringMatching(/^[A-Za-z0-9._~+/-]{1,200}={0,2}$/);
    fc.assert(
      fc.property(token, (token) => {
        expect(parseBearer(`Bearer ${token}`)).toEqual({ kind: 'token', token });
      }),
    );
  });
});
