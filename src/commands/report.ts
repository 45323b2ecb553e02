/** `ringfence report`: the guide's criteria and tasks on one page, with what was measured. */
import { readFile, writeFile } from 'node:fs/promises';
import { monotonicMs } from '../clock.ts';
import type { Config } from '../config.ts';
import { problem } from '../errors.ts';
import { type Connection, withConnection } from '../rollout/connection.ts';
import type { Latency, Logged, Served } from '../rollout/report/criteria.ts';
import { type Evidence, gather } from '../rollout/report/evidence.ts';
import { htmlOf } from '../rollout/report/html.ts';
import { markdownOf } from '../rollout/report/markdown.ts';
import { reportOf } from '../rollout/report/report.ts';
import { verifyDatabase } from '../rollout/verify/verify.ts';
import { withOwnedDatabase } from './database.ts';
import { readExpectation } from './expectation-in-force.ts';
import { printJson } from './print.ts';
import { requestsIn, watchServerLogs } from './server-logs.ts';
import { probeServer } from './verify-http.ts';

export interface ReportFlags {
  readonly json?: boolean;
  readonly html?: string;
  /** Without a file it goes to standard output, unless there is HTML or JSON. */
  readonly markdown?: string;
  /** False with --no-verify. */
  readonly verify?: boolean;
  /** Our own server. */
  readonly url?: string;
  /** The same without isolation, on the same machine and data. */
  readonly baselineUrl?: string;
  readonly tokenAFile?: string;
  readonly tokenBFile?: string;
  readonly adminTokenFile?: string;
  readonly requests?: number;
}

/** @returns exit code 1 when a criterion is not met */
export async function runReport(config: Config, flags: ReportFlags): Promise<0 | 1> {
  const asked = await askedOf(flags);
  const evidence = await withOwnedDatabase(config, ({ ownerUrl }) =>
    withConnection(ownerUrl, 'report', (client) => evidenceOf(client, flags.verify !== false)),
  );
  const served = asked === null ? null : await ask(asked);
  const logged = config.logDir === undefined ? null : await readLogs(config.logDir);
  const { page, criteria, states } = reportOf(evidence, served, logged);
  if (flags.html !== undefined) await write('--html', flags.html, htmlOf(page));
  if (flags.markdown !== undefined) await write('--markdown', flags.markdown, markdownOf(page));
  if (flags.json === true) {
    const { verification, indexes, ...rest } = evidence;
    printJson({ states, criteria, ...rest, verification: verification?.summary ?? null, indexes, served, logged });
  } else if (flags.html === undefined && flags.markdown === undefined) {
    process.stdout.write(markdownOf(page));
  } else console.log(page.summary);
  return states['not met'] > 0 ? 1 : 0;
}

async function evidenceOf(client: Connection, fresh: boolean): Promise<Evidence> {
  const expectation = await readExpectation(client);
  const verification = fresh && expectation !== null ? await verifyDatabase(client, expectation) : null;
  return gather(client, expectation, verification);
}

async function write(flag: string, file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text);
  } catch (cause) {
    throw problem(
      'usage_error',
      `${flag}: cannot be written: ${cause instanceof Error ? cause.message : cause}`,
      {},
      { cause },
    );
  }
}

async function readLogs(directory: string): Promise<Logged> {
  const logs = watchServerLogs(directory);
  try {
    const counts = await logs.read();
    const serverErrors = [...counts.statuses].reduce((sum, [status, n]) => sum + (status >= 500 ? n : 0), 0);
    const refusals = [...counts.refusals.values()].reduce((sum, n) => sum + n, counts.refusalsOfOthers);
    const withoutUser = counts.tokenFaults.noUser;
    return { files: counts.files, requests: requestsIn(counts), serverErrors, refusals, withoutUser };
  } finally {
    await logs.close();
  }
}

interface Asked {
  readonly url: URL;
  readonly baselineUrl: URL | null;
  readonly tokenA: string | null;
  readonly tokenB: string | null;
  readonly adminToken: string | null;
  readonly requests: number;
}

const requestsDefault = 200;
const warmUp = 20;
const timeoutMs = 10_000;

async function askedOf(flags: ReportFlags): Promise<Asked | null> {
  const tokenA = await tokenIn('--token-a-file', flags.tokenAFile);
  const tokenB = await tokenIn('--token-b-file', flags.tokenBFile);
  const adminToken = await tokenIn('--admin-token-file', flags.adminTokenFile);
  if (flags.url === undefined) {
    if (tokenA ?? tokenB ?? adminToken ?? flags.baselineUrl)
      throw problem('usage_error', '--url: is required with these');
    return null;
  }
  if (tokenB !== null && tokenA === null) throw problem('usage_error', '--token-a-file: is required with the other');
  const baselineUrl = flags.baselineUrl === undefined ? null : addressOf('--baseline-url', flags.baselineUrl);
  const requests = flags.requests ?? requestsDefault;
  return { url: addressOf('--url', flags.url), baselineUrl, tokenA, tokenB, adminToken, requests };
}

function addressOf(flag: string, text: string): URL {
  const url = URL.parse(text);
  if (url !== null && /^https?:$/.test(url.protocol)) return url;
  throw problem('usage_error', `${flag}: must be an address such as https://your-app.com`);
}

async function tokenIn(flag: string, file: string | undefined): Promise<string | null> {
  if (file === undefined) return null;
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    throw problem(
      'usage_error',
      `${flag}: cannot be read: ${cause instanceof Error ? cause.message : cause}`,
      {},
      { cause },
    );
  }
}

async function ask({ url, baselineUrl, tokenA, tokenB, adminToken, requests }: Asked): Promise<Served> {
  const health = await statusOf(url, '/health', null);
  const both = tokenA !== null && tokenB !== null ? await probeServer({ url: url.href, tokenA, tokenB }) : null;
  return {
    url: url.href,
    health,
    withoutToken: await statusOf(url, '/api/tasks', null),
    withToken: tokenA === null ? null : await statusOf(url, '/api/tasks', tokenA),
    faults: both?.findings.filter(({ severity }) => severity === 'fail').map(({ message }) => message) ?? null,
    requests: both?.requests ?? 0,
    latency: tokenA === null || health === null ? null : await measure(url, tokenA, requests),
    baseline: tokenA === null || baselineUrl === null ? null : await measure(baselineUrl, tokenA, requests),
    systemMode: adminToken === null ? null : await systemModeOf(url, adminToken, tokenA),
  };
}

async function systemModeOf(url: URL, adminToken: string, token: string | null): Promise<Served['systemMode']> {
  const path = '/admin/system/tasks';
  const admin = await statusOf(url, path, adminToken);
  return { admin: admin ?? 0, user: token === null ? null : await statusOf(url, path, token) };
}

async function statusOf(url: URL, path: string, token: string | null): Promise<number | null> {
  try {
    const answer = await fetch(new URL(path, url), {
      headers: token === null ? {} : { authorization: `Bearer ${token}` },
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
    });
    await answer.arrayBuffer();
    return answer.status;
  } catch {
    return null;
  }
}

/** One after the other, until the whole answer is there; null when one is not 200. */
async function measure(url: URL, token: string, requests: number): Promise<Latency | null> {
  const times: number[] = [];
  for (let at = 0; at < warmUp + requests; at++) {
    const began = monotonicMs();
    if ((await statusOf(url, '/api/tasks', token)) !== 200) return null;
    if (at >= warmUp) times.push(monotonicMs() - began);
  }
  times.sort((a, b) => a - b);
  const share = (part: number) => times[Math.min(times.length - 1, Math.floor(times.length * part))] ?? 0;
  return { requests, p50: share(0.5), p95: share(0.95) };
}
