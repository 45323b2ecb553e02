/**
 * Holds the backfill back while the database suffers: replicas behind, too much WAL, point reads that became slow, dead
 * rows that vacuum does not get to. Looked at once a second from a connection of its own.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '../../clock.ts';
import { type Connection, connect } from '../connection.ts';

/** Null turns a limit off. */
export interface ThrottleLimits {
  /** Seconds that a replica may be behind in replaying. */
  readonly maxLagSeconds: number | null;
  /** MB of WAL a second, by everybody. */
  readonly maxWalMBPerSecond: number | null;
  /**
   * Milliseconds of the 99th percentile of point reads on the table being filled; ten times what it was before the start
   * where that is more, so that a database that is slow anyway does not stop it for ever.
   */
  readonly maxProbeMs: number | null;
  /** Dead rows of the table for each live one; filling every row makes one for each. */
  readonly maxDeadRatio: number | null;
}

export const defaultLimits: ThrottleLimits = {
  maxLagSeconds: 10,
  maxWalMBPerSecond: null,
  maxProbeMs: 250,
  maxDeadRatio: 3,
};

export interface Sample {
  /** Null where nothing replicates, or the role may not see it. */
  readonly lagSeconds: number | null;
  readonly walMBPerSecond: number | null;
  /** Times of the latest point reads, milliseconds. */
  readonly probes: readonly number[];
  readonly deadRatio: number | null;
  /** An autovacuum against transaction id wraparound is at the table. */
  readonly wraparoundVacuum: boolean;
}

const baselineFactor = 10;

/** @returns why to hold back, or null. @param baselineMs the probe's median before the start */
export function overLimit(sample: Sample, limits: ThrottleLimits, baselineMs: number | null): string | null {
  const { lagSeconds, walMBPerSecond, deadRatio } = sample;
  if (limits.maxLagSeconds !== null && lagSeconds !== null && lagSeconds > limits.maxLagSeconds)
    return `a replica is ${lagSeconds.toFixed(1)} s behind (limit ${limits.maxLagSeconds} s)`;
  if (limits.maxWalMBPerSecond !== null && walMBPerSecond !== null && walMBPerSecond > limits.maxWalMBPerSecond)
    return `${walMBPerSecond.toFixed(0)} MB of WAL a second (limit ${limits.maxWalMBPerSecond})`;
  if (limits.maxProbeMs !== null && sample.probes.length > 0) {
    const limit = limits.maxProbeMs === 0 ? 0 : Math.max(limits.maxProbeMs, (baselineMs ?? 0) * baselineFactor);
    const p99 = percentile(sample.probes, 0.99);
    if (p99 > limit) return `a point read takes ${p99.toFixed(1)} ms (limit ${limit.toFixed(0)} ms)`;
  }
  if (limits.maxDeadRatio !== null && deadRatio !== null && deadRatio > limits.maxDeadRatio)
    return `${deadRatio.toFixed(1)} dead rows for each live one (limit ${limits.maxDeadRatio}): vacuum is behind`;
  if (sample.wraparoundVacuum) return 'autovacuum works against transaction id wraparound on the table';
  return null;
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

export interface Throttle {
  /** Returns when the next range may begin. @param workMs how long the last one took */
  pace(workMs: number, signal: AbortSignal): Promise<void>;
  /** Which table's point reads count. */
  watch(leaf: string): void;
  /** Why it holds back, or null. */
  readonly reason: string | null;
  stop(): Promise<void>;
}

const sampleEveryMs = 1_000;
/** While it waits, what it waits for may end at any moment. */
const sampleWhenPausedMs = 250;
const probesASample = 5;
/** Old times are forgotten quickly, so that a pause ends when its cause does. */
const probesKept = 50;
const remindAfterMs = 600_000;
const easing = 0.7;
const slowdownMax = 20;

interface ThrottleListener {
  /** Told when it has been waiting for long: it goes on waiting, but never silently. */
  say(message: string): void;
  /** Told when the reason to hold back changes. */
  onReason(reason: string | null): void;
}

/**
 * Measures once before it returns: what the work that follows is compared with.
 *
 * @param leaf the table that is measured first
 * @param limits looked at with every sample
 */
export async function startThrottle(
  url: string,
  leaf: string,
  limits: ThrottleLimits,
  { say, onReason }: ThrottleListener,
): Promise<Throttle> {
  const client = await connect(url, 'throttle');
  const ended = new AbortController();
  const state = {
    reason: null as string | null,
    leaf,
    /** Rest after each range, as a multiple of its time: doubled whenever a limit is met, eased while none is. */
    slowdown: 0,
    pausedAt: null as number | null,
  };
  const sampler = createSampler(client);
  await judge().catch(forget);
  const sampling = sampleUntilEnded();

  async function sampleUntilEnded(): Promise<void> {
    while (!ended.signal.aborted) {
      const wait = state.reason === null ? sampleEveryMs : sampleWhenPausedMs;
      await delay(wait, undefined, { signal: ended.signal }).catch(() => {});
      if (!ended.signal.aborted) await judge().catch(forget);
    }
  }

  async function judge(): Promise<void> {
    const sample = await sampler.take(state.leaf);
    const reason = overLimit(sample, limits, sampler.baselineMs);
    if (reason !== null && state.reason === null) {
      state.slowdown = Math.min(slowdownMax, Math.max(0.5, state.slowdown * 2));
      state.pausedAt = monotonicMs();
    }
    if (reason === null) {
      state.slowdown = state.slowdown < 0.1 ? 0 : state.slowdown * easing;
      state.pausedAt = null;
    } else if (state.pausedAt !== null && monotonicMs() - state.pausedAt > remindAfterMs) {
      say(`Held back for ${remindAfterMs / 60_000} minutes, and still: ${reason}.`);
      state.pausedAt = monotonicMs();
    }
    if (reason !== state.reason) onReason(reason);
    state.reason = reason;
  }

  /** The table may be gone, or the connection: what cannot be measured does not hold anything back. */
  function forget(): void {
    state.reason = null;
  }

  return {
    async pace(workMs, signal) {
      const either = AbortSignal.any([signal, ended.signal]);
      while (state.reason !== null && !either.aborted) {
        await delay(sampleWhenPausedMs / 2, undefined, { signal: either }).catch(() => {});
      }
      if (state.slowdown > 0) await delay(workMs * state.slowdown, undefined, { signal: either }).catch(() => {});
    },
    watch(next) {
      state.leaf = next;
    },
    get reason() {
      return state.reason;
    },
    async stop() {
      ended.abort();
      await sampling;
      await client.end().catch(() => {});
    },
  };
}

interface Sampler {
  take(leaf: string): Promise<Sample>;
  readonly baselineMs: number | null;
}

function createSampler(client: Connection): Sampler {
  let probes: number[] = [];
  let baselineMs: number | null = null;
  let wal: { at: number; bytes: number } | null = null;
  let probed: string | null = null;

  return {
    async take(leaf) {
      const figures = await readFigures(client, leaf);
      if (probed !== leaf) {
        probes = [];
        probed = leaf;
      }
      for (let i = 0; i < probesASample; i++) probes.push(await probe(client, leaf, figures.blocks));
      probes = probes.slice(-probesKept);
      baselineMs ??= percentile(probes, 0.5);
      const now = { at: monotonicMs(), bytes: figures.walBytes };
      const walMBPerSecond = wal === null ? null : (now.bytes - wal.bytes) / 1e6 / ((now.at - wal.at) / 1e3);
      wal = now;
      return { ...figures, walMBPerSecond, probes };
    },
    get baselineMs() {
      return baselineMs;
    },
  };
}

interface Figures {
  readonly lagSeconds: number | null;
  readonly walBytes: number;
  readonly deadRatio: number | null;
  readonly wraparoundVacuum: boolean;
  readonly blocks: number;
}

/** Fewer dead rows than this are no pile, whatever the ratio. */
const deadRowsIgnored = 100_000;

async function readFigures(client: Connection, leaf: string): Promise<Figures> {
  const { rows } = await client.query<Figures>(
    `select
      (select max(extract(epoch from replay_lag))::float8 from pg_stat_replication) as "lagSeconds",
      (pg_current_wal_lsn() - '0/0')::float8 as "walBytes",
      (
        -- Counters begin with nothing after a restore, a crash or a change to the standby; what the planner knows does not.
        select n_dead_tup / nullif(greatest(n_live_tup, c.reltuples, 0), 0)::float8
        from pg_stat_all_tables s join pg_class c on c.oid = s.relid
        where s.relid = to_regclass($1) and n_dead_tup > ${deadRowsIgnored}
      ) as "deadRatio",
      exists (
        select from pg_stat_progress_vacuum v join pg_stat_activity a using (pid)
        where v.relid = to_regclass($1) and a.query like 'autovacuum:%(to prevent wraparound)'
      ) as "wraparoundVacuum",
      (pg_relation_size(to_regclass($1)) / current_setting('block_size')::int)::float8 as blocks`,
    [leaf],
  );
  const [row] = rows;
  if (!row) throw new Error('a query without a table returned no row');
  return row;
}

/** Some row somewhere in the table, read by its place: needs no index, and meets what a point read meets. */
async function probe(client: Connection, leaf: string, blocks: number): Promise<number> {
  const started = monotonicMs();
  await client.query(
    `select 1 from ${leaf} t where t.ctid = '(${Math.floor(Math.random() * Math.max(1, blocks))},1)'::tid`,
  );
  return monotonicMs() - started;
}
