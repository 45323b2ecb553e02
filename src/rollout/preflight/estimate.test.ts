import { expect, test } from 'vitest';
import type { Table } from '../catalog.ts';
import { estimateTable } from './estimate.ts';

const megabyte = 1024 * 1024;

/** The table of the measurement: 2 million rows, 500 MB. */
const measured: Table = {
  oid: 1,
  schema: 'public',
  name: 'tasks',
  label: 'public.tasks',
  kind: 'table',
  owner: 'owner',
  columns: [],
  primaryKey: null,
  uniques: [],
  indexes: [],
  foreignKeys: [],
  exclusions: [],
  constraints: [],
  triggers: [],
  rules: [],
  policies: [],
  rowSecurity: false,
  mayAlter: true,
  typed: false,
  usedAsType: [],
  published: [],
  forced: false,
  partitionOf: null,
  inherits: [],
  partitions: [],
  grants: [],
  rows: 2_000_000,
  bytes: 500 * megabyte,
};

test('the table that was measured costs what was measured', () => {
  const { backfillMs, walBytes, indexMs, longestLockMs } = estimateTable(measured);
  expect(backfillMs).toBe(38_000);
  expect(walBytes / megabyte).toBe(1_928);
  expect(indexMs).toBe(3_400);
  expect(longestLockMs).toBe(37);
});

test('few wide rows cost by their bytes, and rows never counted are reckoned from them', () => {
  expect(estimateTable({ ...measured, rows: 1_000 }).backfillMs).toBe(38_000);
  expect(estimateTable({ ...measured, rows: -1 })).toEqual(estimateTable(measured));
  expect(estimateTable({ ...measured, rows: 4_000_000 }).backfillMs).toBe(76_000);
});

test('every key, unique constraint and reference is another index, every partition another lock', () => {
  const key = { name: 'tasks_pkey', columns: ['id'], definition: '', deferrable: false, comment: null };
  expect(estimateTable({ ...measured, primaryKey: key }).indexMs).toBe(6_800);
  expect(estimateTable({ ...measured, partitions: ['public.a', 'public.b'] }).longestLockMs).toBe(111);
});

test('an empty table costs nothing', () => {
  expect(estimateTable({ ...measured, rows: 0, bytes: 0 })).toMatchObject({ backfillMs: 0, indexMs: 0, walBytes: 0 });
});
