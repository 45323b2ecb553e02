/**
 * Tells a signing secret from a placeholder. The secret is the root of every access token (and of the database roles'
 * passwords when the server makes them), so a text that ships with a guide or that a person typed by rolling over the
 * keyboard is refused at the start instead of being found by the first attacker with a word list.
 */

/** RFC 7518 §3.2: a key of at least the hash's size. 32 bytes is what HS256 asks. */
export const minimumSecretBytes = 32;

// Compared with letters and digits only, in lower case. From the deployment guide, the jwt.io editor and the example
// files of common frameworks. Long enough that 32 random bytes in any encoding do not contain one by chance.
const placeholderWords = [
  'yourproductionjwtsecret',
  'your256bitsecret',
  'yoursecret',
  'yourjwtsecret',
  'yoursupersecret',
  'asupersecret',
  'stringsecretatleast',
  'changeme',
  'changethis',
  'changeinproduction',
  'replaceme',
  'replacethis',
  'placeholder',
  'donotuse',
  'insecure',
  'examplesecret',
  'secretexample',
  'examplekey',
  'defaultsecret',
  'secretkeyhere',
  'secrethere',
  'mysecretkey',
  'supersecretkey',
  'supersecretjwt',
  'jwtsecretkey',
  'password',
  'qwertyuiop',
  'keyboardcat',
];

function isPlaceholder(secret: string): boolean {
  const letters = secret.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
  return placeholderWords.some((word) => letters.includes(word));
}

/** True when the text is a shorter one written again and again ("abcdabcd…"). */
function isRepetition(secret: string): boolean {
  for (let unit = 1; unit <= secret.length / 2; unit++) {
    if (
      secret ===
      secret
        .slice(0, unit)
        .repeat(Math.ceil(secret.length / unit))
        .slice(0, secret.length)
    )
      return true;
  }
  return false;
}

/** True when most characters follow their neighbour in the code table ("abcdef…", "987654…", "aaaa…"). */
function isMostlySequence(secret: string): boolean {
  let steps = 0;
  for (let i = 1; i < secret.length; i++) {
    if (Math.abs(secret.charCodeAt(i) - secret.charCodeAt(i - 1)) <= 1) steps++;
  }
  return steps > secret.length / 2;
}

/**
 * Says why a signing secret is not accepted, or nothing if it is. The text never contains the secret.
 *
 * @param secret taken as its UTF-8 bytes
 * @param minimumBytes 32 for HS256, 48 for HS384, 64 for HS512 (RFC 7518 §3.2)
 */
export function secretWeakness(secret: string, minimumBytes: number = minimumSecretBytes): string | undefined {
  const advice = 'make one with: openssl rand -base64 48';
  if (secret !== secret.trim()) return `must not begin or end with white space; ${advice}`;
  if (isPlaceholder(secret)) return `is a well-known placeholder; ${advice}`;
  const bytes = Buffer.byteLength(secret, 'utf8');
  if (bytes < minimumBytes) return `must be at least ${minimumBytes} bytes, got ${bytes}; ${advice}`;
  // 32 random hexadecimal digits have fewer than 8 different ones about once in 10^7.
  if (new Set(secret).size < 8) return `must have at least 8 different characters; ${advice}`;
  if (isRepetition(secret)) return `must not be a short text repeated; ${advice}`;
  if (isMostlySequence(secret)) return `must not be a sequence such as "abcdef"; ${advice}`;
  return undefined;
}
