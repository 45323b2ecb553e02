/**
 * The configuration: the one place that reads the environment. It is parsed once, every fault is reported in the same
 * go by the variable's name, and what comes out is frozen and typed. Nothing else looks at `process.env`.
 */

import { resolve } from 'node:path';
import { z } from 'zod';
import { secretWeakness } from './access/secret-strength.ts';
import {
  duration,
  hostName,
  jwksUrl,
  type LocalAlgorithm,
  localAlgorithm,
  oneOf,
  postgresUrl,
  signingSecret,
  text,
  trueOrFalse,
  trustedProxies,
  type ValueSchema,
  wholeNumber,
} from './config-values.ts';
import { problem } from './errors.ts';

const defaultIssuer = 'ringfence';
const defaultAudience = 'ringfence-api';

interface VariableNotes {
  readonly meaning: string;
  readonly default?: string;
  /** The value, or a part of it, must not be shown. */
  readonly secret?: boolean;
}

const notes = z.registry<VariableNotes>();

function optional<T>(schema: ValueSchema<T>, meaning: string): z.ZodType<T | undefined, string | undefined> {
  return schema.optional().register(notes, { meaning });
}

function secret<T>(schema: ValueSchema<T>, meaning: string): z.ZodType<T | undefined, string | undefined> {
  return schema.optional().register(notes, { meaning, secret: true });
}

function withDefault<T>(fallback: string, schema: ValueSchema<T>, meaning: string): z.ZodType<T, string | undefined> {
  return schema.prefault(fallback).register(notes, { meaning, default: fallback });
}

const shape = {
  DATABASE_URL: secret(
    postgresUrl,
    'The Postgres to use, as its owner, in the form postgresql://user:password@host:port/database. Without it an embedded Postgres is started in DATA_DIR.',
  ),
  DATABASE_APP_URL: secret(
    postgresUrl,
    'Log-in of the role that serves users. Together with DATABASE_SYSTEM_URL the server needs no owner.',
  ),
  DATABASE_SYSTEM_URL: secret(postgresUrl, 'Log-in of the role for system mode. Goes with DATABASE_APP_URL.'),
  DATABASE_POOL_SIZE: withDefault('10', wholeNumber(1, 1000), 'Connections kept for serving users.'),
  JWT_SECRET_KEY: secret(
    signingSecret,
    'Signs access tokens; at least 32 bytes. Required with an external database; otherwise made and kept in DATA_DIR.',
  ),
  JWT_SECRET_KEY_PREVIOUS: secret(
    signingSecret,
    'The secret before the present one, while it is being replaced: tokens signed with it are still accepted.',
  ),
  IDENTITY_SECRET: secret(
    signingSecret,
    'What `ringfence identity install` makes the key from that another application signs its identities with; at least 32 bytes. Our own server has no use for it.',
  ),
  JWT_ALGORITHM: withDefault('HS256', localAlgorithm, 'Algorithm of access tokens: HS256, HS384 or HS512.'),
  JWT_TOKEN_EXPIRE_HOURS: withDefault('24', duration('hours', 8760), 'Life of an access token in hours.'),
  JWT_REFRESH_EXPIRE_DAYS: withDefault('30', duration('days', 3650), 'Life of a refresh token in days.'),
  JWT_JWKS_URL: optional(
    jwksUrl,
    'Keys of an outside identity provider (RS256, ES256, EdDSA). https, or http on this machine.',
  ),
  JWT_ISSUER: optional(
    text,
    `The outside provider's "iss" when JWT_JWKS_URL is set; otherwise that of our own tokens (${defaultIssuer}).`,
  ),
  JWT_AUDIENCE: optional(
    text,
    `The "aud" asked of the outside provider's tokens when JWT_JWKS_URL is set; otherwise that of our own tokens (${defaultAudience}).`,
  ),
  JWT_JWKS_CREATE_USERS: withDefault(
    'false',
    trueOrFalse,
    'Whether somebody known to the outside provider alone gets an account on first use.',
  ),
  USER_ISOLATION_ENABLED: withDefault(
    'true',
    trueOrFalse,
    'false lets everybody who is signed in see everything: the immediate rollback, not a mode to live in.',
  ),
  REGISTRATION_ENABLED: withDefault('true', trueOrFalse, 'Whether strangers may register.'),
  HOST: withDefault('127.0.0.1', hostName, 'Address to listen on.'),
  PORT: withDefault('8080', wholeNumber(0, 65_535), 'Port to listen on; 0 takes a free one.'),
  TRUST_PROXY: withDefault(
    'false',
    trustedProxies,
    'Whether X-Forwarded-For is believed: true, false, or the addresses of the proxies.',
  ),
  REQUEST_RATE_LIMIT_PER_MINUTE: withDefault(
    '0',
    wholeNumber(0, 1_000_000),
    'Requests a minute for one user or address; 0 sets no limit.',
  ),
  CREDENTIAL_RATE_LIMIT_PER_MINUTE: withDefault(
    '10',
    wholeNumber(0, 1_000_000),
    'Attempts a minute at registering, logging in and the like for one address; 0 sets no limit.',
  ),
  DATA_DIR: withDefault('.ringfence', text, 'Where the embedded Postgres and the generated secret live.'),
  LOG_DIR: optional(text, 'Where application.log and security.log are written besides standard output.'),
  LOG_LEVEL: withDefault(
    'info',
    oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
    'fatal, error, warn, info, debug, trace or silent.',
  ),
};

export type VariableName = keyof typeof shape;
type Values = z.output<z.ZodObject<typeof shape>>;
type Texts = Readonly<Partial<Record<VariableName, string | undefined>>>;

export interface ConfigVariable {
  readonly name: string;
  /** As text, as it would be set; undefined when there is none. */
  readonly default: string | undefined;
  readonly meaning: string;
  readonly secret: boolean;
}

/** Every variable, in the order in which the documentation shows them. */
export const configVariables: readonly ConfigVariable[] = Object.entries(shape).map(([name, schema]) => {
  const { default: fallback, meaning, secret: hidden } = notes.get(schema) ?? { meaning: '' };
  return { name, default: fallback, meaning, secret: hidden ?? false };
});

/** What signs and verifies our own tokens. */
export interface JwtConfig {
  /** Undefined: take it from the data directory (`loadOrCreateSecret`). Never undefined where an external database is served. */
  readonly secretKey: string | undefined;
  readonly previousSecretKey: string | undefined;
  readonly algorithm: LocalAlgorithm;
  readonly issuer: string;
  readonly audience: string;
  readonly accessTokenSeconds: number;
  readonly refreshTokenSeconds: number;
}

/** The outside identity provider. */
export interface JwksConfig {
  readonly url: string;
  readonly issuer: string;
  readonly audience: string;
  readonly createUsers: boolean;
}

export interface EmbeddedDatabaseConfig {
  readonly kind: 'embedded';
  readonly poolSize: number;
}

export interface ExternalDatabaseConfig {
  readonly kind: 'external';
  /** The owner; undefined when only the two lesser roles are given. */
  readonly ownerUrl: string | undefined;
  /** Both or neither. */
  readonly roles: { readonly appUrl: string; readonly systemUrl: string } | undefined;
  readonly poolSize: number;
}

export interface Config {
  readonly database: EmbeddedDatabaseConfig | ExternalDatabaseConfig;
  readonly jwt: JwtConfig;
  readonly jwks: JwksConfig | undefined;
  /** Of another application than our server, on its own database. */
  readonly identitySecret: string | undefined;
  readonly userIsolationEnabled: boolean;
  readonly registrationEnabled: boolean;
  readonly host: string;
  readonly port: number;
  readonly trustProxy: boolean | readonly string[];
  /** 0 sets no limit. */
  readonly requestsPerMinute: number;
  /** 0 sets no limit. */
  readonly credentialAttemptsPerMinute: number;
  /** Absolute. */
  readonly dataDir: string;
  /** Absolute. */
  readonly logDir: string | undefined;
  readonly logLevel: Values['LOG_LEVEL'];
}

interface Fault {
  readonly name: string;
  readonly fault: string;
}

/** Faults of variables that are right alone and wrong together; looked for even when single values are wrong. */
function faultsBetween(texts: Texts, serving: boolean): Fault[] {
  const faults: Fault[] = [];
  const add = (name: VariableName, fault: string) => faults.push({ name, fault });

  const app = texts.DATABASE_APP_URL !== undefined;
  const system = texts.DATABASE_SYSTEM_URL !== undefined;
  if (app && !system) add('DATABASE_SYSTEM_URL', 'is required when DATABASE_APP_URL is set');
  if (system && !app) add('DATABASE_APP_URL', 'is required when DATABASE_SYSTEM_URL is set');
  if (serving && texts.JWT_SECRET_KEY === undefined && (texts.DATABASE_URL !== undefined || app || system)) {
    add('JWT_SECRET_KEY', 'is required with an external database; make one with: openssl rand -base64 48');
  }

  // RFC 7518 §3.2. The general minimum of 32 bytes is the single value's own fault.
  const least = { HS384: 48, HS512: 64 }[texts.JWT_ALGORITHM ?? ''];
  for (const name of ['JWT_SECRET_KEY', 'JWT_SECRET_KEY_PREVIOUS'] as const) {
    const value = texts[name];
    if (least === undefined || value === undefined || secretWeakness(value) !== undefined) continue;
    const weakness = secretWeakness(value, least);
    if (weakness !== undefined) add(name, `${weakness} (JWT_ALGORITHM is ${texts.JWT_ALGORITHM})`);
  }
  if (texts.JWT_SECRET_KEY_PREVIOUS !== undefined && texts.JWT_SECRET_KEY_PREVIOUS === texts.JWT_SECRET_KEY) {
    add('JWT_SECRET_KEY_PREVIOUS', 'must differ from JWT_SECRET_KEY; unset it when nothing is being replaced');
  }

  if (texts.JWT_JWKS_URL !== undefined) {
    if (texts.JWT_ISSUER === undefined) add('JWT_ISSUER', 'is required when JWT_JWKS_URL is set');
    if (texts.JWT_AUDIENCE === undefined) add('JWT_AUDIENCE', 'is required when JWT_JWKS_URL is set');
    // The issuer decides which key verifies a token, so the two must not be the same.
    if (texts.JWT_ISSUER === defaultIssuer) {
      add('JWT_ISSUER', `must be the outside provider's issuer; "${defaultIssuer}" is that of our own tokens`);
    }
  } else if (texts.JWT_JWKS_CREATE_USERS === 'true' || texts.JWT_JWKS_CREATE_USERS === '1') {
    add('JWT_JWKS_CREATE_USERS', 'has no effect without JWT_JWKS_URL; set that too or unset this');
  }
  return faults;
}

/** One fault a variable, in the order of the table: what is wrong with a value hides what is wrong between values. */
function inOrder(faults: readonly Fault[]): Fault[] {
  return configVariables.flatMap(({ name }) => faults.find((entry) => entry.name === name) ?? []);
}

function databaseOf(values: Values): Config['database'] {
  const { DATABASE_URL: ownerUrl, DATABASE_APP_URL: appUrl, DATABASE_SYSTEM_URL: systemUrl } = values;
  const poolSize = values.DATABASE_POOL_SIZE;
  const roles = appUrl !== undefined && systemUrl !== undefined ? Object.freeze({ appUrl, systemUrl }) : undefined;
  if (ownerUrl === undefined && roles === undefined) return Object.freeze({ kind: 'embedded', poolSize });
  return Object.freeze({ kind: 'external', ownerUrl, roles, poolSize });
}

function jwksOf(values: Values): JwksConfig | undefined {
  const { JWT_JWKS_URL: url, JWT_ISSUER: issuer, JWT_AUDIENCE: audience } = values;
  if (url === undefined || issuer === undefined || audience === undefined) return undefined;
  return Object.freeze({ url, issuer, audience, createUsers: values.JWT_JWKS_CREATE_USERS });
}

function jwtOf(values: Values): JwtConfig {
  const outside = values.JWT_JWKS_URL !== undefined;
  return Object.freeze({
    secretKey: values.JWT_SECRET_KEY,
    previousSecretKey: values.JWT_SECRET_KEY_PREVIOUS,
    algorithm: values.JWT_ALGORITHM,
    issuer: (outside ? undefined : values.JWT_ISSUER) ?? defaultIssuer,
    audience: (outside ? undefined : values.JWT_AUDIENCE) ?? defaultAudience,
    accessTokenSeconds: values.JWT_TOKEN_EXPIRE_HOURS,
    refreshTokenSeconds: values.JWT_REFRESH_EXPIRE_DAYS,
  });
}

function configOf(values: Values): Config {
  return Object.freeze({
    database: databaseOf(values),
    jwt: jwtOf(values),
    jwks: jwksOf(values),
    identitySecret: values.IDENTITY_SECRET,
    userIsolationEnabled: values.USER_ISOLATION_ENABLED,
    registrationEnabled: values.REGISTRATION_ENABLED,
    host: values.HOST,
    port: values.PORT,
    trustProxy: values.TRUST_PROXY,
    requestsPerMinute: values.REQUEST_RATE_LIMIT_PER_MINUTE,
    credentialAttemptsPerMinute: values.CREDENTIAL_RATE_LIMIT_PER_MINUTE,
    dataDir: resolve(values.DATA_DIR),
    logDir: values.LOG_DIR === undefined ? undefined : resolve(values.LOG_DIR),
    logLevel: values.LOG_LEVEL,
  });
}

/**
 * Reads the configuration.
 *
 * @param env the environment; variables that are not ours are ignored
 * @param overrides values that come before those of the environment, as text, such as those of command-line flags
 * @param serving false for commands that work on anybody's database: only our own server needs JWT_SECRET_KEY
 * @throws Problem `config_invalid`, with one line a fault, and the same as data in `extensions.faults`
 */
export function loadConfig(env: NodeJS.ProcessEnv = process.env, overrides: Texts = {}, serving = true): Config {
  const names: readonly string[] = Object.keys(shape);
  const given = Object.entries({ ...env, ...definedOnly(overrides) });
  const texts: Texts = Object.fromEntries(given.filter(([name]) => names.includes(name)));
  const parsed = z.object(shape).safeParse(texts);
  const single: Fault[] = (parsed.error?.issues ?? []).map((issue) => ({
    name: String(issue.path[0]),
    fault: issue.message,
  }));
  const faults = inOrder([...single, ...faultsBetween(texts, serving)]);
  if (parsed.success && faults.length === 0) return configOf(parsed.data);
  const lines = faults.map(({ name, fault }) => `${name}: ${fault}`);
  throw problem('config_invalid', lines.join('\n'), { faults });
}

function definedOnly(texts: Texts): Texts {
  return Object.fromEntries(Object.entries(texts).filter(([, value]) => value !== undefined));
}

const hidden = '[hidden]';

/** Shows where a connection leads, without its password (also where that is given as a parameter). */
function withoutPassword(connection: string): string {
  const url = URL.parse(connection);
  if (url === null) return hidden;
  if (url.password !== '') url.password = 'hidden';
  for (const name of [...url.searchParams.keys()]) {
    if (/password|secret|key$/i.test(name)) url.searchParams.set(name, 'hidden');
  }
  return url.href;
}

/** The configuration as it may be printed or logged: every secret replaced, everything else as it is. */
export function redacted(config: Config): Config {
  const url = (value: string | undefined) => (value === undefined ? undefined : withoutPassword(value));
  const { database, jwt, identitySecret } = config;
  return {
    ...config,
    identitySecret: identitySecret && hidden,
    database:
      database.kind === 'embedded'
        ? database
        : {
            ...database,
            ownerUrl: url(database.ownerUrl),
            roles: database.roles && {
              appUrl: withoutPassword(database.roles.appUrl),
              systemUrl: withoutPassword(database.roles.systemUrl),
            },
          },
    jwt: {
      ...jwt,
      secretKey: jwt.secretKey && hidden,
      previousSecretKey: jwt.previousSecretKey && hidden,
    },
  };
}
