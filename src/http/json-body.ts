/**
 * A body's bytes as JSON that everything behind it can hold. What JSON allows and Postgres, a client or a recursive
 * function does not is refused here, once, for every field of every route: also inside free-form metadata and in keys.
 */
import { type Problem, problem } from '../errors.ts';
import { refusal } from './refusal.ts';

/**
 * Objects and lists within each other, the outermost one counted. Far more than anybody's data, and few enough for
 * whatever walks them by recursion: zod's parser overflows the stack at some ten thousand levels.
 */
export const depthMax = 64;

const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * @returns the value, or undefined for a body of nothing but white space
 * @throws Problem `malformed_request` when it is no JSON (RFC 8259), `validation_failed` when it is JSON that cannot
 * be kept: NUL, a lone surrogate, a number beyond a double's range, `__proto__` as a key, too many levels
 */
export function parseJsonBody(bytes: Uint8Array): unknown {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw problem('malformed_request', 'body: must be UTF-8 (RFC 8259).');
  }
  if (text.trim() === '') return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw problem('malformed_request', `body: must be JSON; ${firstFault(text)}`);
  }
  const fault = unkeepable(value);
  if (fault) throw fault;
  return value;
}

/** A hint at the commonest mistakes; never a part of the body itself, which may hold a password. */
function firstFault(text: string): string {
  const start = text.trimStart().charAt(0);
  if (start === '{' || start === '[') return 'look for a missing quote, comma or bracket, or a control character.';
  if (start === "'") return 'it starts with a single quote: the shell did not take that away, use double quotes.';
  return 'it has to start with { and end with }.';
}

interface Place {
  readonly value: unknown;
  readonly key: string | number;
  readonly parent: Place | undefined;
  readonly depth: number;
}

/** Goes through the value without recursion: a hundred thousand levels fit into one body. */
function unkeepable(body: unknown): Problem | undefined {
  const places: Place[] = [{ value: body, key: '', parent: undefined, depth: 1 }];
  for (let place = places.pop(); place !== undefined; place = places.pop()) {
    const { value, depth } = place;
    const message = faultOf(value, depth);
    if (message !== undefined) return refusal([{ field: fieldOf(place), message }]);
    if (typeof value !== 'object' || value === null) continue;
    if (Array.isArray(value)) {
      for (const [key, item] of value.entries()) places.push({ value: item, key, parent: place, depth: depth + 1 });
      continue;
    }
    for (const [key, item] of Object.entries(value)) {
      const keyFault = faultOfKey(key);
      if (keyFault !== undefined) return refusal([{ field: fieldOf(place), message: keyFault }]);
      places.push({ value: item, key, parent: place, depth: depth + 1 });
    }
  }
  return undefined;
}

function faultOf(value: unknown, depth: number): string | undefined {
  if (typeof value === 'string') return isKeepable(value) ? undefined : 'must not contain NUL or a lone surrogate';
  // JSON has no infinity, but 1e999 is read as one.
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : 'a number is out of range';
  if (typeof value === 'object' && value !== null && depth > depthMax) {
    return `must not be nested more than ${depthMax} levels deep`;
  }
  return undefined;
}

function faultOfKey(key: string): string | undefined {
  if (!isKeepable(key)) return 'a key must not contain NUL or a lone surrogate';
  // JSON.parse keeps it as an ordinary key, but the next assignment would set a prototype instead.
  return key === '__proto__' ? 'a key must not be __proto__' : undefined;
}

function isKeepable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}

const fieldPartsMax = 8;

function fieldOf(place: Place): string {
  const parts: string[] = [];
  for (let at: Place | undefined = place; at?.parent; at = at.parent) parts.unshift(String(at.key));
  const shown = parts.slice(0, fieldPartsMax).join('.').toWellFormed().replaceAll('\0', '\u{fffd}').slice(0, 200);
  return shown === '' ? 'body' : shown + (parts.length > fieldPartsMax ? '…' : '');
}
