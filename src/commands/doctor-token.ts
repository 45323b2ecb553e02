/**
 * Why a token is refused (guide G64–G67). A caller only learns "Invalid token"; whoever runs the server may know which
 * check it was. The token is read, never believed, and never shown.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { validate as isUuid } from 'uuid';
import { z } from 'zod';
import { parseBearer } from '../access/bearer.ts';
import type { LocalIssuer } from '../access/local-token.ts';
import { opaqueTokenKind } from '../access/opaque-token.ts';
import { readTokenForm } from '../access/token-form.ts';
import type { JwksConfig } from '../config.ts';
import { type Finding, fail, pass, warn } from '../rollout/finding.ts';

export interface TokenExpectations {
  /** Without a secret everything but the signature is looked at. */
  readonly local: Omit<LocalIssuer, 'secretKey'> & { readonly secretKey: string | undefined };
  readonly jwks: JwksConfig | undefined;
  /** Milliseconds since 1970. */
  readonly now: number;
}

export interface TokenDiagnosis {
  readonly findings: readonly Finding[];
  /** Whom and which session the token names; only where all checks so far passed. */
  readonly session: { readonly userId: string; readonly sessionId: string } | null;
}

const what = 'the token';
const skewSeconds = 60;
const members = z.record(z.string(), z.unknown());

/** @param given what was read: the token, `Bearer token`, or the whole header */
export function diagnoseToken(given: string, expected: TokenExpectations): TokenDiagnosis {
  const findings: Finding[] = [];
  const token = withoutHeader(given.trim(), findings);
  if (token === undefined) return { findings, session: null };
  const kind = opaqueTokenKind(token);
  if (kind === 'refresh') {
    const message = 'is a refresh token, which opens nothing but POST /api/auth/refresh';
    return { findings: [fail('token-kind', what, message, 'send the access token')], session: null };
  }
  if (kind === 'api') {
    const message =
      'is an API token: it is looked up in the database, its owner sees on /api/tokens whether it is revoked or expired';
    return { findings: [...findings, pass('token-kind', what, message)], session: null };
  }
  const [head, body] = token.split('.').map(decoded);
  if (!head || !body || token.split('.').length !== 3) {
    const message = `is no JWT: it has ${token.split('.').length} part(s), ${head && body ? 'not three' : 'and one of the first two is no JSON object'}`;
    return {
      findings: [...findings, fail('token-form', what, message, 'copy the whole token, three parts with dots between')],
      session: null,
    };
  }
  const before = findings.length;
  if (readTokenForm(token) === null) {
    findings.push(
      fail(
        'token-form',
        what,
        `has a form that is refused: header ${Object.keys(head).join(', ')}`,
        'a header with its own keys (jwk, jku, x5c), crit, or a name given twice is never accepted; get a new token',
      ),
    );
  }
  const ours = body.iss === expected.local.issuer;
  findings.push(
    ...(ours ? ofOurs(token, head, body, expected) : ofAnother(body, expected)),
    ...timesOf(body, expected.now),
  );
  if (findings.slice(before).some(({ severity }) => severity === 'fail')) return { findings, session: null };
  const { sub, sid } = body;
  const session = ours && typeof sub === 'string' && typeof sid === 'string' ? { userId: sub, sessionId: sid } : null;
  return { findings, session };
}

function withoutHeader(given: string, findings: Finding[]): string | undefined {
  if (given === '') {
    findings.push(
      fail(
        'token',
        what,
        'nothing was given on standard input',
        'printf %s "$TOKEN" | ringfence doctor "Invalid token" --token',
      ),
    );
    return undefined;
  }
  const header = /^authorization\s*:\s*(.*)$/is.exec(given)?.[1];
  const value = header ?? (/^[a-z]+ +\S/i.test(given) ? given : `Bearer ${given}`);
  const bearer = parseBearer(value.trim());
  if (bearer.kind === 'token') return bearer.token;
  const reason = bearer.kind === 'malformed' ? bearer.reason : 'there is no header';
  findings.push(fail('bearer', what, reason, 'send it as: Authorization: Bearer <token>'));
  return undefined;
}

function decoded(part: string): Record<string, unknown> | undefined {
  try {
    return members.parse(JSON.parse(Buffer.from(part, 'base64url').toString('utf8')));
  } catch {
    return undefined;
  }
}

function ofOurs(
  token: string,
  head: Record<string, unknown>,
  body: Record<string, unknown>,
  { local }: TokenExpectations,
): Finding[] {
  const findings: Finding[] = [];
  if (head.alg !== local.algorithm) {
    const remedy = `only ${local.algorithm} is accepted (JWT_ALGORITHM); log in again for a new token`;
    findings.push(fail('token-algorithm', what, `says it is signed with ${String(head.alg)}`, remedy));
  } else findings.push(signatureFinding(token, local));
  if (head.typ !== 'at+jwt') {
    findings.push(
      fail('token-type', what, `has the type ${String(head.typ)}, not at+jwt`, 'send an access token, not an ID token'),
    );
  }
  if (body.aud !== local.audience) {
    const message = `is for the audience ${JSON.stringify(body.aud)}, this server is ${JSON.stringify(local.audience)}`;
    findings.push(
      fail('token-audience', what, message, 'set JWT_AUDIENCE alike on every server, or get a token from this one'),
    );
  }
  if (typeof body.sub !== 'string' || !isUuid(body.sub)) {
    findings.push(
      fail(
        'token-subject',
        what,
        'names no user: "sub" is no UUID (User ID not found in request)',
        'get a token by logging in',
      ),
    );
  }
  return findings;
}

const digests = { HS256: 'sha256', HS384: 'sha384', HS512: 'sha512' } as const;

function signatureFinding(
  token: string,
  { algorithm, secretKey, previousSecretKey }: TokenExpectations['local'],
): Finding {
  if (secretKey === undefined) {
    return warn(
      'token-signature',
      what,
      'was not checked: JWT_SECRET_KEY is not set here',
      'set it as the server has it',
    );
  }
  const signs = (key: string | Buffer) => {
    const at = token.lastIndexOf('.');
    const mac = createHmac(digests[algorithm], key).update(token.slice(0, at)).digest();
    const signature = Buffer.from(token.slice(at + 1), 'base64url');
    return signature.length === mac.length && timingSafeEqual(signature, mac);
  };
  if (signs(secretKey)) return pass('token-signature', what, 'is signed with JWT_SECRET_KEY');
  if (previousSecretKey !== undefined && signs(previousSecretKey)) {
    const remedy = 'keep JWT_SECRET_KEY_PREVIOUS until such tokens have expired, on every server';
    return warn('token-signature', what, 'is signed with JWT_SECRET_KEY_PREVIOUS: accepted while that is set', remedy);
  }
  // What goes wrong between two programs that "have the same secret".
  const variants: readonly (readonly [string, string | Buffer])[] = [
    ['with a line feed at its end', `${secretKey}\n`],
    ['with quotes around it', `"${secretKey}"`],
    ['read as base64', Buffer.from(secretKey, 'base64')],
    ['read as hexadecimal', Buffer.from(secretKey, 'hex')],
  ];
  const variant = variants.find(([, key]) => signs(key));
  if (variant) {
    const message = `is signed with JWT_SECRET_KEY ${variant[0]}`;
    return fail(
      'token-signature',
      what,
      message,
      'this server takes the value as it is, as UTF-8: make the one who signs do so',
    );
  }
  const remedy = 'use one JWT_SECRET_KEY on every server; after a change put the old one into JWT_SECRET_KEY_PREVIOUS';
  return fail('token-signature', what, 'is signed with another secret than JWT_SECRET_KEY', remedy);
}

function ofAnother(body: Record<string, unknown>, { local, jwks }: TokenExpectations): Finding[] {
  const { iss, aud } = body;
  if (jwks === undefined || iss !== jwks.issuer) {
    const known = [local.issuer, ...(jwks ? [jwks.issuer] : [])].map((name) => JSON.stringify(name)).join(' or ');
    const message = `comes from the issuer ${JSON.stringify(iss)}, this server knows ${known}`;
    return [
      fail(
        'token-issuer',
        what,
        message,
        'get a token from this server, or set JWT_ISSUER (with JWT_JWKS_URL for an outside provider)',
      ),
    ];
  }
  if ((Array.isArray(aud) ? aud : [aud]).includes(jwks.audience)) {
    return [pass('token-issuer', what, `comes from the outside provider, whose keys at ${jwks.url} verify it`)];
  }
  const message = `is for the audience ${JSON.stringify(aud)}, JWT_AUDIENCE is ${JSON.stringify(jwks.audience)}`;
  return [
    fail(
      'token-audience',
      what,
      message,
      "ask the provider for a token with this audience, or set JWT_AUDIENCE to the token's",
    ),
  ];
}

function timesOf({ exp, iat }: Record<string, unknown>, nowMs: number): Finding[] {
  const now = nowMs / 1000;
  if (typeof exp !== 'number')
    return [fail('token-expiry', what, 'has no time at which it expires', 'get a token by logging in')];
  const findings: Finding[] = [];
  if (exp <= now) {
    const message = `expired ${span(now - exp)} ago, at ${time(exp)} (Token expired)`;
    findings.push(
      fail('token-expiry', what, message, 'refresh it or log in again; JWT_TOKEN_EXPIRE_HOURS is how long one lasts'),
    );
  } else findings.push(pass('token-expiry', what, `is good for another ${span(exp - now)}`));
  if (typeof iat === 'number' && iat > now + skewSeconds) {
    const message = `was issued ${span(iat - now)} in the future of this machine's clock`;
    findings.push(fail('token-clock', what, message, 'set the clocks of both machines (NTP)'));
  }
  return findings;
}

function time(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? String(seconds) : date.toISOString();
}

function span(seconds: number): string {
  const units: readonly (readonly [number, string])[] = [
    [86_400, 'day'],
    [3_600, 'hour'],
    [60, 'minute'],
    [1, 'second'],
  ];
  const [size, name] = units.find(([unit]) => seconds >= unit) ?? [1, 'second'];
  const count = Math.floor(seconds / size);
  return `${count} ${name}${count === 1 ? '' : 's'}`;
}
