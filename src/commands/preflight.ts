/** `ringfence preflight`: the guide's list of what must be so before a rollout (G3 to G11). It changes nothing. */
import { access, constants } from 'node:fs/promises';
import { minimumSecretBytes, secretWeakness } from '../access/secret-strength.ts';
import type { Config } from '../config.ts';
import { problem } from '../errors.ts';
import { type Catalog, readCatalog, type Table } from '../rollout/catalog.ts';
import { type Connection, messageOf, withConnection } from '../rollout/connection.ts';
import { type Finding, fail, pass, warn } from '../rollout/finding.ts';
import { bytesText, durationText } from '../rollout/preflight/amounts.ts';
import { estimateTable, rowsOf, type TableEstimate } from '../rollout/preflight/estimate.ts';
import { preflight } from '../rollout/preflight/preflight.ts';
import { serverVersionFinding } from '../rollout/preflight/server.ts';
import type { RolloutConfig } from '../rollout/rollout-config.ts';
import { withOwnedDatabase } from './database.ts';
import { type FindingsFlags, printFindings } from './findings.ts';
import { table } from './print.ts';
import { rolloutConfigFor } from './rollout-config-for.ts';

export interface PreflightFlags extends FindingsFlags {
  /** Where the application answers: its /health is asked (G11). */
  readonly url?: string | undefined;
  /** Path of the rollout's configuration. */
  readonly config?: string | undefined;
}

interface TableCost extends TableEstimate {
  readonly table: string;
  readonly rows: number;
  readonly bytes: number;
}

const healthTimeoutMs = 10_000;

/**
 * @returns exit code 1 when something must be put right
 * @throws Problem `usage_error` for an address that is none; `config_invalid`; `database_unavailable`
 */
export async function runPreflight(config: Config, flags: PreflightFlags): Promise<0 | 1> {
  const ours = [jwtFinding(config), await logFinding(config), ...(await healthFindings(flags.url))];
  const looked = await withOwnedDatabase(config, ({ ownerUrl }) =>
    withConnection(ownerUrl, 'preflight', async (client) =>
      lookAt(client, await rolloutConfigFor(client, flags.config)),
    ),
  );
  const code = printFindings([...looked.findings, ...ours], flags, { tables: looked.tables });
  if (flags.json !== true && looked.tables.length > 0) console.log(`\n${costsText(looked.tables)}`);
  return code;
}

async function lookAt(client: Connection, rollout: RolloutConfig) {
  const version = await serverVersionFinding(client);
  // The catalogue of an older server has not the columns that the other checks ask for.
  if (version.severity === 'fail') return { findings: [version], tables: [] };
  const catalog = await readCatalog(client);
  const only = tablesToIsolate(catalog, rollout);
  const findings = await preflight(client, catalog, {
    only: only.map(({ label }) => label),
    ...(rollout.users === undefined ? {} : { usersTable: rollout.users?.table ?? null }),
    ...(rollout.legacyRoles === undefined ? {} : { legacyRoles: rollout.legacyRoles }),
  });
  const tables = only
    .filter((table) => table.kind !== 'foreign')
    .map(
      (table): TableCost => ({ table: table.label, rows: rowsOf(table), bytes: table.bytes, ...estimateTable(table) }),
    )
    .toSorted((a, b) => b.backfillMs + b.indexMs - a.backfillMs - a.indexMs);
  return { findings, tables };
}

function tablesToIsolate(catalog: Catalog, { schemas, tables, shared, ignored }: RolloutConfig): Table[] {
  const left = new Set([...shared, ...ignored]);
  const classOf = (label: string) => tables[label]?.class ?? (left.has(label) ? 'ignored' : 'owned');
  return [...catalog.tables.values()].filter(
    (candidate) =>
      candidate.partitionOf === null &&
      (schemas?.includes(candidate.schema) ?? true) &&
      ['owned', 'account'].includes(classOf(candidate.label)),
  );
}

function costsText(costs: readonly TableCost[]): string {
  const rows = costs.map((cost) => ({
    table: cost.table,
    rows: String(Math.round(cost.rows)),
    size: bytesText(cost.bytes),
    owners: durationText(cost.backfillMs),
    indexes: durationText(cost.indexMs),
    WAL: bytesText(cost.walBytes),
    'longest lock': durationText(cost.longestLockMs),
  }));
  const sum = (part: (cost: TableCost) => number) => costs.reduce((total, cost) => total + part(cost), 0);
  const time = durationText(sum((cost) => cost.backfillMs + cost.indexMs));
  return [
    table(rows, ['table', 'rows', 'size', 'owners', 'indexes', 'WAL', 'longest lock']),
    '',
    `In all about ${time} and ${bytesText(sum((cost) => cost.walBytes))} of WAL, while the application goes on: no`,
    'maintenance window is needed (G4). These are estimates, scaled from one measurement of 2 million',
    'rows on 2 virtual CPUs, and as if every row were rewritten. A lock lasts longer when it has to',
    'wait for somebody first.',
    '',
    'Not for a program to see: an administrator at hand (G5), and a rehearsal on a copy (G6).',
  ].join('\n');
}

/** G9. The configuration refuses a weak secret already; this says so where the checklist is read. */
export function jwtFinding({ jwt, jwks, database }: Pick<Config, 'jwt' | 'jwks' | 'database'>): Finding {
  const check = 'jwt';
  if (jwt.secretKey === undefined) {
    return database.kind === 'embedded'
      ? pass(check, 'JWT_SECRET_KEY', 'It is not set; the server makes one and keeps it in its data directory (G9).')
      : warn(
          check,
          'JWT_SECRET_KEY',
          'It is not set; our own server needs it, another application checks its tokens by itself (G9).',
          'Where our server is to be used, make one with: openssl rand -base64 48',
        );
  }
  const least = { HS256: minimumSecretBytes, HS384: 48, HS512: 64 }[jwt.algorithm];
  const weakness = secretWeakness(jwt.secretKey, least);
  if (weakness !== undefined) {
    return fail(
      check,
      'JWT_SECRET_KEY',
      `It ${weakness} (G9).`,
      'Replace it before users are told apart by its tokens.',
    );
  }
  const outside = jwks === undefined ? '' : `; tokens of ${jwks.issuer} are accepted too`;
  return pass(check, 'JWT_SECRET_KEY', `It is set and strong enough for ${jwt.algorithm} (G9)${outside}.`);
}

/** G10. */
export async function logFinding({ logDir }: Pick<Config, 'logDir'>): Promise<Finding> {
  const check = 'logs';
  if (logDir === undefined) {
    return warn(
      check,
      'LOG_DIR',
      'It is not set: events go to standard output only, and `ringfence monitor` cannot read them (G10).',
      'Set it to the directory for application.log and security.log, such as /var/log/app.',
    );
  }
  try {
    await access(logDir, constants.W_OK);
    return pass(check, 'LOG_DIR', `application.log and security.log are written to ${logDir} (G10).`);
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (missing) return pass(check, 'LOG_DIR', `${logDir} is not there yet; the server makes it (G10).`);
    const remedy = 'Let the user that the server runs as write there.';
    return fail(check, 'LOG_DIR', `${logDir} cannot be written to (G10): ${messageOf(error)}.`, remedy);
  }
}

/** G11: asked as a load balancer asks, without a token and following no redirect. */
async function healthFindings(url: string | undefined): Promise<Finding[]> {
  if (url === undefined) return [];
  const base = URL.parse(url.endsWith('/') ? url : `${url}/`);
  if (base === null || !/^https?:$/.test(base.protocol)) {
    throw problem('usage_error', `--url: must be an http or https address, got ${url}`);
  }
  return [await healthFinding(new URL('health', base))];
}

async function healthFinding(address: URL): Promise<Finding> {
  const check = 'health';
  const remedy = 'Load balancers take a server by this answer: start it, or correct --url and their setting.';
  try {
    const reply = await fetch(address, { redirect: 'manual', signal: AbortSignal.timeout(healthTimeoutMs) });
    await reply.body?.cancel();
    if (reply.status === 200) return pass(check, address.href, 'It answers 200 without a token (G11).');
    return fail(check, address.href, `It answers ${reply.status}, not 200 (G11).`, remedy);
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    return fail(check, address.href, `It does not answer (G11): ${messageOf(cause)}.`, remedy);
  }
}
