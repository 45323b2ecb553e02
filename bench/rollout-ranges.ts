/** Why the backfill goes by blocks: the same update by ranges of a random key, with as many rows each. */
import type pg from 'pg';
import { withClient } from './rollout-data.ts';

export interface RangeFigures {
  readonly by: 'blocks' | 'keys';
  readonly rows: number;
  readonly rangesRun: number;
  readonly seconds: number;
  readonly rowsPerSecond: number;
  readonly longestRangeMs: number;
  readonly walMB: number;
  /** Pages looked at, in memory or not. */
  readonly pages: number;
  readonly tableMB: number;
}

const rowsARange = 10_000;
const workers = 2;
const quarantine = '00000000-0000-4000-8000-000000000000';

const statement = (range: string) => `update tasks t set user_id = p.user_id
from projects p
where p.id = t.project_id and t.user_id is distinct from p.user_id and ${range}`;

/** On a fresh copy, with nobody else at work. Sessions are set up as those of the backfill are. */
export async function updateByRanges(url: string, by: RangeFigures['by']): Promise<RangeFigures> {
  return withClient(url, async (client) => {
    await client.query(`alter table tasks add column user_id uuid not null default '${quarantine}'; checkpoint`);
    const ranges = by === 'blocks' ? await blockRanges(client) : await keyRanges(client);
    const before = await counters(client);
    const started = performance.now();
    const queue = [...ranges];
    const times: number[] = [];
    let rows = 0;
    const work = () =>
      withClient(url, async (worker) => {
        await worker.query('set synchronous_commit = off; set session_replication_role = replica');
        for (let range = queue.shift(); range !== undefined; range = queue.shift()) {
          const from = performance.now();
          rows += (await worker.query(statement(range))).rowCount ?? 0;
          times.push(performance.now() - from);
        }
      });
    await Promise.all(Array.from({ length: workers }, work));
    const seconds = (performance.now() - started) / 1000;
    const after = await counters(client);
    return {
      by,
      rows,
      rangesRun: ranges.length,
      seconds,
      rowsPerSecond: rows / seconds,
      longestRangeMs: Math.max(...times),
      walMB: (after.wal - before.wal) / 1e6,
      pages: after.pages - before.pages,
      tableMB: after.size / 1e6,
    };
  });
}

async function blockRanges(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ blocks: number; count: number }>(
    `select (pg_relation_size('tasks') / current_setting('block_size')::int)::int as blocks,
      (select count(*)::int from tasks) as count`,
  );
  const { blocks = 0, count = 0 } = rows[0] ?? {};
  const each = Math.max(1, Math.round((blocks * rowsARange) / count));
  return Array.from(
    { length: Math.ceil(blocks / each) },
    (_, at) => `t.ctid >= '(${at * each},0)'::tid and t.ctid < '(${(at + 1) * each},0)'::tid`,
  );
}

async function keyRanges(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ id: string }>(
    `select id from (select id, row_number() over (order by id) as n from tasks) t where n % ${rowsARange} = 1 order by id`,
  );
  return rows.map(({ id }, at) => {
    const next = rows[at + 1]?.id;
    return next === undefined ? `t.id >= '${id}'` : `t.id >= '${id}' and t.id < '${next}'`;
  });
}

async function counters(client: pg.Client): Promise<{ wal: number; pages: number; size: number }> {
  await client.query('select pg_stat_force_next_flush()');
  const { rows } = await client.query<{ wal: number; pages: number; size: number }>(
    `select (pg_current_wal_lsn() - '0/0')::float8 as wal, (blks_hit + blks_read)::float8 as pages,
      pg_total_relation_size('tasks')::float8 as size
    from pg_stat_database where datname = current_database()`,
  );
  const [row] = rows;
  if (!row) throw new Error('the database has no counters');
  return row;
}
