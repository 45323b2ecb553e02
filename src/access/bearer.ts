/**
 * Reads the Authorization header. The answer is exactly one of: none, malformed, a token. A request with two of them
 * is malformed, never "the first" or "the last": a proxy in front may have checked the other one.
 *
 * RFC 6750 §2.1 (Bearer), RFC 9110 §11.4 and §11.6.2 (case-insensitive scheme, one field, not a list).
 */

/** Room for our own tokens (a few hundred bytes) and for large ones of outside providers. */
export const maximumBearerLength = 8 * 1024;

export type BearerHeader =
  | { readonly kind: 'none' }
  /** `reason` may be shown; it never contains the header. */
  | { readonly kind: 'malformed'; readonly reason: string }
  | { readonly kind: 'token'; readonly token: string };

function malformed(reason: string): BearerHeader {
  return { kind: 'malformed', reason };
}

const form = 'Authorization: Bearer <token>';

/**
 * @param header the field's value; or all values of the field, so that duplicates are seen. Node's `headers` keeps only
 *   the first of several Authorization fields: pass `headersDistinct.authorization`.
 */
export function parseBearer(header: string | readonly string[] | undefined): BearerHeader {
  if (header === undefined) return { kind: 'none' };
  if (typeof header !== 'string') {
    const [first, ...more] = header;
    return more.length > 0 ? malformed('there is more than one Authorization header') : parseBearer(first);
  }
  if (header.length > maximumBearerLength + 'Bearer '.length) return malformed('the Authorization header is too long');
  const [, scheme = '', rest = ''] = /^([^ ]*) *(.*)$/s.exec(header) ?? [];
  if (scheme === '') return malformed(`the Authorization header is empty; the form is ${form}`);
  if (scheme.toLowerCase() !== 'bearer') return malformed(`the scheme is not Bearer; the form is ${form}`);
  if (rest === '') return malformed(`no token follows Bearer; the form is ${form}`);
  if (rest.length > maximumBearerLength) return malformed('the token is too long');
  // b64token of RFC 6750 §2.1: no commas, no spaces, no quotes, ASCII alone.
  if (!/^[A-Za-z0-9._~+/-]+=*$/.test(rest)) return malformed('the token has characters that no token has');
  return { kind: 'token', token: rest };
}
