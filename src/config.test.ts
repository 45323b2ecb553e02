import { resolve } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { type Config, configVariables, loadConfig, redacted } from './config.ts';
import { Problem } from './errors.ts';

const secret = 'Zk3vQ9x1tB7mW5rY2nC8pL4sD6fG0hJa'; // 32 bytes
const longSecret = 'k7Jq2Wm9Xc4Vb1Nz8Lp5Rt3Yh6Gd0FsAe7Ui2Oq9Kw4Mx1Cv8Bn5Zl3Pj6Hg0TrY'; // 67 bytes
const url = 'postgresql://owner:hunter2hunter2@db.example:5432/app';
const external = { DATABASE_URL: url, JWT_SECRET_KEY: secret };
const outside = {
  JWT_JWKS_URL: 'https://idp.example/keys',
  JWT_ISSUER: 'https://idp.example/',
  JWT_AUDIENCE: 'tasks',
};

function faultsOf(env: NodeJS.ProcessEnv): string[] {
  try {
    loadConfig(env);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    expect(error.code).toBe('config_invalid');
    return error.message.split('\n');
  }
  return [];
}

describe('defaults', () => {
  test('nothing set: an embedded database on this machine', () => {
    expect(loadConfig({})).toEqual({
      database: { kind: 'embedded', poolSize: 10 },
      jwt: {
        secretKey: undefined,
        previousSecretKey: undefined,
        algorithm: 'HS256',
        issuer: 'ringfence',
        audience: 'ringfence-api',
        accessTokenSeconds: 86_400,
        refreshTokenSeconds: 2_592_000,
      },
      jwks: undefined,
      userIsolationEnabled: true,
      registrationEnabled: true,
      host: '127.0.0.1',
      port: 8080,
      trustProxy: false,
      requestsPerMinute: 0,
      credentialAttemptsPerMinute: 10,
      dataDir: resolve('.ringfence'),
      logDir: undefined,
      logLevel: 'info',
    });
  });

  test('each default of the table, set by hand, changes nothing', () => {
    const env = Object.fromEntries(configVariables.flatMap(({ name, default: text }) => (text ? [[name, text]] : [])));
    expect(Object.keys(env).length).toBeGreaterThan(10);
    expect(loadConfig(env)).toEqual(loadConfig({}));
  });

  test('every variable has a meaning, and those with secrets in them are marked', () => {
    for (const variable of configVariables) expect(variable.meaning, variable.name).toMatch(/\.$/);
    expect(configVariables.filter((variable) => variable.secret).map((variable) => variable.name)).toEqual([
      'DATABASE_URL',
      'DATABASE_APP_URL',
      'DATABASE_SYSTEM_URL',
      'JWT_SECRET_KEY',
      'JWT_SECRET_KEY_PREVIOUS',
      'IDENTITY_SECRET',
    ]);
  });

  test('it is frozen all the way down', () => {
    const config = loadConfig({ ...external, ...outside, TRUST_PROXY: '10.0.0.1, ::1' });
    const parts: unknown[] = [config, config.database, config.jwt, config.jwks, config.trustProxy];
    for (const part of parts) expect(Object.isFrozen(part), inspect(part)).toBe(true);
  });
});

describe('accepted values', () => {
  const cases: [NodeJS.ProcessEnv, (config: Config) => unknown, unknown][] = [
    [{ USER_ISOLATION_ENABLED: 'false' }, (config) => config.userIsolationEnabled, false],
    [{ USER_ISOLATION_ENABLED: '0' }, (config) => config.userIsolationEnabled, false],
    [{ USER_ISOLATION_ENABLED: '1' }, (config) => config.userIsolationEnabled, true],
    [{ REGISTRATION_ENABLED: 'false' }, (config) => config.registrationEnabled, false],
    [{ PORT: '0' }, (config) => config.port, 0],
    [{ HOST: '::1' }, (config) => config.host, '::1'],
    [{ HOST: 'tasks.example' }, (config) => config.host, 'tasks.example'],
    [{ JWT_TOKEN_EXPIRE_HOURS: '0.25' }, (config) => config.jwt.accessTokenSeconds, 900],
    [{ JWT_TOKEN_EXPIRE_HOURS: '8760' }, (config) => config.jwt.accessTokenSeconds, 31_536_000],
    [{ JWT_TOKEN_EXPIRE_HOURS: '0.0001' }, (config) => config.jwt.accessTokenSeconds, 1],
    [{ JWT_REFRESH_EXPIRE_DAYS: '7' }, (config) => config.jwt.refreshTokenSeconds, 604_800],
    [{ TRUST_PROXY: 'true' }, (config) => config.trustProxy, true],
    [{ TRUST_PROXY: '10.0.0.0/8, ::1' }, (config) => config.trustProxy, ['10.0.0.0/8', '::1']],
    [{ JWT_SECRET_KEY: secret }, (config) => config.jwt.secretKey, secret],
    [{ JWT_SECRET_KEY: longSecret, JWT_ALGORITHM: 'HS512' }, (config) => config.jwt.algorithm, 'HS512'],
    [
      { JWT_ISSUER: 'acme', JWT_AUDIENCE: 'acme-api' },
      (config) => [config.jwt.issuer, config.jwt.audience],
      ['acme', 'acme-api'],
    ],
    [outside, (config) => [config.jwt.issuer, config.jwks?.issuer], ['ringfence', 'https://idp.example/']],
    [{ ...outside, JWT_JWKS_CREATE_USERS: 'true' }, (config) => config.jwks?.createUsers, true],
    [
      { ...outside, JWT_JWKS_URL: 'http://127.0.0.1:9000/keys' },
      (config) => config.jwks?.url,
      'http://127.0.0.1:9000/keys',
    ],
    [{ ...outside, JWT_JWKS_URL: 'http://[::1]:9000/keys' }, (config) => config.jwks?.url, 'http://[::1]:9000/keys'],
    [external, (config) => config.database, { kind: 'external', ownerUrl: url, roles: undefined, poolSize: 10 }],
    [
      { DATABASE_APP_URL: url, DATABASE_SYSTEM_URL: url, JWT_SECRET_KEY: secret, DATABASE_POOL_SIZE: '3' },
      (config) => config.database,
      { kind: 'external', ownerUrl: undefined, roles: { appUrl: url, systemUrl: url }, poolSize: 3 },
    ],
    [{ ...external, DATABASE_URL: 'postgres:///app?host=/run/pg' }, (config) => config.database.kind, 'external'],
    [{ UNRELATED: '' }, (config) => config.port, 8080],
  ];
  test.each(cases)('%o', (env, pick, expected) => {
    expect(pick(loadConfig(env))).toEqual(expected);
  });

  test('an override comes before the environment, an undefined one does not', () => {
    expect(loadConfig({ PORT: '9000', HOST: '::1' }, { PORT: '9001', HOST: undefined })).toMatchObject({
      port: 9001,
      host: '::1',
    });
  });
});

describe('faults, by name', () => {
  const cases: [string, NodeJS.ProcessEnv, RegExp][] = [
    ['an empty value', { ...external, DATABASE_URL: '' }, /^DATABASE_URL: is set but empty/],
    ['an empty secret', { ...external, JWT_SECRET_KEY: '' }, /^JWT_SECRET_KEY: is set but empty/],
    [
      "the guide's placeholder",
      { JWT_SECRET_KEY: 'your-production-jwt-secret' },
      /^JWT_SECRET_KEY: is a well-known placeholder/,
    ],
    ['a short secret', { JWT_SECRET_KEY: 'Zk3vQ9x1tB7' }, /^JWT_SECRET_KEY: must be at least 32 bytes, got 11/],
    ['one repeated character', { JWT_SECRET_KEY: 'x'.repeat(64) }, /^JWT_SECRET_KEY: must have at least 8 different/],
    [
      'a short HS384 secret',
      { JWT_SECRET_KEY: secret, JWT_ALGORITHM: 'HS384' },
      /^JWT_SECRET_KEY: must be at least 48 bytes, got 32.*HS384/,
    ],
    [
      'a short HS512 secret',
      { JWT_SECRET_KEY: secret, JWT_ALGORITHM: 'HS512' },
      /^JWT_SECRET_KEY: must be at least 64 bytes/,
    ],
    [
      'no secret for an external database',
      { DATABASE_URL: url },
      /^JWT_SECRET_KEY: is required with an external database/,
    ],
    [
      'a previous secret like the present',
      { JWT_SECRET_KEY: secret, JWT_SECRET_KEY_PREVIOUS: secret },
      /^JWT_SECRET_KEY_PREVIOUS: must differ/,
    ],
    [
      'RS256 with a local secret',
      { JWT_ALGORITHM: 'RS256' },
      /^JWT_ALGORITHM: must be one of HS256, HS384, HS512, got "RS256".*JWT_JWKS_URL/,
    ],
    ['none', { JWT_ALGORITHM: 'none' }, /^JWT_ALGORITHM: must be one of/],
    ['lower case', { JWT_ALGORITHM: 'hs256' }, /^JWT_ALGORITHM: must be one of/],
    [
      'zero hours',
      { JWT_TOKEN_EXPIRE_HOURS: '0' },
      /^JWT_TOKEN_EXPIRE_HOURS: must be a number of hours above 0 and at most 8760, got "0"$/,
    ],
    ['negative hours', { JWT_TOKEN_EXPIRE_HOURS: '-1' }, /^JWT_TOKEN_EXPIRE_HOURS: /],
    ['too many hours', { JWT_TOKEN_EXPIRE_HOURS: '8760.1' }, /^JWT_TOKEN_EXPIRE_HOURS: /],
    ['hours in words', { JWT_TOKEN_EXPIRE_HOURS: '24h' }, /^JWT_TOKEN_EXPIRE_HOURS: /],
    ['hours as 1e3', { JWT_TOKEN_EXPIRE_HOURS: '1e3' }, /^JWT_TOKEN_EXPIRE_HOURS: /],
    ['hours as Infinity', { JWT_TOKEN_EXPIRE_HOURS: 'Infinity' }, /^JWT_TOKEN_EXPIRE_HOURS: /],
    [
      'isolation "no"',
      { USER_ISOLATION_ENABLED: 'no' },
      /^USER_ISOLATION_ENABLED: must be true, false, 1 or 0, got "no"$/,
    ],
    ['isolation "False"', { USER_ISOLATION_ENABLED: 'False' }, /^USER_ISOLATION_ENABLED: /],
    ['isolation with a space', { USER_ISOLATION_ENABLED: 'true ' }, /^USER_ISOLATION_ENABLED: /],
    ['isolation empty', { USER_ISOLATION_ENABLED: '' }, /^USER_ISOLATION_ENABLED: is set but empty/],
    ['a port too large', { PORT: '65536' }, /^PORT: must be a whole number from 0 to 65535, got "65536"$/],
    ['a port in hexadecimal', { PORT: '0x50' }, /^PORT: /],
    ['a fractional port', { PORT: '80.5' }, /^PORT: /],
    ['a host with a port', { HOST: '127.0.0.1:80' }, /^HOST: must be an IP address or a host name/],
    ['a host with a scheme', { HOST: 'http://x' }, /^HOST: /],
    ['a mistyped address', { HOST: '256.1.1.1' }, /^HOST: /],
    [
      'a log level',
      { LOG_LEVEL: 'verbose' },
      /^LOG_LEVEL: must be one of fatal, error, warn, info, debug, trace, silent, got "verbose"$/,
    ],
    ['a long value is cut', { LOG_LEVEL: 'v'.repeat(5000) }, /^LOG_LEVEL: .{1,160}$/],
    ['a proxy', { TRUST_PROXY: '10.0.0.0/33' }, /^TRUST_PROXY: must be true, false, or addresses/],
    ['a pool of none', { DATABASE_POOL_SIZE: '0' }, /^DATABASE_POOL_SIZE: /],
    [
      'another database',
      { ...external, DATABASE_URL: 'mysql://u:p@h/d' },
      /^DATABASE_URL: must begin with postgresql:/,
    ],
    ['no URL', { ...external, DATABASE_URL: 'localhost' }, /^DATABASE_URL: is not a URL/],
    [
      'a # in the password',
      { ...external, DATABASE_URL: 'postgres://u:p#ss@h/d' },
      /^DATABASE_URL: (is not a URL|holds a #)/,
    ],
    ['no slashes', { ...external, DATABASE_URL: 'postgres:app' }, /^DATABASE_URL: must have \/\//],
    [
      'one role without the other',
      { JWT_SECRET_KEY: secret, DATABASE_APP_URL: url },
      /^DATABASE_SYSTEM_URL: is required when DATABASE_APP_URL is set$/,
    ],
    [
      'the other without the one',
      { JWT_SECRET_KEY: secret, DATABASE_SYSTEM_URL: url },
      /^DATABASE_APP_URL: is required/,
    ],
    ['plain http', { ...outside, JWT_JWKS_URL: 'http://idp.example/keys' }, /^JWT_JWKS_URL: must begin with https/],
    [
      'http to a name like an address',
      { ...outside, JWT_JWKS_URL: 'http://127.evil.example/keys' },
      /^JWT_JWKS_URL: must begin with https/,
    ],
    ['a file', { ...outside, JWT_JWKS_URL: 'file:///etc/keys' }, /^JWT_JWKS_URL: must begin with https/],
    [
      'a user in the address',
      { ...outside, JWT_JWKS_URL: 'https://a:b@idp.example/keys' },
      /^JWT_JWKS_URL: must not hold a user name/,
    ],
    ['no issuer', { ...outside, JWT_ISSUER: undefined }, /^JWT_ISSUER: is required when JWT_JWKS_URL is set$/],
    ['no audience', { ...outside, JWT_AUDIENCE: undefined }, /^JWT_AUDIENCE: is required when JWT_JWKS_URL is set$/],
    ['our own issuer', { ...outside, JWT_ISSUER: 'ringfence' }, /^JWT_ISSUER: must be the outside provider's/],
    ['accounts without a provider', { JWT_JWKS_CREATE_USERS: 'true' }, /^JWT_JWKS_CREATE_USERS: has no effect/],
  ];
  test.each(cases)('%s', (_name, env, expected) => {
    const faults = faultsOf(env);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(expected);
  });

  test('all at once, one line each, in the order of the table, also those between variables', () => {
    const faults = faultsOf({
      PORT: 'x',
      DATABASE_APP_URL: 'y',
      JWT_ALGORITHM: 'RS256',
      JWT_JWKS_URL: 'z',
      LOG_LEVEL: '',
    });
    expect(faults.map((line) => line.split(':')[0])).toEqual([
      'DATABASE_APP_URL',
      'DATABASE_SYSTEM_URL',
      'JWT_SECRET_KEY',
      'JWT_ALGORITHM',
      'JWT_JWKS_URL',
      'JWT_ISSUER',
      'JWT_AUDIENCE',
      'PORT',
      'LOG_LEVEL',
    ]);
  });

  test('a line break in a value does not make a second line', () => {
    expect(faultsOf({ LOG_LEVEL: 'a\nPORT: b' })).toHaveLength(1);
  });

  test('no fault repeats a secret', () => {
    const wrong = 'mysql://root:hunter2hunter2@h/d';
    const lines = faultsOf({
      DATABASE_URL: wrong,
      JWT_SECRET_KEY: 'hunter2hunter2',
      JWT_SECRET_KEY_PREVIOUS: 'hunter2',
      IDENTITY_SECRET: 'hunter2hunter2',
    });
    expect(lines).toHaveLength(4);
    expect(lines.join()).not.toContain('hunter2');
  });
});

describe('redacted', () => {
  test('shows where things are and no secret', () => {
    const config = loadConfig({
      ...external,
      DATABASE_URL: `${url}?sslpassword=hunter2hunter2&application_name=a`,
      JWT_SECRET_KEY_PREVIOUS: longSecret,
      IDENTITY_SECRET: longSecret,
      DATABASE_APP_URL: url,
      DATABASE_SYSTEM_URL: url,
    });
    const shown = JSON.stringify(redacted(config));
    for (const part of ['hunter2', secret, longSecret]) expect(shown).not.toContain(part);
    for (const part of ['db.example:5432/app', 'owner', 'application_name=a', '[hidden]'])
      expect(shown).toContain(part);
    expect(config.jwt.secretKey).toBe(secret);
  });

  test('changes nothing where there is no secret', () => {
    expect(redacted(loadConfig({}))).toEqual(loadConfig({}));
  });
});
