/**
 * Whether look-ups by owner have an index, and use it (guide G48, G76–G78; `indexname` is in pg_indexes, not in pg_stats,
 * note N5).
 */
import type { ClientBase } from 'pg';
import { type Finding, fail, pass, warn } from '../finding.ts';
import { derivedName, identifier } from '../identifier.ts';
import type { Subject, WatchedTable } from './subject.ts';

export interface OwnerIndex {
  readonly table: string;
  /** With its schema. */
  readonly index: string;
  readonly definition: string;
  readonly valid: boolean;
  /** Since the statistics were reset. */
  readonly scans: number;
}

export interface TableUse {
  readonly table: string;
  /** The planner's estimate, -1 when never analysed. */
  readonly rows: number;
  /** As counted since statistics were reset. */
  readonly liveRows: number;
  readonly sequentialScans: number;
  readonly rowsReadSequentially: number;
  /** Of the owner column, from pg_stats; null where there are none or they are hidden. */
  readonly distinct: number | null;
  readonly correlation: number | null;
}

export interface IndexUse {
  readonly indexes: readonly OwnerIndex[];
  readonly tables: readonly TableUse[];
  /** When Postgres began to count; null: never reset. */
  readonly since: Date | null;
  readonly findings: readonly Finding[];
}

/** Below this a sequential scan costs as little as an index. */
const rowsWorthAnIndex = 1_000;

/** $1 labels, $2 owner columns. Counts of a partitioned table are those of its partitions. */
const tablesQuery = `
select w.label as "table",
  coalesce(case c.relkind when 'p' then t.rows else c.reltuples end, -1)::float8 as rows,
  coalesce(t.live, 0)::float8 as "liveRows", coalesce(t.seq, 0)::float8 as "sequentialScans", coalesce(t.tuples, 0)::float8 as "rowsReadSequentially",
  s.n_distinct::float8 as "distinct", s.correlation::float8 as correlation
from unnest($1::text[], $2::text[]) w (label, owner)
join pg_class c on c.oid = to_regclass(w.label)
join pg_namespace n on n.oid = c.relnamespace
left join lateral (
  select sum(u.n_live_tup) as live, sum(u.seq_scan) as seq, sum(u.seq_tup_read) as tuples, sum(greatest(p.reltuples, 0)) as rows
  from (select c.oid as relid union select relid from pg_partition_tree(c.oid)) l
  join pg_class p on p.oid = l.relid and p.relkind = 'r'
  left join pg_stat_user_tables u on u.relid = l.relid
) t on true
left join pg_stats s on s.schemaname = n.nspname and s.tablename = c.relname and s.attname = w.owner
  and s.inherited = (c.relkind = 'p')
order by w.label`;

/** Indexes whose first column is the owner and that hold every row. */
const indexesQuery = `
select w.label as "table", format('%I.%I', x.schemaname, x.indexname) as index, x.indexdef as definition,
  i.indisvalid and i.indisready as valid,
  coalesce((
    select sum(u.idx_scan)
    from (select i.indexrelid as relid union select relid from pg_partition_tree(i.indexrelid)) l
    join pg_stat_user_indexes u on u.indexrelid = l.relid
  ), 0)::float8 as scans
from unnest($1::text[], $2::text[]) w (label, owner)
join pg_class c on c.oid = to_regclass(w.label)
join pg_index i on i.indrelid = c.oid and i.indpred is null
join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0] and a.attname = w.owner
join pg_class ic on ic.oid = i.indexrelid
join pg_namespace n on n.oid = ic.relnamespace
join pg_indexes x on x.schemaname = n.nspname and x.indexname = ic.relname
order by 1, 2`;

export async function observeIndexes(client: ClientBase, subject: Subject): Promise<IndexUse> {
  const watched = [subject.tables.map(({ table }) => table), subject.tables.map(({ ownerColumn }) => ownerColumn)];
  const tables = await client.query<TableUse>(tablesQuery, watched);
  const indexes = await client.query<OwnerIndex>(indexesQuery, watched);
  const reset = await client.query<{ since: Date | null }>(
    'select stats_reset as since from pg_stat_database where datname = current_database()',
  );
  const since = reset.rows[0]?.since ?? null;
  const findings = subject.tables.flatMap((table) =>
    indexFindings(
      table,
      indexes.rows.filter((index) => index.table === table.table),
      tables.rows.find((use) => use.table === table.table),
      since,
    ),
  );
  return { indexes: indexes.rows, tables: tables.rows, since, findings };
}

function indexFindings(
  { table, name, ownerColumn }: WatchedTable,
  indexes: readonly OwnerIndex[],
  use: TableUse | undefined,
  since: Date | null,
): Finding[] {
  const valid = indexes.filter((index) => index.valid);
  const broken = indexes
    .filter((index) => !index.valid)
    .map(({ index }) =>
      fail(
        'owner-index',
        table,
        `${index} is invalid: a CREATE INDEX CONCURRENTLY did not end`,
        `drop index concurrently ${index}, then make it again`,
      ),
    );
  if (valid.length === 0) {
    const remedy = `create index concurrently ${identifier(derivedName('idx', name, ownerColumn))} on ${table} (${identifier(ownerColumn)})`;
    return [...broken, fail('owner-index', table, `no index begins with ${ownerColumn}`, remedy)];
  }
  if (use === undefined) return broken;
  if (use.rows < 0 && use.liveRows >= rowsWorthAnIndex) {
    return [...broken, warn('owner-statistics', table, 'was never analysed: the planner guesses', `analyze ${table}`)];
  }
  const unused = valid.every(({ scans }) => scans === 0) && use.rows >= rowsWorthAnIndex && use.sequentialScans > 0;
  if (!unused)
    return broken.length > 0 ? broken : [pass('owner-index', table, `${valid.length} begin with ${ownerColumn}`)];
  const when = since === null ? 'since statistics began' : `since ${since.toISOString()}`;
  return [
    ...broken,
    warn(
      'owner-index',
      table,
      `no index on ${ownerColumn} was used ${when}, against ${use.sequentialScans} sequential scans over ${Math.round(use.rows)} rows`,
      'run `ringfence doctor "slow queries"`, which asks the planner why',
    ),
  ];
}
