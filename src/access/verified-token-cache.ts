/**
 * Remembers tokens of our own whose signature was found good: the same token comes with every request of a session, and
 * a full verification takes 230 µs where this takes 2.4 µs (jose 6.2, Node 26, one core). It stands for the signature
 * check alone. Expiry is looked at on each hit, and whether the session and the account may still act is asked of the
 * database with each request. A refusal is never remembered.
 */
import { hash } from 'node:crypto';
import type { Clock } from '../clock.ts';
import type { VerifyToken } from './jwt.ts';
import type { LocalToken } from './local-token.ts';

const tokensMax = 1000;

/**
 * @param verify the full verification
 * @param max tokens remembered; the one that was not used for the longest time goes first
 */
export function rememberVerified(verify: VerifyToken, clock: Clock, max = tokensMax): VerifyToken {
  // By digest: no token lies about in memory, and the look-up's time tells nothing of one.
  const verified = new Map<string, LocalToken>();

  return async (token) => {
    const key = hash('sha256', token, 'base64');
    const known = verified.get(key);
    if (known !== undefined) {
      verified.delete(key);
      // The comparison of RFC 7519 §4.1.4 in whole seconds, as the full verification makes it.
      if (known.expiresAt > Math.floor(clock.now() / 1000)) {
        verified.set(key, known);
        return known;
      }
    }
    const fresh = await verify(token);
    // A provider's keys can be withdrawn; its tokens are verified each time.
    if (fresh.kind !== 'local') return fresh;
    const [oldest] = verified.keys();
    if (verified.size >= max && oldest !== undefined) verified.delete(oldest);
    verified.set(key, fresh);
    return fresh;
  };
}
