/** `ringfence monitor`: what the database and the server's logs say about isolation, once or again and again. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../config.ts';
import { roleUrl, systemRole } from '../database/provision.ts';
import { Problem, problem } from '../errors.ts';
import { withConnection } from '../rollout/connection.ts';
import { type Finding, fail, warn } from '../rollout/finding.ts';
import { exposition } from '../rollout/monitor/exposition.ts';
import { metricsOf } from '../rollout/monitor/metrics.ts';
import { type Observation, observe } from '../rollout/monitor/monitor.ts';
import { shortened } from '../rollout/monitor/statements.ts';
import { stateInstalled } from '../rollout/state.ts';
import { fingerprint } from '../rollout/verify/fingerprint.ts';
import { readContext } from '../rollout/verify/verify.ts';
import { type OwnedDatabase, withOwnedDatabase } from './database.ts';
import { findingsText, summarise } from './findings.ts';
import { type Monitored, monitored } from './monitored-subject.ts';
import { table } from './print.ts';
import {
  type LogCounts,
  logFindings,
  logMetrics,
  quantile,
  requestsIn,
  type ServerLogs,
  watchServerLogs,
} from './server-logs.ts';

export interface MonitorFlags {
  readonly json?: boolean | undefined;
  readonly verbose?: boolean | undefined;
  readonly prometheus?: boolean | undefined;
  /** Seconds between two looks; true takes the default. */
  readonly watch?: boolean | number | undefined;
}

const defaultSeconds = 5;
/** Each look reads the catalogue and all recorded statements. */
const shortestSeconds = 0.2;
const statementsShown = 15;
const usersShown = 20;

interface Look {
  readonly observation: Observation;
  readonly logs: LogCounts | null;
  /** Refusals in the users' own access logs, rows that do not exist at all among them; ours alone. */
  readonly accessLog: readonly Refusals[];
  readonly findings: readonly Finding[];
}

interface Refusals {
  readonly user_id: string;
  readonly refused: number;
}

/**
 * @returns exit code 1 when something must be put right; 0 when watching was ended
 * @throws Problem `usage_error` for flags that exclude each other
 */
export async function runMonitor(config: Config, flags: MonitorFlags): Promise<0 | 1> {
  const { watch = false, prometheus = false } = flags;
  if (prometheus && (watch !== false || flags.json === true)) {
    throw problem('usage_error', '--prometheus: prints one look in its own format; leave --watch and --json out');
  }
  if (typeof watch === 'number' && !(watch >= shortestSeconds)) {
    throw problem('usage_error', `--watch: must be at least ${shortestSeconds} seconds`);
  }
  const logs = config.logDir === undefined ? null : watchServerLogs(config.logDir);
  try {
    return await withOwnedDatabase(config, async (database) => {
      if (watch !== false) return repeat(config, database, logs, flags, watch === true ? defaultSeconds : watch);
      const seen = await look(config, database, logs);
      if (prometheus) process.stdout.write(metricsText(seen));
      else console.log(flags.json === true ? JSON.stringify(document(seen), null, 2) : text(seen, flags));
      return summarise(seen.findings).fail > 0 ? 1 : 0;
    });
  } finally {
    await logs?.close();
  }
}

/** Until Ctrl-C. A database that is away for a while is told and waited for. */
async function repeat(
  config: Config,
  database: OwnedDatabase,
  logs: ServerLogs | null,
  flags: MonitorFlags,
  seconds: number,
): Promise<0> {
  const ending = new AbortController();
  const end = () => ending.abort();
  process.once('SIGINT', end).once('SIGTERM', end);
  try {
    while (!ending.signal.aborted) {
      const shown = await lookOrSay(config, database, logs, flags);
      process.stdout.write(`${process.stdout.isTTY && flags.json !== true ? '\u001b[H\u001b[2J' : ''}${shown}\n`);
      await delay(seconds * 1000, undefined, { signal: ending.signal }).catch(() => {});
    }
    return 0;
  } finally {
    process.off('SIGINT', end).off('SIGTERM', end);
  }
}

async function lookOrSay(
  config: Config,
  database: OwnedDatabase,
  logs: ServerLogs | null,
  flags: MonitorFlags,
): Promise<string> {
  try {
    const seen = await look(config, database, logs);
    return flags.json === true ? JSON.stringify(document(seen)) : text(seen, flags);
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== 'database_unavailable') throw error;
    return flags.json === true ? JSON.stringify({ error: error.message }) : error.message;
  }
}

async function look(config: Config, database: OwnedDatabase, serverLogs: ServerLogs | null): Promise<Look> {
  const { observation, about } = await withConnection(database.ownerUrl, 'monitor', async (client) => {
    const found = await monitored(client);
    const { subject, expectation, shadowed } = found;
    // Where there is no rollout, `verify` leaves nothing to compare with.
    const comparable = expectation !== null && (await stateInstalled(client));
    const now = comparable ? fingerprint(await readContext(client, expectation)) : null;
    return { about: found, observation: await observe(client, subject, { fingerprint: now, shadowed }) };
  });
  const logs = serverLogs === null ? null : await serverLogs.read();
  const { refusals, findings } = await accessLogOf(config, database, about);
  const all = [
    ...isolationFindings(config, about),
    ...observation.findings,
    ...findings,
    ...(logs ? logFindings(logs) : []),
  ];
  return { observation, logs, accessLog: refusals, findings: all };
}

function isolationFindings(config: Config, { subject, shadowed, product }: Monitored): Finding[] {
  if (subject.tables.length === 0) {
    const message = 'no plan is in force and no table has the policy user_isolation: nothing is isolated';
    const remedy = product ? 'run: ringfence migrate up' : 'run: ringfence preflight, then ringfence plan and apply';
    return [fail('isolation', undefined, message, remedy)];
  }
  if (product && !config.userIsolationEnabled && !shadowed) {
    const message = 'USER_ISOLATION_ENABLED is false: whoever is signed in sees everything';
    return [fail('isolation', undefined, message, 'set USER_ISOLATION_ENABLED=true and restart the server')];
  }
  return [];
}

/** Through the system role's own log-in, which may read every user's access log; marked as G56 asks. */
async function accessLogOf(
  config: Config,
  { ownerUrl, secret }: OwnedDatabase,
  { product, shadowed, subject }: Monitored,
): Promise<{ refusals: readonly Refusals[]; findings: readonly Finding[] }> {
  if (!product || shadowed || subject.tables.length === 0) return { refusals: [], findings: [] };
  const given = config.database.kind === 'external' ? config.database.roles?.systemUrl : undefined;
  try {
    const url = given ?? roleUrl(ownerUrl, systemRole, await secret());
    const refusals = await withConnection(url, 'monitor', async (client) => {
      const { rows } = await client.query<Refusals>(
        `select /* SYSTEM: monitor */ user_id::text, count(*)::float8 as refused from public.user_access_log
         where outcome = 'refused' group by user_id order by 2 desc, 1 limit $1`,
        [usersShown],
      );
      return rows;
    });
    return { refusals, findings: [] };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const remedy = 'run: ringfence doctor "system mode not working"';
    return {
      refusals: [],
      findings: [warn('access-log', 'user_access_log', `cannot be read: ${error.message}`, remedy)],
    };
  }
}

function document({ observation, logs, accessLog, findings }: Look): object {
  const { statements, indexes, drift } = observation;
  return {
    database: observation.database,
    at: observation.at,
    statements: { since: statements.since, collected: statements.collected, list: statements.statements },
    indexes: { since: indexes.since, list: indexes.indexes, tables: indexes.tables },
    drift: { changed: drift.changed, unclassified: drift.unclassified },
    logs: logs && {
      files: logs.files,
      malformed: logs.malformed,
      requests: requestsIn(logs),
      statuses: Object.fromEntries(logs.statuses),
      token_faults: logs.tokenFaults,
      milliseconds_at_most: { p50: quantile(logs, 0.5), p95: quantile(logs, 0.95), p99: quantile(logs, 0.99) },
      refusals: Object.fromEntries(logs.refusals),
      refusals_of_others: logs.refusalsOfOthers,
    },
    access_log_refusals: accessLog,
    findings,
    summary: summarise(findings),
  };
}

function metricsText({ observation, logs, findings }: Look): string {
  return exposition([...metricsOf(observation, findings), ...(logs ? logMetrics(logs) : [])]);
}

function text(seen: Look, { verbose = false }: MonitorFlags): string {
  const { observation, logs, accessLog, findings } = seen;
  const parts = [
    `${observation.database} at ${observation.at.toISOString()}`,
    statementsText(observation),
    logs ? logText(logs) : 'LOG_DIR is not set: refusals, errors and latencies of the server are not looked at.',
    accessLog.length > 0
      ? `Refused in users' access logs (absent rows too)\n${table(accessLog, ['user_id', 'refused'])}`
      : '',
    findingsText(findings, verbose),
  ];
  return parts.filter((part) => part !== '').join('\n\n');
}

const queryWidth = 52;

function statementsText({ statements: { statements, since, collected } }: Observation): string {
  if (!collected) return '';
  if (statements.length === 0) return 'No statement on a watched table has been seen.';
  const rows = statements.slice(0, statementsShown).map((statement) => ({
    kind: statement.kind,
    calls: statement.calls,
    'total ms': statement.totalTime.toFixed(1),
    'mean ms': statement.meanTime.toFixed(3),
    rows: statement.rows,
    statement: shortened(statement.query, queryWidth),
  }));
  const more = statements.length > rows.length ? `, the ${rows.length} longest of ${statements.length}` : '';
  const when = since === null ? '' : ` since ${since.toISOString()}`;
  return `Statements on watched tables${when}${more}\n${table(rows, ['kind', 'calls', 'total ms', 'mean ms', 'rows', 'statement'])}`;
}

function logText(logs: LogCounts): string {
  if (logs.files.length === 0) return 'LOG_DIR holds neither security.log nor application.log.';
  const ms = (share: number) => {
    const bound = quantile(logs, share);
    return bound === undefined || Number.isFinite(bound) ? `${bound ?? '-'} ms` : 'more than 5 s';
  };
  const { noUser, invalid, expired } = logs.tokenFaults;
  const lines = [
    `Requests ${requestsIn(logs)}: half within ${ms(0.5)}, 95 % within ${ms(0.95)}, 99 % within ${ms(0.99)}`,
    `Without a user: ${noUser} no token, ${invalid} invalid, ${expired} expired`,
  ];
  const users = [...logs.refusals].sort(([, a], [, b]) => b - a).slice(0, usersShown);
  if (users.length > 0) {
    const rows = users.map(([user_id, refused]) => ({ user_id, refused }));
    lines.push('', "Attempts at another user's rows", table(rows, ['user_id', 'refused']));
  }
  return lines.join('\n');
}
