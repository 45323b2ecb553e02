import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { startTestServer, type TestServer, type TestServerOptions } from '../../test/support/server.ts';

async function withServer(options: TestServerOptions, work: (server: TestServer) => Promise<void>): Promise<void> {
  const server = await startTestServer(options);
  try {
    await work(server);
  } finally {
    await server.close();
  }
}

const env = (name: string, perMinute: number) => ({ [name]: String(perMinute), TRUST_PROXY: 'true' });
const credentials = (perMinute: number) => ({ env: env('CREDENTIAL_RATE_LIMIT_PER_MINUTE', perMinute) });
const requests = (perMinute: number) => ({ env: env('REQUEST_RATE_LIMIT_PER_MINUTE', perMinute) });
const from = (address: string) => ({ 'x-forwarded-for': address });
const refresh = (server: TestServer, address: string) =>
  server.call('POST', '/api/auth/refresh', { refresh_token: 'x' }, from(address));
const login = (server: TestServer, address: string, email: string) =>
  server.call('POST', '/api/auth/login', { email, password: 'a wrong password' }, from(address));

test('an address may try credentials so often a minute, over all routes that take them', () =>
  withServer(credentials(3), async (server) => {
    for (let i = 0; i < 2; i += 1) expect((await refresh(server, '192.0.2.1')).status).toBe(401);
    expect((await login(server, '192.0.2.1', 'a@example.test')).status).toBe(401);
    const refused = await login(server, '192.0.2.1', 'b@example.test');
    expect(refused).toMatchObject({ status: 429, body: { code: 'rate_limited', retryable: true } });
    expect(refused.headers.get('content-type')).toContain('application/problem+json');
    const seconds = Number(refused.headers.get('retry-after'));
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThanOrEqual(60);
    expect((await refresh(server, '192.0.2.2')).status).toBe(401);
    // Nothing but credentials is limited.
    const ann = await server.user();
    for (let i = 0; i < 6; i += 1) expect((await ann.call('GET', '/api/projects')).status).toBe(200);
  }));

test('one e-mail address is tried so often, from however many addresses and in whatever case', () =>
  withServer(credentials(3), async (server) => {
    for (let i = 0; i < 3; i += 1) expect((await login(server, `192.0.2.${i}`, 'Ann@example.test')).status).toBe(401);
    const refused = await login(server, '192.0.2.9', ' ann@EXAMPLE.test');
    expect(refused).toMatchObject({ status: 429, body: { code: 'rate_limited' } });
    expect((await login(server, '192.0.2.9', 'bob@example.test')).status).toBe(401);
  }));

test('the addresses of one /64 are one; IPv4 in IPv6 is IPv4', () =>
  withServer(credentials(2), async (server) => {
    expect((await refresh(server, '2001:db8:1:2::1')).status).toBe(401);
    expect((await refresh(server, '2001:db8:1:2:ffff::9')).status).toBe(401);
    expect((await refresh(server, '2001:db8:1:2:3:4:5:6')).status).toBe(429);
    expect((await refresh(server, '2001:db8:1:3::1')).status).toBe(401);
    expect((await refresh(server, '::ffff:192.0.2.7')).status).toBe(401);
    expect((await refresh(server, '192.0.2.7')).status).toBe(401);
    expect((await refresh(server, '::ffff:192.0.2.7')).status).toBe(429);
  }));

test('0 sets no limit', () =>
  withServer(credentials(0), async (server) => {
    for (let i = 0; i < 30; i += 1) expect((await refresh(server, '192.0.2.1')).status).toBe(401);
  }));

test('guessing the password of one’s own session is limited too', () =>
  withServer(credentials(2), async (server) => {
    const password = 'correct horse battery';
    const email = `${randomUUID()}@example.test`;
    const { body } = await server.call('POST', '/api/auth/register', { email, password, name: 'A' }, from('192.0.2.5'));
    const authorization = `Bearer ${body.access_token}`;
    const guess = () =>
      server.call('DELETE', '/api/user', { password: 'wrong guess' }, { authorization, ...from('192.0.2.5') });
    expect((await guess()).status).toBe(400);
    expect((await guess()).status).toBe(429);
  }));

test('requests are counted by user, whatever the address', () =>
  withServer(requests(4), async (server) => {
    const [ann, bob] = await Promise.all([server.user(), server.user()]);
    for (let i = 0; i < 4; i += 1) {
      expect((await ann.call('GET', '/api/projects', undefined, from(`192.0.2.${i}`))).status).toBe(200);
    }
    const refused = await ann.call('GET', '/api/projects', undefined, from('192.0.2.99'));
    expect(refused).toMatchObject({ status: 429, body: { code: 'rate_limited' } });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await bob.call('GET', '/api/projects', undefined, from('192.0.2.1'))).status).toBe(200);
  }));

test('who is not known is counted by address, with good and bad tokens apart', () =>
  withServer(requests(3), async (server) => {
    const bad = { authorization: 'Bearer nonsense' };
    for (let i = 0; i < 4; i += 1) {
      const { status } = await server.call('GET', '/api/projects', undefined, { ...bad, ...from('192.0.2.1') });
      expect(status).toBe(401);
    }
    const { status } = await server.call('GET', '/api/projects', undefined, { ...bad, ...from('192.0.2.1') });
    expect(status).toBe(429);
    expect((await refresh(server, '192.0.2.2')).status).toBe(401);
    for (let i = 0; i < 10; i += 1) {
      expect((await server.call('GET', '/health', undefined, from('192.0.2.3'))).status).toBe(200);
    }
  }));
