/** User ids for those who have none that is a UUID. */
import { createHash } from 'node:crypto';
import { parseUserId, type UserId } from '../isolation/identity.ts';

/**
 * A user's UUID made from what names him: the first 16 bytes of
 * SHA-256(`ringfence user` 00 namespace 00 value), all in UTF-8, with version 8 and variant 2 put in (RFC 9562, 5.8).
 * No text of Postgres holds a zero byte, so no two pairs come to the same bytes.
 *
 * The same as `ringfence_rollout.derived_user_id(namespace, value)`: tables, runs and the application agree.
 *
 * @param namespace what the value is a name in, so that user 7 of one system is not user 7 of another
 * @throws RangeError for a zero byte or half a surrogate pair, which Postgres takes in no text
 */
export function derivedUserId(namespace: string, value: string): UserId {
  for (const text of [namespace, value]) {
    if (text.includes('\0') || !text.isWellFormed()) throw new RangeError('not a text that Postgres could hold');
  }
  const hash = createHash('sha256').update(`ringfence user\0${namespace}\0${value}`, 'utf8').digest();
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x80, 6);
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = hash.toString('hex', 0, 16);
  const text = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  const userId = parseUserId(text);
  if (userId === null) throw new Error(`${text} is not a UUID`);
  return userId;
}
