/**
 * What the server's two logs tell (guide G47, G50–G53, G83, G95): refusals by user, requests by status, tokens that were
 * refused and why, and how long requests took. Counted as the lines go by; memory does not grow with the files.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { type Finding, fail, pass, warn } from '../rollout/finding.ts';
import type { Metric } from '../rollout/monitor/exposition.ts';
import { followLines } from './follow-lines.ts';

export interface LogCounts {
  /** Attempts to reach another user's row (UNAUTHORIZED_ACCESS), by user. */
  readonly refusals: ReadonlyMap<string, number>;
  /** Those of users beyond the number that is kept apart. */
  readonly refusalsOfOthers: number;
  /** Requests by status. */
  readonly statuses: ReadonlyMap<number, number>;
  /** Requests without a user: `noUser` is the guide's "User ID not found in request". */
  readonly tokenFaults: Readonly<Record<TokenFault, number>>;
  /** Requests that took at most so many milliseconds; the last bound is infinite. */
  readonly durations: readonly { readonly atMost: number; readonly requests: number }[];
  readonly durationSum: number;
  /** Lines that are no JSON objects. */
  readonly malformed: number;
  /** Files that are there. */
  readonly files: readonly string[];
}

const faults = ['noUser', 'invalid', 'expired'] as const;
type TokenFault = (typeof faults)[number];

const usersKeptMax = 10_000;
const bounds = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, Number.POSITIVE_INFINITY];

const securityLine = z.looseObject({ event: z.string(), user_id: z.string().max(100).optional() });
const requestLine = z.looseObject({ msg: z.literal('request'), status: z.int(), ms: z.number().nonnegative() });
const tokenLine = z.looseObject({ msg: z.enum(['JWT missing', 'JWT refused']), reason: z.enum(faults) });
const anyLine = z.record(z.string(), z.unknown());

export interface ServerLogs {
  /** Reads what is new and counts it to what there was. */
  read(): Promise<LogCounts>;
  close(): Promise<void>;
}

/** @param logDir LOG_DIR */
export function watchServerLogs(logDir: string): ServerLogs {
  const refusals = new Map<string, number>();
  const statuses = new Map<number, number>();
  const tokenFaults = { noUser: 0, invalid: 0, expired: 0 };
  const durations = bounds.map((atMost) => ({ atMost, requests: 0 }));
  let refusalsOfOthers = 0;
  let durationSum = 0;
  let malformed = 0;

  const object = (line: string | undefined): unknown => {
    try {
      return anyLine.parse(JSON.parse(line ?? ''));
    } catch {
      malformed += 1;
      return undefined;
    }
  };
  const ofSecurity = (line: string | undefined) => {
    const { data } = securityLine.safeParse(object(line));
    if (data?.event !== 'UNAUTHORIZED_ACCESS') return;
    const user = data.user_id ?? 'unknown';
    const count = refusals.get(user);
    if (count === undefined && refusals.size >= usersKeptMax) refusalsOfOthers += 1;
    else refusals.set(user, (count ?? 0) + 1);
  };
  const ofApplication = (line: string | undefined) => {
    const value = object(line);
    const token = tokenLine.safeParse(value);
    if (token.success) tokenFaults[token.data.reason] += 1;
    const { data: request } = requestLine.safeParse(value);
    if (!request) return;
    statuses.set(request.status, (statuses.get(request.status) ?? 0) + 1);
    durationSum += request.ms;
    const bucket = durations.find(({ atMost }) => request.ms <= atMost);
    if (bucket) bucket.requests += 1;
  };

  const followers = [
    { name: 'security.log', follower: followLines(join(logDir, 'security.log'), ofSecurity) },
    { name: 'application.log', follower: followLines(join(logDir, 'application.log'), ofApplication) },
  ];
  return {
    async read() {
      const files: string[] = [];
      for (const { name, follower } of followers) if (await follower.read()) files.push(name);
      return { refusals, refusalsOfOthers, statuses, tokenFaults, durations, durationSum, malformed, files };
    },
    async close() {
      for (const { follower } of followers) await follower.close();
    },
  };
}

export function requestsIn({ statuses }: LogCounts): number {
  return [...statuses.values()].reduce((sum, count) => sum + count, 0);
}

/** The bound that so large a share of the requests kept, or undefined without requests. */
export function quantile(counts: LogCounts, share: number): number | undefined {
  const wanted = requestsIn(counts) * share;
  let seen = 0;
  for (const { atMost, requests } of counts.durations) {
    seen += requests;
    if (seen > 0 && seen >= wanted) return atMost;
  }
  return undefined;
}

/** Above this share of requests without a user something is set up wrongly; a few are everyday. */
const shareWorthALook = 0.05;
const requestsWorthAShare = 20;
const serverErrorShare = 0.01;

export function logFindings(counts: LogCounts): Finding[] {
  const requests = requestsIn(counts);
  const refused = [...counts.refusals.values()].reduce((sum, count) => sum + count, counts.refusalsOfOthers);
  const errors = [...counts.statuses].reduce((sum, [status, count]) => sum + (status >= 500 ? count : 0), 0);
  const findings: Finding[] = [];
  const busy = requests >= requestsWorthAShare;
  if (refused > 0) {
    const users = counts.refusals.size + (counts.refusalsOfOthers > 0 ? 1 : 0);
    const message = `${refused} attempts of ${users} user(s) to reach another user's rows were refused`;
    findings.push(
      warn(
        'unauthorized-access',
        'security.log',
        message,
        'look at the users above: a few are stale links, many are somebody trying',
      ),
    );
  } else if (counts.files.includes('security.log')) {
    findings.push(pass('unauthorized-access', 'security.log', "no attempt to reach another user's rows"));
  }
  const { noUser } = counts.tokenFaults;
  if (busy && noUser / requests > shareWorthALook) {
    const message = `${percent(noUser, requests)} of ${requests} requests were refused with "User ID not found in request"`;
    findings.push(
      warn('user-context', 'application.log', message, 'run: ringfence doctor "User ID not found in request"'),
    );
  } else if (requests > 0) {
    findings.push(pass('user-context', 'application.log', `${noUser} of ${requests} requests came without a user`));
  }
  if (busy && errors / requests > serverErrorShare) {
    const message = `${percent(errors, requests)} of ${requests} requests failed in the server (5xx)`;
    findings.push(fail('error-rate', 'application.log', message, 'look for level "error" in application.log'));
  }
  if (counts.malformed > 0) {
    const message = `${counts.malformed} lines are no JSON and were left out`;
    findings.push(
      warn('log-lines', undefined, message, 'find out what else writes into LOG_DIR, or what cut a line off'),
    );
  }
  return findings;
}

function percent(part: number, whole: number): string {
  return `${((100 * part) / whole).toFixed(1)} %`;
}

/** Totals alone: a user's id is no label. */
export function logMetrics(counts: LogCounts): Metric[] {
  let seen = 0;
  const buckets = counts.durations.map(({ atMost, requests }) => {
    seen += requests;
    const le = Number.isFinite(atMost) ? String(atMost / 1000) : '+Inf';
    return { suffix: '_bucket', labels: { le }, value: seen };
  });
  const refused = [...counts.refusals.values()].reduce((sum, count) => sum + count, counts.refusalsOfOthers);
  return [
    {
      name: 'ringfence_unauthorized_access_total',
      type: 'counter',
      help: "Refused attempts to reach another user's rows, as in security.log.",
      samples: counts.files.includes('security.log') ? [{ value: refused }] : [],
    },
    {
      name: 'ringfence_requests_total',
      type: 'counter',
      help: 'Requests by status, as in application.log.',
      samples: [...counts.statuses].map(([status, value]) => ({ labels: { status: String(status) }, value })),
    },
    {
      name: 'ringfence_token_faults_total',
      type: 'counter',
      help: 'Requests without a user: no token, an invalid one, an expired one.',
      samples: faults.map((reason) => ({ labels: { reason }, value: counts.tokenFaults[reason] })),
    },
    {
      name: 'ringfence_request_duration_seconds',
      type: 'histogram',
      help: 'How long requests took, as in application.log.',
      samples:
        seen === 0
          ? []
          : [...buckets, { suffix: '_sum', value: counts.durationSum / 1000 }, { suffix: '_count', value: seen }],
    },
  ];
}
