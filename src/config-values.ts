/**
 * Readers for the values of environment variables: text in, typed value out, and a fault that says what is allowed.
 * Values of secret variables are never repeated in a fault.
 */

import { isIP } from 'node:net';
import { z } from 'zod';
import { secretWeakness } from './access/secret-strength.ts';

/** A reader of one variable. */
export type ValueSchema<T> = z.ZodType<T, string>;

/** Empty is a mistake, not "unset": an empty DATABASE_URL must not quietly start an embedded Postgres. */
const given = z.string().min(1, 'is set but empty; give it a value or unset it');

function reader<T>(read: (text: string) => { value: T } | { fault: string }): ValueSchema<T> {
  return given.transform((text, context): T => {
    const result = read(text);
    if ('value' in result) return result.value;
    context.addIssue({ code: 'custom', message: result.fault });
    return z.NEVER;
  });
}

function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}

export const text: ValueSchema<string> = given;

export const trueOrFalse: ValueSchema<boolean> = reader((value) => {
  if (value === 'true' || value === '1') return { value: true };
  if (value === 'false' || value === '0') return { value: false };
  return { fault: `must be true, false, 1 or 0, got ${quote(value)}` };
});

export function wholeNumber(min: number, max: number): ValueSchema<number> {
  return reader((value) => {
    const number = Number(value);
    if (/^\d{1,15}$/.test(value) && number >= min && number <= max) return { value: number };
    return { fault: `must be a whole number from ${min} to ${max}, got ${quote(value)}` };
  });
}

/** A number above zero, as digits with an optional decimal part; the result is in whole seconds, at least one. */
export function duration(unit: 'hours' | 'days', max: number): ValueSchema<number> {
  const seconds = unit === 'hours' ? 3600 : 86_400;
  return reader((value) => {
    const number = Number(value);
    if (/^\d{1,9}(\.\d{1,9})?$/.test(value) && number > 0 && number <= max) {
      return { value: Math.max(1, Math.round(number * seconds)) };
    }
    return { fault: `must be a number of ${unit} above 0 and at most ${max}, got ${quote(value)}` };
  });
}

export function oneOf<const T extends string>(allowed: readonly T[]): ValueSchema<T> {
  return reader((value) => {
    const found = allowed.find((entry) => entry === value);
    if (found !== undefined) return { value: found };
    return { fault: `must be one of ${allowed.join(', ')}, got ${quote(value)}` };
  });
}

export const localAlgorithms = ['HS256', 'HS384', 'HS512'] as const;
export type LocalAlgorithm = (typeof localAlgorithms)[number];

export const localAlgorithm: ValueSchema<LocalAlgorithm> = reader((value) => {
  const found = localAlgorithms.find((entry) => entry === value);
  if (found !== undefined) return { value: found };
  return {
    fault:
      `must be one of ${localAlgorithms.join(', ')}, got ${quote(value)}; ` +
      'it is for tokens signed with JWT_SECRET_KEY: those of an outside provider (RS256, ES256, EdDSA) ' +
      'are accepted by setting JWT_JWKS_URL',
  };
});

export const signingSecret: ValueSchema<string> = reader((value) => {
  const fault = secretWeakness(value);
  return fault === undefined ? { value } : { fault };
});

export const postgresUrl: ValueSchema<string> = reader((value) => {
  const form = 'postgresql://user:password@host:port/database';
  const url = URL.parse(value);
  if (url === null) {
    return { fault: `is not a URL; the form is ${form}, with special characters percent-encoded` };
  }
  if (url.protocol !== 'postgresql:' && url.protocol !== 'postgres:') {
    return { fault: `must begin with postgresql:// or postgres://; the form is ${form}` };
  }
  // WHATWG: what follows an unencoded # is a fragment, so half of a password or the database would be dropped.
  if (url.hash !== '') return { fault: 'holds a # that is not percent-encoded (%23)' };
  if (!/^postgres(ql)?:\/\//.test(value)) return { fault: `must have // after the colon; the form is ${form}` };
  return { value };
});

/** True for this machine's own addresses, for which plain http is acceptable. */
function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || (isIP(hostname) === 4 && hostname.startsWith('127.'));
}

export const jwksUrl: ValueSchema<string> = reader((value) => {
  const url = URL.parse(value);
  if (url === null) return { fault: 'is not a URL; the form is https://provider.example/.well-known/jwks.json' };
  if (url.username !== '' || url.password !== '') return { fault: 'must not hold a user name or password' };
  if (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname))) return { value: url.href };
  return { fault: 'must begin with https:// (http:// is allowed for this machine alone)' };
});

export const hostName: ValueSchema<string> = reader((value) => {
  if (isIP(value) !== 0) return { value };
  // RFC 1123 §2.1. All-digit last labels are mistyped addresses ("127.0.0", "256.1.1.1").
  const label = '[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?';
  const name = new RegExp(`^${label}(\\.${label})*$`);
  if (value.length <= 253 && name.test(value) && !/(^|\.)\d+$/.test(value)) return { value };
  return { fault: `must be an IP address or a host name, without port or scheme, got ${quote(value)}` };
});

function isAddressRange(entry: string): boolean {
  const [address = '', prefix, ...rest] = entry.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128));
}

/** `false`, `true`, or the proxies whose X-Forwarded-For is believed. */
export const trustedProxies: ValueSchema<boolean | readonly string[]> = reader<boolean | readonly string[]>((value) => {
  const flag = trueOrFalse.safeParse(value);
  if (flag.success) return { value: flag.data };
  const entries = value.split(',').map((entry) => entry.trim());
  if (entries.every(isAddressRange)) return { value: Object.freeze(entries) };
  return { fault: `must be true, false, or addresses such as 10.0.0.1, 10.1.0.0/16, got ${quote(value)}` };
});
