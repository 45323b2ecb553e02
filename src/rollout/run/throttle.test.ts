import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../../test/support/postgres.ts';
import { withConnection } from '../connection.ts';
import { defaultLimits, overLimit, percentile, type Sample, startThrottle, type ThrottleLimits } from './throttle.ts';

const calm: Sample = { lagSeconds: 0.1, walMBPerSecond: 5, probes: [1, 1, 2], deadRatio: 1, wraparoundVacuum: false };

describe('a sample', () => {
  test('within the limits holds nothing back', () => {
    expect(overLimit(calm, { ...defaultLimits, maxWalMBPerSecond: 50 }, 1)).toBeNull();
    expect(overLimit({ ...calm, lagSeconds: null, deadRatio: null, probes: [] }, defaultLimits, null)).toBeNull();
  });

  test.each<[Partial<Sample>, string]>([
    [{ lagSeconds: 12 }, 'a replica is 12.0 s behind (limit 10 s)'],
    [{ walMBPerSecond: 70 }, '70 MB of WAL a second (limit 50)'],
    [{ probes: [1, 1, 400] }, 'a point read takes 400.0 ms (limit 250 ms)'],
    [{ deadRatio: 3.5 }, '3.5 dead rows for each live one (limit 3): vacuum is behind'],
    [{ wraparoundVacuum: true }, 'autovacuum works against transaction id wraparound on the table'],
  ])('over a limit says which: %o', (change, reason) => {
    expect(overLimit({ ...calm, ...change }, { ...defaultLimits, maxWalMBPerSecond: 50 }, 1)).toBe(reason);
  });

  test('a database that is slow anyway is measured by itself', () => {
    expect(overLimit({ ...calm, probes: [400] }, defaultLimits, 50)).toBeNull();
    expect(overLimit({ ...calm, probes: [501] }, defaultLimits, 50)).toMatch(/limit 500 ms/);
  });

  test('null turns a limit off', () => {
    const off: ThrottleLimits = { maxLagSeconds: null, maxWalMBPerSecond: null, maxProbeMs: null, maxDeadRatio: null };
    const bad = { ...calm, lagSeconds: 1e6, walMBPerSecond: 1e6, probes: [1e6], deadRatio: 1e6 };
    expect(overLimit(bad, off, 1)).toBeNull();
  });

  test('the percentile is the nearest rank', () => {
    expect(percentile([], 0.99)).toBe(0);
    expect(percentile([3, 1, 2], 0.5)).toBe(2);
    expect(
      percentile(
        Array.from({ length: 100 }, (_, at) => at),
        0.99,
      ),
    ).toBe(99);
  });
});

describe('on a database', () => {
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createDatabase();
    await withConnection(database.url, 'test', (client) =>
      client.query('create table public.items as select i from generate_series(1, 1000) i'),
    );
  });

  afterAll(() => database.drop());

  test('work waits while a limit is exceeded, says why, and goes on slower afterwards', async () => {
    const limits = { ...defaultLimits, maxProbeMs: 0 as number };
    const reasons: (string | null)[] = [];
    const throttle = await startThrottle(database.url, 'public.items', limits, {
      say: () => {},
      onReason: (reason) => reasons.push(reason),
    });
    try {
      await expect.poll(() => throttle.reason).toMatch(/^a point read takes .* \(limit 0 ms\)/);
      let resumed = false;
      const paced = throttle.pace(1, new AbortController().signal).then(() => {
        resumed = true;
      });
      await expect.poll(() => reasons.length).toBeGreaterThan(1);
      expect(resumed).toBe(false);
      limits.maxProbeMs = 10_000;
      await paced;
      expect(throttle.reason).toBeNull();
      expect(reasons.at(-1)).toBeNull();
    } finally {
      await throttle.stop();
    }
  });

  test('who is asked to stop does not wait', async () => {
    const throttle = await startThrottle(
      database.url,
      'public.items',
      { ...defaultLimits, maxProbeMs: 0 },
      { say: () => {}, onReason: () => {} },
    );
    try {
      await expect.poll(() => throttle.reason).not.toBeNull();
      await throttle.pace(1_000_000, AbortSignal.abort());
    } finally {
      await throttle.stop();
    }
  });

  test('a table that is gone holds nothing back', async () => {
    const throttle = await startThrottle(
      database.url,
      'public.items',
      { ...defaultLimits, maxProbeMs: 0 },
      { say: () => {}, onReason: () => {} },
    );
    try {
      await expect.poll(() => throttle.reason).not.toBeNull();
      throttle.watch('public.nothing');
      await expect.poll(() => throttle.reason).toBeNull();
    } finally {
      await throttle.stop();
    }
  });

  test('counters that begin with nothing, as after a restore, hold nothing back', async () => {
    await withConnection(database.url, 'test', async (client) => {
      await client.query('create table public.restored as select i from generate_series(1, 150000) i');
      await client.query('analyze public.restored');
      await client.query('select pg_stat_force_next_flush()');
      await client.query("select pg_stat_reset_single_table_counters('public.restored'::regclass)");
      await client.query('update public.restored set i = i');
      await client.query('select pg_stat_force_next_flush()');
      const { rows } = await client.query<{ dead: string; live: string }>(
        "select n_dead_tup as dead, n_live_tup as live from pg_stat_all_tables where relid = 'public.restored'::regclass",
      );
      expect(rows).toEqual([{ dead: '150000', live: '0' }]);
    });
    const throttle = await startThrottle(database.url, 'public.restored', defaultLimits, {
      say: () => {},
      onReason: () => {},
    });
    try {
      expect(throttle.reason).toBeNull();
    } finally {
      await throttle.stop();
    }
  });
});
