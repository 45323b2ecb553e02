import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { statement } from '../../test/support/postgres.ts';
import { startTestServer, type TestServer } from '../../test/support/server.ts';
import { runVerify, type VerifyFlags } from './verify.ts';

let server: TestServer;
const directory = mkdtempSync(join(tmpdir(), 'ringfence-verify-deep-'));

beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});
afterEach(() => vi.restoreAllMocks());

async function run(flags: VerifyFlags): Promise<{ code: number; output: string }> {
  const lines: string[] = [];
  vi.spyOn(console, 'log').mockImplementation((line: unknown) => void lines.push(String(line)));
  const code = await runVerify(server.config, { deep: true, rate: 100_000, ...flags });
  return { code, output: lines.join('\n') };
}

test('a fault is on the page and in the document, and gone once somebody answers for it', {
  timeout: 400_000,
}, async () => {
  await statement(
    server.database.url,
    'create view totals as select count(*) from tasks; grant select on totals to ringfence_app',
  );
  const html = join(directory, 'page.html');
  const first = await run({ json: true, html });
  expect(first.code).toBe(1);
  const document = JSON.parse(first.output);
  expect(document.findings).toContainEqual(
    expect.objectContaining({ severity: 'fail', check: 'unclassified', object: 'view public.totals' }),
  );
  expect(document.hostileSample.attempts).toBeGreaterThan(300);
  expect(document.about.fingerprint).toMatch(/^[0-9a-f]{64}$/);
  expect(document.declassified.length).toBeGreaterThan(5);
  expect(readFileSync(html, 'utf8')).toContain('Do not sign.');

  const reviewed = join(directory, 'reviewed.json');
  writeFileSync(reviewed, JSON.stringify({ 'view public.totals': 'A number of all tasks alone; agreed.' }));
  const second = await run({ reviewed });
  expect(second.output).toContain('reviewed: A number of all tasks alone; agreed.');
  expect(second.code).toBe(0);
});

test.each<[VerifyFlags, string]>([
  [{ deep: false, html: 'x' }, 'need --deep'],
  [{ url: 'http://x' }, '--url: asks the server'],
  [{ reviewed: '/not/there' }, '--reviewed: must be a file such as'],
])('%j is wrong usage', async (flags, message) => {
  await expect(run(flags)).rejects.toMatchObject({ code: 'usage_error', message: expect.stringContaining(message) });
});
