/**
 * What a signed token looks like before anything in it is believed: its size, its three parts, its header, and which
 * issuer it claims. Nothing here says that a token is genuine.
 *
 * RFC 7519 (JWT), RFC 7515 (JWS), RFC 8725 (best current practice), RFC 9068 (access tokens).
 */

import { z } from 'zod';
import { maximumBearerLength } from './bearer.ts';

const absent = z.undefined().optional();

/** Header of a compact JWS. Anything that would supply a key, or that we would have to understand, is refused. */
const header = z.looseObject({
  alg: z.string(),
  typ: z.string().optional(),
  // Chooses among the provider's published keys; never used as a path, an address or a query.
  kid: z.string().max(512).optional(),
  jwk: absent,
  jku: absent,
  x5u: absent,
  x5c: absent,
  crit: absent,
  b64: absent,
  zip: absent,
  enc: absent,
});

const claims = z.looseObject({ iss: z.string().min(1) });

export interface TokenForm {
  readonly type: string | undefined;
  /** Names of all members of the header. */
  readonly headerNames: readonly string[];
  /** The issuer it claims, unverified: only good for choosing who verifies it. */
  readonly claimedIssuer: string;
}

/** RFC 7515 §2: base64url without padding; one spelling for each sequence of bytes (RFC 4648 §3.5). */
function decodeObject(part: string): unknown {
  const bytes = Buffer.from(part, 'base64url');
  if (bytes.toString('base64url') !== part) return undefined;
  try {
    const json = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    const value: unknown = JSON.parse(json);
    return hasDuplicateNames(json) ? undefined : value;
  } catch {
    return undefined;
  }
}

/**
 * RFC 7519 §4 lets a parser refuse duplicate claims or take the last. Refusing leaves no room for two parsers (a
 * gateway's and ours) to read two different users out of one token.
 *
 * @param json text that JSON.parse accepts
 */
export function hasDuplicateNames(json: string): boolean {
  const open: (Set<string> | null)[] = []; // a set for an object, null for an array
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"(?:\s*:)?|[{}[\]]/g)) {
    if (token === '{') open.push(new Set());
    else if (token === '[') open.push(null);
    else if (token === '}' || token === ']') open.pop();
    else if (token.endsWith(':')) {
      const name: unknown = JSON.parse(token.slice(0, -1).trimEnd());
      const names = open.at(-1);
      if (typeof name !== 'string' || names?.has(name)) return true;
      names?.add(name);
    }
  }
  return false;
}

/** Takes a compact JWS apart; null when it is not one that we would consider. */
export function readTokenForm(token: string): TokenForm | null {
  if (token.length > maximumBearerLength) return null;
  const parts = token.split('.');
  const [head = '', body = '', signature = ''] = parts;
  if (parts.length !== 3 || !/^[A-Za-z0-9_-]+$/.test(signature)) return null;
  if (Buffer.from(signature, 'base64url').toString('base64url') !== signature) return null;
  const parsedHeader = header.safeParse(decodeObject(head));
  const parsedClaims = claims.safeParse(decodeObject(body));
  if (!parsedHeader.success || !parsedClaims.success) return null;
  return {
    type: parsedHeader.data.typ,
    headerNames: Object.keys(parsedHeader.data),
    claimedIssuer: parsedClaims.data.iss,
  };
}
