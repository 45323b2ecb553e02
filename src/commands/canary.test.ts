import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { createDatabase, statement, type TestDatabase } from '../../test/support/postgres.ts';
import { startTestServer, type TestServer } from '../../test/support/server.ts';
import { roleUrl } from '../database/provision.ts';
import { findClientPrograms } from '../rollout/backup/client-programs.ts';
import { type Canaries, readCanaries } from '../rollout/canary/state.ts';
import { withConnection } from '../rollout/connection.ts';
import { markOf } from '../rollout/synthetic/marks.ts';
import { runCanaryPlant, runCanaryScan, type ScanFlags } from './canary.ts';

let server: TestServer;
let canaries: Canaries;
const directory = mkdtempSync(join(tmpdir(), 'ringfence-canary-'));

const lines: string[] = [];
const said = () => lines.splice(0).join('\n');

beforeAll(async () => {
  server = await startTestServer();
  vi.spyOn(console, 'log').mockImplementation((line: unknown) => void lines.push(String(line ?? '')));
  await runCanaryPlant(server.config, {});
  const planted = await withConnection(server.database.url, 'test', readCanaries);
  if (planted === null) throw new Error('there are no canaries');
  canaries = planted;
  vi.restoreAllMocks();
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});
afterEach(() => vi.restoreAllMocks());

const mark = (who: 'a' | 'b' = 'a') => {
  const found = canaries.marks.find((one) => one.who === who && one.table === 'public.projects');
  if (!found) throw new Error('there is no mark');
  return markOf(canaries.stem, who, found.number);
};

async function quietly<T>(work: () => Promise<T>): Promise<{ result: T; output: string }> {
  lines.length = 0;
  vi.spyOn(console, 'log').mockImplementation((line: unknown) => void lines.push(String(line ?? '')));
  try {
    const result = await work();
    return { result, output: said() };
  } finally {
    vi.restoreAllMocks();
  }
}

const scan = (paths: readonly string[], flags: ScanFlags = {}) =>
  quietly(() => runCanaryScan(server.config, paths, flags, process.env));

const file = (name: string, content: string | Buffer) => {
  writeFileSync(join(directory, name), content);
  return join(directory, name);
};

describe('plant', () => {
  test('marks stand in every table that may hold them, and nobody can log in', async () => {
    expect(new Set(canaries.marks.map(({ table }) => table))).toEqual(
      new Set(
        'users projects agents project_git_branchs tasks task_subtasks task_assignees labels rules global_contexts project_contexts branch_contexts task_contexts_unified'
          .split(' ')
          .map((table) => `public.${table}`),
      ),
    );
    const { rows } = await statement(
      server.database.url,
      `select status, password_hash, (select count(*)::int from sessions s where s.user_id = u.id) as sessions from users u where id = any ('{${canaries.users.map(({ id }) => id).join()}}')`,
    );
    expect(rows).toEqual([1, 2].map(() => ({ status: 'quarantine', password_hash: null, sessions: 0 })));
  });

  test('again it does nothing, and says nothing that is secret', async () => {
    const { output } = await quietly(() => runCanaryPlant(server.config, {}));
    expect(output).toContain('The canaries are there since');
    expect(output).not.toContain(canaries.stem);
    const now = await withConnection(server.database.url, 'test', readCanaries);
    expect(now).toEqual(canaries);
  });

  test('the application’s roles do not read where the marks are kept', async () => {
    for (const role of ['ringfence_app', 'ringfence_system'] as const) {
      const client = new pg.Client({
        connectionString: roleUrl(server.database.url, role, server.config.jwt.secretKey ?? ''),
      });
      await client.connect();
      for (const sql of [
        'select * from ringfence_rollout.canaries',
        'select stem from ringfence_rollout.canaries',
        'table ringfence_rollout.plans',
      ]) {
        await expect(client.query(sql), `${role}: ${sql}`).rejects.toMatchObject({ code: '42501' });
      }
      await client.end();
    }
  });

  test('the verbs that look at a database have nothing against them', async () => {
    const { runVerify } = await import('./verify.ts');
    const { result, output } = await quietly(() => runVerify(server.config, {}));
    expect(output).toContain('0 to put right');
    expect(result).toBe(0);
  });
});

describe('scan', () => {
  test('files, packed ones, and directories of them', async () => {
    const log = file('app.log', `${'x'.repeat(70_000)}${mark()}${'y'.repeat(70_000)}`);
    mkdirSync(join(directory, 'exports/deep'), { recursive: true });
    file('exports/deep/ann.json.gz', gzipSync(JSON.stringify({ title: mark('b') })));
    file('exports/ann.zst', zstdCompressSync(Buffer.from(mark('b')).toString('base64')));
    file('exports/clean.txt', 'nothing here');
    const { result, output } = await scan([log, join(directory, 'exports'), join(directory, 'not-there')], {
      json: true,
    });
    expect(result).toBe(1);
    const { findings, scanned } = JSON.parse(output);
    expect(findings).toHaveLength(4);
    expect(findings).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          severity: 'fail',
          check: 'canary-in-file',
          object: log,
          message: expect.stringMatching(/user a in public\.projects\.\w+ \(plain, byte 70000, as it is\)/),
        }),
        expect.objectContaining({
          object: join(directory, 'exports/deep/ann.json.gz'),
          message: expect.stringContaining('user b in public.projects'),
        }),
        expect.objectContaining({
          object: join(directory, 'exports/ann.zst'),
          message: expect.stringContaining('base64'),
        }),
        expect.objectContaining({ severity: 'warn', check: 'not-read', object: join(directory, 'not-there') }),
      ]),
    );
    expect(scanned.places).toBe(4);
    expect(output).not.toContain(canaries.stem);
  });

  test('what is clean', async () => {
    const { result, output } = await scan([file('clean.log', 'nothing here')], { verbose: true });
    expect(output).toContain('no mark in 1 places');
    expect(result).toBe(0);
  });

  test('a dump in custom format', async () => {
    const { rows } = await statement(server.database.url, "select current_setting('server_version_num')::int as v");
    const programs = await findClientPrograms(Number(rows[0]?.v), process.env);
    if (programs === null) {
      console.warn('skipped: there is no pg_dump for this server, so no dump in custom format was looked through');
      return;
    }
    const dump = join(directory, 'all.dump');
    execFileSync(programs.dump, ['--format=custom', `--file=${dump}`, server.database.url]);
    const { result, output } = await scan([dump]);
    expect(output).toContain('through pg_restore');
    expect(result).toBe(1);
  });

  test('our own server shows no user another’s, on any list', async () => {
    const [ann] = [await server.user()];
    await ann.call('POST', '/api/tasks', { title: 'A task', description: 'To see' });
    const token = file('ann.token', ann.token);
    const { result, output } = await scan([], { url: server.url, tokenFile: [token], json: true });
    const { findings, scanned } = JSON.parse(output);
    expect(findings).toMatchObject([{ severity: 'pass' }]);
    expect(result).toBe(0);
    expect(scanned.places).toBeGreaterThan(20);
  });

  test('another database', async () => {
    const other: TestDatabase = await createDatabase();
    try {
      await statement(
        other.url,
        `create table words (id int, word text); insert into words select n, 'w' || n from generate_series(1, 1200) n; insert into words values (0, '${mark('b')}')`,
      );
      const { result, output } = await scan([], { database: other.url });
      expect(output).toContain('canary-in-database');
      expect(output).toContain('public.words');
      expect(result).toBe(1);
    } finally {
      await other.drop();
    }
    await expect(scan([], { database: server.database.url })).rejects.toMatchObject({ code: 'usage_error' });
  });

  describe('a server that leaks', () => {
    let leaky: Server;
    let url: string;
    beforeAll(async () => {
      leaky = createServer((request, response) => {
        const page = new URL(request.url ?? '', 'http://x');
        const json = (value: unknown) =>
          response.setHeader('content-type', 'application/json').end(JSON.stringify(value));
        if (page.pathname === '/openapi.json') {
          return json({
            paths: { '/words': { get: { parameters: [{ name: 'cursor' }] } }, '/words/{id}': { get: {} } },
          });
        }
        if (page.pathname === '/more') return response.setHeader('x-last', mark('b')).end('');
        const last = page.searchParams.get('cursor') === '3';
        return json({
          items: [last ? mark('b') : 'word'],
          next_cursor: last ? null : String(Number(page.searchParams.get('cursor')) + 1),
        });
      });
      await new Promise<void>((resolve) => leaky.listen(0, '127.0.0.1', resolve));
      url = `http://127.0.0.1:${(leaky.address() as AddressInfo).port}`;
    });
    afterAll(() => leaky.close());

    const tokenOf = (id: string | undefined) =>
      file(`${id}.token`, `x.${Buffer.from(JSON.stringify({ sub: id })).toString('base64url')}.y`);

    test('on the last page, and in a header', async () => {
      const flags = { url, tokenFile: [tokenOf('018f0000-0000-7000-8000-00000000000a')], path: ['/more'] };
      const { result, output } = await scan([], flags);
      expect(output).toContain('GET /words with token 1: holds the mark of canary user b in public.projects');
      expect(output).toContain('GET /more without a token');
      expect(result).toBe(1);
    });

    test('a canary user’s own row is none of it', async () => {
      const [a, b] = canaries.users;
      expect((await scan([], { url, tokenFile: [tokenOf(b?.id)] })).output).not.toContain('with token 1');
      expect((await scan([], { url, tokenFile: [tokenOf(a?.id)] })).output).toContain('GET /words with token 1');
    });
  });

  test.each<[readonly string[], ScanFlags, string]>([
    [[], {}, 'Say where to look'],
    [['x'], { tokenFile: ['y'] }, '--url: is required'],
    [[], { url: 'nowhere' }, '--url: must be an address'],
    [[], { url: 'http://x', tokenFile: ['/not/there'] }, '--token-file: cannot be read'],
  ])('%j %j is wrong usage', async (paths, flags, message) => {
    await expect(scan(paths, flags)).rejects.toMatchObject({
      code: 'usage_error',
      message: expect.stringContaining(message),
    });
  });
});

test('taken away, nothing is left', async () => {
  const { output } = await quietly(() => runCanaryPlant(server.config, { remove: true }));
  expect(output).toContain('public.projects');
  const ids = canaries.users.map(({ id }) => `'${id}'`).join();
  const { rows } = await statement(
    server.database.url,
    `select (select count(*)::int from users where id in (${ids})) + (select count(*)::int from tasks where user_id in (${ids})) as left`,
  );
  expect(rows).toEqual([{ left: 0 }]);
  expect(await withConnection(server.database.url, 'test', readCanaries)).toBeNull();
  await expect(scan(['x'])).rejects.toMatchObject({ code: 'rollout_refused' });
});
