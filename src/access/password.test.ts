import { hash } from '@node-rs/argon2';
import { describe, expect, test } from 'vitest';
import { hashPassword, needsRehash, passwordFault, requireAllowedPassword, verifyPassword } from './password.ts';

const email = 'Maria.Gonzalez@example.org';

describe('what is allowed', () => {
  test.each([
    ['0123456å89', undefined],
    ['correct horse', undefined],
    ['😀😁😂🤣😃😄😅😆😉😊', undefined],
    ['x y'.repeat(85), undefined],
    ['', /^must be 10 to 256 characters, got 0$/],
    ['ninechars', /got 9$/],
    ['😀😁😂🤣😃', /got 5$/],
    ['ab'.repeat(129), /^must be 10 to 256 characters, got more$/],
    ['ﷺ'.repeat(200), /got more$/], // 200 characters, 3600 after NFKC
    ['q'.repeat(1_000_000), /got more$/],
    ['maria.gonzalez@EXAMPLE.org', /e-mail/],
    ['maria.gonzalez', /e-mail/],
    ['ｍａｒｉａ.gonzalez', /e-mail/], // full-width letters
    ['Password123', /first that are guessed/],
    ['1234567890', /first that are guessed/],
    ['aaaaaaaaaaaaaaaa', /first that are guessed/],
    ['with\0a zero in it', /without NUL/],
    ['half a \ud83d surrogate', /valid Unicode/],
  ])('%#', (password, expected) => {
    const fault = passwordFault(password, email);
    if (expected === undefined) expect(fault).toBeUndefined();
    else expect(fault).toMatch(expected);
  });

  test('the fault names the field and not the password', () => {
    expect(() => requireAllowedPassword('hunter2', email, 'new_password')).toThrow(
      expect.objectContaining({
        code: 'validation_failed',
        message: 'new_password: must be 10 to 256 characters, got 7',
      }),
    );
    expect(() => requireAllowedPassword('a fine one, this', email)).not.toThrow();
  });
});

describe('hashing', () => {
  test('Argon2id with the OWASP parameters, a new salt each time', async () => {
    const [one, two] = await Promise.all([hashPassword('correct horse'), hashPassword('correct horse')]);
    expect(one).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    expect(one).not.toBe(two);
    expect(await verifyPassword(one, 'correct horse')).toBe(true);
    expect(await verifyPassword(one, 'correct horsf')).toBe(false);
    expect(await verifyPassword(one, 'Correct horse')).toBe(false);
    expect(await verifyPassword(one, 'correct horse ')).toBe(false);
  });

  test('one password, two keyboards: composed and decomposed are the same', async () => {
    expect(await verifyPassword(await hashPassword('cafe\u0301 au lait'), 'caf\u00e9 au lait')).toBe(true);
  });

  test('all 256 characters count', async () => {
    const long = 'ab'.repeat(127);
    const stored = await hashPassword(`${long}cd`);
    expect(await verifyPassword(stored, `${long}cd`)).toBe(true);
    expect(await verifyPassword(stored, `${long}ce`)).toBe(false);
  });

  test.each([
    ['no account', undefined, 'correct horse'],
    ['an account without a hash', '', 'correct horse'],
    ['an account that is locked by a mark', '!', 'correct horse'],
    ['a broken hash', '$argon2id$v=19$m=19456', 'correct horse'],
    ['the empty password', undefined, ''],
    ['a lone surrogate', undefined, '\ud83d'],
    ['a megabyte', undefined, 'x'.repeat(1_000_000)],
  ])('%s: false, never an error, and no sooner than a wrong password', async (_name, stored, password) => {
    const real = await hashPassword('correct horse');
    const timed = async (hashed: string | undefined, text: string) => {
      const start = performance.now();
      expect(await verifyPassword(hashed, text)).toBe(false);
      return performance.now() - start;
    };
    const fastest = async (hashed: string | undefined, text: string) => {
      const times: number[] = [];
      for (let i = 0; i < 3; i++) times.push(await timed(hashed, text));
      return Math.min(...times);
    };
    // Without the dummy the answer takes microseconds instead of about 20 ms; a loaded machine does not hide that.
    expect(await fastest(stored, password)).toBeGreaterThan((await fastest(real, 'wrong')) / 10);
  });

  test('a hundred at once stay within the memory of a few', async () => {
    const stored = await hashPassword('correct horse');
    const before = process.memoryUsage.rss();
    let highest = 0;
    const watch = setInterval(() => {
      highest = Math.max(highest, process.memoryUsage.rss());
    }, 2);
    const answers = await Promise.all(Array.from({ length: 100 }, () => verifyPassword(stored, 'correct horse')));
    clearInterval(watch);
    expect(answers.every(Boolean)).toBe(true);
    expect((highest - before) / 2 ** 20).toBeLessThan(400); // 100 × 19 MiB would be 1900
  });
});

describe('needsRehash', () => {
  test('not for a hash of today', async () => {
    expect(needsRehash(await hashPassword('correct horse'))).toBe(false);
  });

  test('for weaker and other parameters, and for what is no hash', async () => {
    expect(needsRehash(await hash('x', { memoryCost: 12288, timeCost: 3, parallelism: 1 }))).toBe(true);
    expect(needsRehash(await hash('x', { memoryCost: 19456, timeCost: 1, parallelism: 1 }))).toBe(true);
    expect(needsRehash(await hash('x', { memoryCost: 19456, timeCost: 2, parallelism: 1, algorithm: 1 }))).toBe(true);
    expect(needsRehash('!')).toBe(true);
  });
});
