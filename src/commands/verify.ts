/** `ringfence verify`: whether the database is as the plan says and the walls hold when they are leant on. */
import { readFile } from 'node:fs/promises';
import type { Config } from '../config.ts';
import { problem } from '../errors.ts';
import { type Connection, withConnection } from '../rollout/connection.ts';
import type { Finding } from '../rollout/finding.ts';
import { recordEvent, stateInstalled } from '../rollout/state.ts';
import { fingerprintHash } from '../rollout/verify/fingerprint.ts';
import { type Verification, verifyDatabase } from '../rollout/verify/verify.ts';
import { withOwnedDatabase } from './database.ts';
import { readExpectation } from './expectation-in-force.ts';
import { type FindingsFlags, printFindings, summarise } from './findings.ts';
import { table } from './print.ts';
import { type DeepFlags, runVerifyDeep } from './verify-deep.ts';
import { type HttpProbe, probeServer } from './verify-http.ts';

export interface VerifyFlags extends FindingsFlags, DeepFlags {
  /** The page of verify-deep.ts instead. */
  readonly deep?: boolean | undefined;
  /** Our own server: it is asked as two users. */
  readonly url?: string | undefined;
  readonly tokenA?: string | undefined;
  readonly tokenB?: string | undefined;
  readonly tokenAFile?: string | undefined;
  readonly tokenBFile?: string | undefined;
}

/**
 * @returns exit code 1 with anything to put right; with `strict` also with anything to know of
 * @throws Problem `usage_error` for an address without two tokens; `rollout_refused` when there is nothing to verify
 */
export async function runVerify(config: Config, flags: VerifyFlags): Promise<0 | 1> {
  if (flags.deep === true) {
    if (flags.url !== undefined) throw problem('usage_error', '--url: asks the server; leave it out with --deep');
    return runVerifyDeep(config, flags);
  }
  if (flags.html ?? flags.rate ?? flags.maxSeconds ?? flags.reviewed) {
    throw problem('usage_error', '--html, --rate, --max-seconds and --reviewed: need --deep');
  }
  const http = await httpOf(flags);
  const { result, served } = await withOwnedDatabase(config, async ({ ownerUrl }) => {
    const verified = await withConnection(ownerUrl, 'verify', verifyAll);
    const answered = http === null ? null : await probeServer(http);
    const all = [...verified.findings, ...(answered?.findings ?? [])];
    await withConnection(ownerUrl, 'verify', (client) => remember(client, verified, all));
    return { result: verified, served: answered };
  });
  const findings = [...result.findings, ...(served?.findings ?? [])];
  const requests = served?.requests ?? 0;
  const { ownerless, ...verification } = result.summary;
  const hash = fingerprintHash(result.fingerprint);
  const members = { verification: { ...verification, requests }, ownerless, fingerprint: hash };
  const code = printFindings(findings, flags, members);
  if (flags.json !== true) console.log(`\n${summaryText(result, requests)}`);
  return flags.strict === true && summarise(findings).warn > 0 ? 1 : code;
}

async function verifyAll(client: Connection): Promise<Verification> {
  const expectation = await readExpectation(client);
  if (expectation === null) {
    throw problem('rollout_refused', 'There is nothing to verify: no plan is in force here. Run `ringfence plan`.');
  }
  return verifyDatabase(client, expectation, (name) => {
    if (process.stderr.isTTY) process.stderr.write(`ringfence: looking at ${name} …\n`);
  });
}

/** What `report` shows, and what `monitor` compares with. Our own schema by itself has no such place. */
async function remember(client: Connection, result: Verification, findings: readonly Finding[]): Promise<void> {
  if (!(await stateInstalled(client))) return;
  const { tables, probedTables, emptyTables, probes, milliseconds } = result.summary;
  await recordEvent(client, 'verify', {
    ...summarise(findings),
    tables,
    probedTables,
    emptyTables,
    probes,
    milliseconds,
    faults: findings
      .filter(({ severity }) => severity !== 'pass')
      .map(({ severity, check, object }) => ({ severity, check, object })),
    hash: fingerprintHash(result.fingerprint),
    fingerprint: result.fingerprint,
  });
}

async function httpOf(flags: VerifyFlags): Promise<HttpProbe | null> {
  const tokenA = await tokenOf('a', flags.tokenA, flags.tokenAFile);
  const tokenB = await tokenOf('b', flags.tokenB, flags.tokenBFile);
  if (flags.url === undefined) {
    if (tokenA ?? tokenB) throw problem('usage_error', '--url: is required with a token');
    return null;
  }
  if (tokenA === undefined || tokenB === undefined) {
    throw problem('usage_error', '--url: needs the tokens of two users: --token-a-file and --token-b-file');
  }
  if (tokenA === tokenB) throw problem('usage_error', '--token-b: must be the token of another user');
  if (!URL.canParse(flags.url) || !/^https?:$/.test(new URL(flags.url).protocol)) {
    throw problem('usage_error', '--url: must be an address such as https://your-app.com');
  }
  return { url: flags.url, tokenA, tokenB };
}

async function tokenOf(
  name: 'a' | 'b',
  given: string | undefined,
  file: string | undefined,
): Promise<string | undefined> {
  if (given !== undefined && file !== undefined) {
    throw problem('usage_error', `--token-${name}: leave it out when --token-${name}-file is given`);
  }
  if (file === undefined) return given;
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw problem('usage_error', `--token-${name}-file: cannot be read: ${reason}`);
  }
}

function summaryText({ summary }: Verification, requests: number): string {
  const { tables, probedTables, emptyTables, probes, milliseconds, ownerless } = summary;
  const counts = [
    `${tables} tables and partitions`,
    `${probes} probes on ${probedTables}${emptyTables > 0 ? ` (${emptyTables} without a row: only adding one could be tried)` : ''}`,
    ...(requests > 0 ? [`${requests} requests`] : []),
    `${(milliseconds / 1000).toFixed(1)} s`,
  ];
  // The guide's check of the data (G18), for every table.
  const guide = ownerless.length > 0 ? `${table(ownerless, ['table_name', 'null_user_ids'])}\n\n` : '';
  return `${guide}${counts.join(', ')}`;
}
