/**
 * What the rollout will cost a table. Estimates, never promises: scaled from one measurement on 2 million rows (500 MB
 * with three indexes, four connections writing, 2 shared virtual CPUs, PostgreSQL 18: `npm run bench:rollout`). All of it
 * assumes that every row is rewritten; rows that keep the default owner are not.
 */
import type { Table } from '../catalog.ts';

export interface TableEstimate {
  /** Giving every row its owner, by ranges, with 2 workers. */
  readonly backfillMs: number;
  /** Building the indexes concurrently. */
  readonly indexMs: number;
  readonly walBytes: number;
  /** The longest single lock that makes writers wait; longer when another transaction has to be waited for first. */
  readonly longestLockMs: number;
}

const megabyte = 1024 * 1024;

/** The measured table. */
const measured = { rows: 2_000_000, bytes: 500 * megabyte };

const bytesPerRow = measured.bytes / measured.rows;

/** Ranges of 20 ms with the parent looked up, 2 workers: 38 s, 53 thousand rows a second. */
const backfillMs = 38_000;

/** With the full pages that follow a checkpoint; the indexes are counted below. */
const backfillWal = 1_850 * megabyte;

/** One index after the backfill: 1.7 s and 78 MB of WAL. Built concurrently, the table is read twice (Postgres manual, CREATE INDEX). */
const indexMsPerRow = (2 * 1_700) / measured.rows;
const indexWalBytesPerRow = (78 * megabyte) / measured.rows;

/** ADD COLUMN with a constant default 20 ms, the policies in one transaction 18 ms, a primary key from an index 37 ms. */
const lockMs = 37;

/** @returns milliseconds and bytes; a table that was never analysed is reckoned from its size */
export function estimateTable(table: Table): TableEstimate {
  const rows = rowsOf(table);
  const bytes = Math.max(table.bytes, 0);
  const indexes = indexesToBuild(table);
  // Few wide rows cost by their bytes.
  const share = Math.max(rows / measured.rows, bytes / measured.bytes);
  return {
    backfillMs: Math.ceil(share * backfillMs),
    indexMs: Math.ceil(indexes * rows * indexMsPerRow),
    walBytes: Math.ceil(share * backfillWal + indexes * rows * indexWalBytesPerRow),
    longestLockMs: lockMs * (1 + table.partitions.length),
  };
}

/** @returns the planner's estimate, or one from the size where there is none */
export function rowsOf(table: Table): number {
  return table.rows >= 0 ? table.rows : Math.round(Math.max(table.bytes, 0) / bytesPerRow);
}

/** One on the owner, one for the key, one for each unique constraint or index, one for each reference. */
function indexesToBuild(table: Table): number {
  const uniques = table.indexes.filter((index) => index.unique && index.constraint !== table.primaryKey?.name);
  return 1 + (table.primaryKey ? 1 : 0) + uniques.length + table.foreignKeys.length;
}
