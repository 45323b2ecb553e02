import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { startTestServer, type TestServer, type TestUser } from '../../test/support/server.ts';
import { withConnection } from '../rollout/connection.ts';
import { installState, readEvents } from '../rollout/state.ts';
import { runVerify, type VerifyFlags } from './verify.ts';

let server: TestServer;
let ann: TestUser;
let bob: TestUser;

beforeAll(async () => {
  server = await startTestServer();
  [ann, bob] = [await server.user(), await server.user()];
  for (const user of [ann, bob]) await user.call('POST', '/api/tasks', { title: 'A task', description: 'To see' });
});

afterAll(() => server.close());
afterEach(() => vi.restoreAllMocks());

async function run(flags: VerifyFlags): Promise<{ code: number; output: string }> {
  const lines: string[] = [];
  vi.spyOn(console, 'log').mockImplementation((line: unknown) => void lines.push(String(line)));
  const code = await runVerify(server.config, flags);
  return { code, output: lines.join('\n') };
}

const http = (a: string, b: string) => ({ url: server.url, tokenA: a, tokenB: b });

test('our own schema is verified without a plan, over HTTP too', async () => {
  const { code, output } = await run({ ...http(ann.token, bob.token), strict: true });
  expect(output).toContain('0 to put right, 0 to know of');
  expect(code).toBe(0);
  // The guide's check of the data (G18).
  expect(output).toMatch(/table_name +null_user_ids\n/);
  expect(output).toMatch(/public\.tasks +0\n/);
  expect(output).toMatch(
    /19 tables and partitions, \d+ probes on 19 \(\d+ without a row: only adding one could be tried\), 8 requests, \d+\.\d s/,
  );
});

test('as JSON it is one document, and the result is remembered where there is a place for it', async () => {
  await withConnection(server.database.url, 'test', installState);
  const { code, output } = await run({ json: true });
  const document = JSON.parse(output);
  expect(code).toBe(0);
  expect(document).toMatchObject({ summary: { fail: 0, warn: 0 }, verification: { tables: 19, requests: 0 } });
  expect(document.ownerless).toContainEqual({ table_name: 'public.labels', null_user_ids: 0 });
  const events = await withConnection(server.database.url, 'test', (client) => readEvents(client, 'verify'));
  expect(events.at(-1)?.detail).toMatchObject({ fail: 0, tables: 19, faults: [], hash: document.fingerprint });
  expect(events.at(-1)?.detail.fingerprint).toHaveProperty('policy public.tasks user_isolation');
});

test('what should be known counts when it is strict', async () => {
  const carol = await server.user();
  const flags = http(ann.token, carol.token);
  expect((await run(flags)).code).toBe(0);
  const strict = await run({ ...flags, strict: true });
  expect(strict.output).toContain('one of the two users has no task');
  expect(strict.code).toBe(1);
});

describe('over HTTP', () => {
  test('two users who see the same', async () => {
    const { sessionId = '' } = ann.caller;
    const again = await server.mint({ userId: ann.id, email: ann.email, roles: ['user', 'user'], sessionId });
    const { code, output } = await run(http(ann.token, again.token));
    expect(code).toBe(1);
    expect(output).toContain('http-isolation');
  });

  test('a token that is none, and a server that is not there', async () => {
    expect((await run(http(ann.token, 'x'))).output).toContain('answered 401 as B, not 200');
    const away = await run({ url: 'http://127.0.0.1:1', tokenA: 'a', tokenB: 'b' });
    expect(away.output).toContain('The server does not answer');
    expect(away.code).toBe(1);
  });

  test('tokens may come from files', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'ringfence-verify-'));
    try {
      const file = (name: string, token: string) => {
        writeFileSync(join(directory, name), `${token}\n`);
        return join(directory, name);
      };
      const flags = {
        url: server.url,
        tokenAFile: file('a', ann.token),
        tokenBFile: file('b', bob.token),
        strict: true,
      };
      expect((await run(flags)).code).toBe(0);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test.each([
    [{ url: 'http://x' }, '--url: needs the tokens of two users'],
    [{ tokenA: 'a', tokenB: 'b' }, '--url: is required with a token'],
    [{ url: 'http://x', tokenA: 'a', tokenB: 'a' }, 'another user'],
    [{ url: 'nowhere', tokenA: 'a', tokenB: 'b' }, '--url: must be an address'],
    [{ url: 'http://x', tokenA: 'a', tokenAFile: 'f' }, '--token-a: leave it out'],
    [{ url: 'http://x', tokenAFile: '/not/there' }, '--token-a-file: cannot be read'],
  ])('%j is wrong usage', async (flags, message) => {
    await expect(runVerify(server.config, flags)).rejects.toMatchObject({
      code: 'usage_error',
      message: expect.stringContaining(message),
    });
  });
});
