/**
 * How each entry of the declassification list (src/rollout/verify/declassified.ts) is shown to be so, and which differences
 * between twin worlds it explains. A difference that none of them explains is a fault.
 *
 * What is explained is as little as can be: a column of a statement, where its expression is what is declassified and
 * nothing else; a relation of the catalogue, read by itself; the figures of EXPLAIN. What stands deeper in a statement is
 * found by running it again without (hostile-sql/explain.ts).
 */
import { type DeclassifiedName, declassifications } from '../../../src/rollout/verify/declassified.ts';
import { itemsOf, statementsIn } from './hostile-sql/sql-text.ts';
import { answersIn, columnsOf, rowOf, same, sorted, type Trace } from './hostile-sql/trace.ts';

interface Shown {
  /** Shows it: run as the application's role with an identity of one's own. */
  readonly statement: string;
  /** What somebody else does meanwhile, where one session alone sees nothing. Run by the owner, in an open transaction. */
  readonly meanwhile?: string;
  /** Whose column it explains a difference of: an item of a select list, all of it. */
  readonly item?: RegExp;
  /** Which statements it explains a difference of in all that they show. */
  readonly whole?: RegExp;
  /** A value without what is declassified: the rest must still be the same in both worlds. */
  readonly mask?: (value: string) => string;
  /** Of a `whole` statement: it is sorted by the values themselves, so that they say which rows a limit leaves. */
  readonly cutByValue?: true;
}

export interface Declassified extends Shown {
  readonly name: DeclassifiedName;
}

/** A select of everything from one relation, and from nothing else. */
const allOf = (relations: string) =>
  new RegExp(`^select \\* from (?:${relations})(?: \\w+)?(?: order by [\\w:.]+)?(?: limit \\d+)?$`, 'i');
const system = (columns: string) => `(?:min|max)?\\(?(?:\\w+\\.)?(?:${columns})(?:::\\w+)*\\)?(?:::\\w+)*`;
const wholeItem = (...forms: readonly string[]) => new RegExp(`^(?:${forms.join('|')})$`, 'i');
const withoutNumbers = (value: string) => value.replace(/-?\d+(?:\.\d+)?(?:e[+-]?\d+)?/g, '#');

/** Figures by what Postgres calls them (EXPLAIN's text, and its JSON), so that a number in an expression stays. */
const withoutFigures = (line: string) =>
  line
    .replace(/\((?:cost=[\d.]+ rows=\d+ width=\d+)\)/g, '(#)')
    .replace(/cost=[\d.]+ rows=\d+ width=\d+/g, '#')
    .replace(/"(?:Startup Cost|Total Cost|Plan Rows|Plan Width)": [\d.]+/g, '"#"')
    .replace(/^ *(?:Planning:|Buffers: |Memory: |WAL: |Rows Removed by [\w ]+: \d+$|Heap Fetches: ).*/, '');

const shown: Readonly<Record<DeclassifiedName, Shown>> = {
  'row-estimates': {
    statement: 'explain select * from tasks',
    whole: /^explain\b/i,
    mask: withoutFigures,
  },
  'choice-of-plan': {
    statement: "explain (costs off) select * from rules t where t.user_id = '90e55ed0-0000-7000-8000-000000fffff1'",
  },
  'sizes-of-tables': {
    statement: "select reltuples, relpages from pg_class where oid = 'tasks'::regclass",
    item: wholeItem(
      '(?:\\w+\\.)?(?:reltuples|relpages|relallvisible)',
      'pg_(?:relation|table|total_relation|indexes|database)_size\\([^()]*(?:\\(\\))?\\)',
      'pg_size_pretty\\(pg_(?:relation|table|total_relation|indexes|database)_size\\([^()]*\\)\\)',
    ),
    // pg_size_pretty changes the unit with the size.
    mask: (value) => withoutNumbers(value).replace(/^# (?:bytes|[kMG]B)$/, '# bytes'),
  },
  'transaction-numbers': {
    statement: 'select txid_current()',
    item: wholeItem(
      system('xmin|xmax'),
      '(?:txid_current(?:_snapshot)?|pg_current_xact_id|pg_current_snapshot|pg_export_snapshot)\\(\\)',
      'pg_current_wal(?:_insert|_flush)?_lsn\\(\\)',
      'pg_logical_emit_message\\([^()]*\\)',
    ),
    mask: (value) =>
      value
        .replace(/^[0-9A-F]{8}-[0-9A-F]{8}-\d+$/, '#')
        .replace(/^[0-9A-F]+\/[0-9A-F]+$/, '#')
        .replace(/^\d+:\d+:[\d,]*$/, '#')
        .replace(/^\d+$/, '#'),
  },
  'place-on-disk': {
    statement: "insert into labels (id, name) values ('a77ac4e2-0000-7000-8000-00000000ffff', 'x') returning ctid",
    item: wholeItem(system('ctid'), 'currtid2\\([^()]*\\)'),
    mask: (value) => value.replace(/^\(\d+,\d+\)$/, '#'),
  },
  'counters-of-the-cluster': {
    // Not pg_stat_io, which Postgres 15 does not have. Told after the end of a transaction, and not oftener than a second.
    statement: 'select wal_records from pg_stat_wal',
    meanwhile: "select pg_logical_emit_message(false, '', ''), pg_stat_force_next_flush(); commit",
    item: wholeItem('pg_notification_queue_usage\\(\\)'),
    whole: allOf(
      'pg_stat_(?:io|wal|bgwriter|checkpointer|slru|archiver)|pg_statio_\\w+|pg_backend_memory_contexts|pg_shmem_allocations',
    ),
    mask: withoutNumbers,
    cutByValue: true,
  },
  channels: { statement: 'listen c', meanwhile: "notify c, 'x'" },
  'advisory-locks': {
    statement: 'select pg_try_advisory_xact_lock(7)',
    meanwhile: 'select pg_advisory_xact_lock(7)',
  },
  'table-locks': {
    statement: 'lock table rules in access exclusive mode nowait',
    meanwhile: 'lock table rules in access share mode',
  },
};

export const declassified: readonly Declassified[] = declassifications.map(({ name }) => ({ name, ...shown[name] }));

/**
 * What the difference between two answers to one text is explained by, or null. A plan's choice is seen here by the order
 * of rows alone; the rest is found otherwise: see hostile-sql/explain.ts.
 *
 * @param sql as it was sent: one statement or several
 */
export function declassify(sql: string, one: Trace, other: Trace): DeclassifiedName | null {
  const statements = statementsIn(sql);
  const [ones, others] = [answersIn(one), answersIn(other)];
  if (ones.length !== others.length) return null;
  let reason: DeclassifiedName | null = null;
  for (const [i, answer] of ones.entries()) {
    const twin = others[i] ?? [];
    if (same(answer, twin)) continue;
    const found = explained(statements[i], answer, twin);
    if (found === null) return null;
    reason ??= found;
  }
  return reason;
}

function explained(statement: string | undefined, one: Trace, other: Trace): DeclassifiedName | null {
  if (statement === undefined) return null;
  if (same(sorted(one), sorted(other))) return 'choice-of-plan';
  const whole = declassified.find((entry) => entry.whole?.test(statement));
  const columns = itemsOf(statement).map((item) => declassified.find((entry) => entry.item?.test(item)));
  const by = whole ?? columns.find((entry) => entry !== undefined);
  if (by === undefined) return null;
  const masked = (answer: Trace) =>
    answer.map((line) => {
      const values = columnsOf(line);
      if (values === null || (whole === undefined && values.length !== columns.length)) return line;
      return rowOf(values.map((value, i) => (whole ?? columns[i])?.mask?.(value) ?? value));
    });
  const told = (answer: Trace) => sorted(masked(answer)).filter((line) => line !== nothingLeft);
  if (whole?.cutByValue && / order by [\w:.]+ limit \d+$/i.test(statement) && one.length === other.length)
    return by.name;
  return same(told(one), told(other)) ? by.name : null;
}

/** A line of EXPLAIN that is a figure and nothing else: it may be there in one world alone. */
const nothingLeft = rowOf(['']);
