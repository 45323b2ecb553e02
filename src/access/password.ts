/**
 * Passwords: what is allowed, how they are hashed, and how long a refusal takes.
 *
 * Argon2id with the parameters of the OWASP Password Storage Cheat Sheet (m = 19 MiB, t = 2, p = 1); rules after
 * NIST SP 800-63B §3.1.1: length and a list of bad ones, no required character classes.
 */

import { availableParallelism } from 'node:os';
import { hash, type Options, parseOptions, verify } from '@node-rs/argon2';
import { problem } from '../errors.ts';
import { createWorkLimit } from './work-limit.ts';

// `algorithm` is left out: the library's default is Argon2id, and its constants are a const enum that type stripping
// cannot read. A test checks that hashes begin with "$argon2id$".
const cost = { memoryCost: 19 * 1024, timeCost: 2, parallelism: 1, outputLen: 32 } as const satisfies Options;
const argon2idAlgorithm = 2;

/** A hash of 32 random bytes nobody kept. Verified for accounts that do not exist, so that they take as long. */
const dummyHash = '$argon2id$v=19$m=19456,t=2,p=1$nExHxXIFjrOiumd34ewVDA$VoxYmMk5HjT+iGuj/PicnK3UKFxwjrXYHtsxNPTe0Mk';

// Each hash takes 19 MiB and a thread of libuv's pool of four; file and name look-ups need the fourth.
const limit = createWorkLimit(Math.min(3, availableParallelism()), 5000);

export const passwordLength = { min: 10, max: 256 } as const;

// Of the published lists of leaked passwords: those of ten characters and more that come first.
const worstPasswords = new Set([
  ...['1234567890', '12345678910', '0123456789', '0987654321', '9876543210', '1234567891', '123456789a', 'a123456789'],
  ...[
    '123456789q',
    '1q2w3e4r5t',
    '1q2w3e4r5t6y',
    '1qaz2wsx3edc',
    'q1w2e3r4t5',
    'qwertyuiop',
    'qwerty1234',
    'qwerty12345',
  ],
  ...['qwerty123456', 'asdfghjkl;', 'zxcvbnm123', '1qazxsw23edc', 'password12', 'password123', 'password1234'],
  ...['password12345', 'passwordpassword', 'password01', 'passw0rd123', 'p@ssw0rd123', 'p@ssword123', 'iloveyou12'],
  ...[
    'iloveyou123',
    'welcome123',
    'welcome1234',
    'letmein123',
    'letmein1234',
    'changeme123',
    'administrator',
    'admin12345',
  ],
  ...[
    'admin123456',
    'superadmin',
    'abcdefghij',
    'abcdefghijk',
    'abc1234567',
    'abcd123456',
    'football123',
    'princess123',
  ],
  ...['basketball', 'correcthorsebatterystaple', 'trustno1trustno1', 'unbelievable', 'test123456', 'testtest123'],
]);

/** The form that is hashed: the same password typed on two keyboards gives the same bytes (NIST SP 800-63B §3.1.1.2). */
function normalise(password: string): string {
  return password.normalize('NFKC');
}

/** Whether the text can be a password at all: what it excludes cannot have been registered. */
function canBeHashed(password: string): boolean {
  // NFKC makes at most 18 characters of one (Unicode UAX #15), so the text is measured before as well.
  if (password.length > 2 * passwordLength.max || !password.isWellFormed() || password.includes('\0')) return false;
  return [...normalise(password)].length <= passwordLength.max;
}

/**
 * Says why a new password is not allowed, or nothing if it is. The text never contains the password.
 *
 * @param password as it was typed; length is counted in Unicode characters (code points) of its NFKC form
 * @param email of the account, which must not be its password
 */
export function passwordFault(password: string, email: string): string | undefined {
  const allowed = `must be ${passwordLength.min} to ${passwordLength.max} characters`;
  if (!password.isWellFormed() || password.includes('\0')) return `${allowed} of valid Unicode, without NUL`;
  if (!canBeHashed(password)) return `${allowed}, got more`;
  const normal = normalise(password);
  const length = [...normal].length;
  if (length < passwordLength.min) return `${allowed}, got ${length}`;
  const folded = normal.toLowerCase();
  const address = normalise(email).toLowerCase();
  if (folded === address || folded === address.split('@')[0]) return 'must not be the e-mail address';
  if (worstPasswords.has(folded) || new Set(folded).size === 1) {
    return 'is one of the first that are guessed; any other of 10 to 256 characters is allowed';
  }
  return undefined;
}

/**
 * @param field the name under which the caller sent the password, for the message
 * @throws Problem `validation_failed` when the password is not allowed
 */
export function requireAllowedPassword(password: string, email: string, field = 'password'): void {
  const fault = passwordFault(password, email);
  if (fault !== undefined) throw problem('validation_failed', `${field}: ${fault}`);
}

/**
 * Hashes a password that the rules allow.
 *
 * @returns PHC string, 97 characters
 * @throws Problem `unavailable` when thousands wait already
 */
export function hashPassword(password: string): Promise<string> {
  if (!canBeHashed(password)) throw problem('validation_failed', 'password: is not one that can be hashed');
  return limit.run(() => hash(normalise(password), cost));
}

/**
 * Checks a password. Takes as long when there is no account (`undefined`), when the account has no usable hash, and
 * when the text cannot be a password.
 *
 * @param stored PHC string of the account, or undefined when there is none
 * @throws Problem `unavailable` when thousands wait already
 */
export async function verifyPassword(stored: string | undefined, password: string): Promise<boolean> {
  const usable = stored !== undefined && canBeHashed(password) && parametersOf(stored) !== undefined;
  const matches = await limit.run(() => verify(usable ? stored : dummyHash, usable ? normalise(password) : ''));
  return usable && matches;
}

function parametersOf(stored: string): ReturnType<typeof parseOptions> | undefined {
  try {
    return parseOptions(stored);
  } catch {
    return undefined; // not a hash: an account that cannot log in
  }
}

/** True when the hash was made with other parameters than today's; hash again at the next successful log-in. */
export function needsRehash(stored: string): boolean {
  const used = parametersOf(stored);
  if (used === undefined) return true;
  return (
    Number(used.algorithm) !== argon2idAlgorithm ||
    used.memoryCost !== cost.memoryCost ||
    used.timeCost !== cost.timeCost ||
    used.parallelism !== cost.parallelism ||
    used.outputLen !== cost.outputLen
  );
}
