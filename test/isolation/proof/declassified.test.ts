import { describe, expect, test } from 'vitest';
import { declassify } from './declassified.ts';
import { rowOf } from './hostile-sql/trace.ts';

/** The answer to one text: the rows of each of its statements. */
const answer = (...statements: readonly (readonly (readonly string[])[])[]) => [
  ...statements.flatMap((rows) => [`columns ${rows[0]?.length}`, ...rows.map(rowOf), `done SELECT ${rows.length}`]),
  'ready T',
];
const plan = (...lines: readonly string[]) => lines.map((line) => [line]);
const explained = (...lines: readonly string[]) => [
  'columns 1',
  ...plan(...lines).map(rowOf),
  'done EXPLAIN',
  'ready T',
];

describe('what another user has is not excused by what stands beside it', () => {
  const cases: Readonly<Record<string, readonly [one: string[], other: string[]]>> = {
    'select pg_advisory_xact_lock(7); select count(*) from leaky()': [
      answer([['']], [['5']]),
      answer([['']], [['700']]),
    ],
    'explain select 1; select sum(priority) from leaky()': [
      answer(plan('Result  (cost=0.00..0.01 rows=1 width=4)'), [['4711']]),
      answer(plan('Result  (cost=0.00..0.01 rows=1 width=4)'), [['1']]),
    ],
    'select amount from leaky() -- withdrawal': [answer([['4711']]), answer([['1']])],
    'select amount from leaky() /* pg_current_wal_lsn() */': [answer([['4711']]), answer([['1']])],
    'select ctid is not null, (select total from leaky()) from tasks': [answer([['t', '12']]), answer([['t', '9000']])],
    'select due_date, xmin from leaky()': [answer([['2030-01-02', '731']]), answer([['2031-07-09', '733']])],
    'select xmin, total from leaky()': [answer([['731', '12']]), answer([['733', '9000']])],
    "select 'xmin', total from leaky()": [answer([['xmin', '12']]), answer([['xmin', '9000']])],
    'select total as xmin from leaky()': [answer([['12']]), answer([['9000']])],
    'select (select total from leaky()) + xmin::text::int from tasks': [answer([['731']]), answer([['9000']])],
    'select xmin from tasks union all select total from leaky()': [answer([['731']]), answer([['9000']])],
    'select *, xmin from leaky()': [answer([['12', '731']]), answer([['9000', '731']])],
    'select reltuples, total from pg_class, leaky()': [answer([['6', '12']]), answer([['6', '13']])],
    'select * from pg_stat_wal, leaky()': [answer([['1', '12']]), answer([['1', '13']])],
    'select * from pg_stat_wal; select * from leaky()': [answer([['1']], [['12']]), answer([['1']], [['13']])],
    'explain select * from tasks where total = 12': [
      answer(plan('Seq Scan on tasks  (cost=0.00..1.00 rows=1 width=4)', '  Filter: (total = 12)')),
      answer(plan('Seq Scan on tasks  (cost=0.00..1.00 rows=9 width=4)', '  Filter: (total = 13)')),
    ],
    'select * from pg_stat_io v order by v::text': [answer([['a', '1']]), answer([['b', '1']])],
    'select * from pg_stat_io v limit 1': [answer([['a', '1']]), answer([['b', '1']])],
    'select * from pg_stat_io v order by v::text limit 2': [
      answer([['a', '1']]),
      answer([
        ['a', '1'],
        ['b', '1'],
      ]),
    ],
    'select ctid from tasks': [answer([['(0,1)']]), answer([['(0,1)'], ['(0,2)']])],
    'select pg_try_advisory_xact_lock(7)': [answer([['t']]), answer([['f']])],
  };
  test.each(Object.keys(cases))('%s', (sql) => {
    const [one, other] = cases[sql] ?? [[], []];
    expect(declassify(sql, one, other)).toBeNull();
  });

  test('nor by a statement that one world ended before', () => {
    const failed = ['error code: 22012; message: division by zero', 'ready E'];
    expect(declassify('select txid_current(); select 1', failed, answer([['7']], [['1']]))).toBeNull();
  });
});

describe('what is declassified is excused', () => {
  const cases: Readonly<Record<string, readonly [reason: string, one: string[], other: string[]]>> = {
    // Which rows come first hangs on the counters.
    'select * from pg_stat_io v order by v::text limit 1': [
      'counters-of-the-cluster',
      answer([['a', '1']]),
      answer([['b', '1']]),
    ],
    'select txid_current()': ['transaction-numbers', answer([['731']]), answer([['733']])],
    'select 1; select txid_current() -- mine': [
      'transaction-numbers',
      answer([['1']], [['731']]),
      answer([['1']], [['733']]),
    ],
    'select pg_current_snapshot(), pg_current_xact_id()': [
      'transaction-numbers',
      answer([['1331:1331:', '1331']]),
      answer([['1326:1329:1326,1328', '1326']]),
    ],
    'select pg_export_snapshot()': [
      'transaction-numbers',
      answer([['00000021-000002FB-1']]),
      answer([['00000022-000002FB-1']]),
    ],
    "select pg_logical_emit_message(false, 'x', 'y')": [
      'transaction-numbers',
      answer([['0/56FC4D0']]),
      answer([['0/56FC498']]),
    ],
    'select due_date, xmin from tasks': [
      'transaction-numbers',
      answer([['2030-01-02', '731']]),
      answer([['2030-01-02', '733']]),
    ],
    'select min(ctid), max(ctid), min(xmin::text::bigint) from tasks': [
      'place-on-disk',
      answer([['(0,1)', '(0,3)', '731']]),
      answer([['(12,1)', '(12,3)', '733']]),
    ],
    "insert into labels (name) values ('x') returning ctid": [
      'place-on-disk',
      answer([['(0,4)']]),
      answer([['(9,4)']]),
    ],
    "select reltuples, relpages, relallvisible, relfrozenxid from pg_class where oid = 'rules'::regclass": [
      'sizes-of-tables',
      answer([['6', '1', '0', '758']]),
      answer([['738', '20', '0', '758']]),
    ],
    'select pg_database_size(current_database())': ['sizes-of-tables', answer([['11540159']]), answer([['20936383']])],
    "select pg_size_pretty(pg_relation_size('tasks', 'fsm'))": [
      'sizes-of-tables',
      answer([['0 bytes']]),
      answer([['24 kB']]),
    ],
    'select * from pg_stat_wal v order by v::text limit 50': [
      'counters-of-the-cluster',
      answer([['12', '3']]),
      answer([['14', '3']]),
    ],
    'explain (analyze) select * from tasks': [
      'row-estimates',
      explained('Seq Scan on tasks  (cost=0.26..1.30 rows=1 width=6) (<time> rows=3.00 loops=1)'),
      explained(
        'Seq Scan on tasks  (cost=0.26..4.22 rows=6 width=6) (<time> rows=3.00 loops=1)',
        '  Rows Removed by Filter: 700',
      ),
    ],
    'select id from tasks': ['choice-of-plan', answer([['1'], ['2']]), answer([['2'], ['1']])],
  };
  test.each(Object.keys(cases))('%s', (sql) => {
    const [reason, one, other] = cases[sql] ?? ['', [], []];
    expect(declassify(sql, one, other)).toBe(reason);
  });
});
