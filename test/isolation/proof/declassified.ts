/**
 * How each entry of the declassification list (src/rollout/verify/declassified.ts) is shown to be so, and which differences
 * between twin worlds it explains. A difference that none of them explains is a fault.
 */
import { type DeclassifiedName, declassifications } from '../../../src/rollout/verify/declassified.ts';

interface Shown {
  /** Shows it: run as the application's role with an identity of one's own. */
  readonly statement: string;
  /** What somebody else does meanwhile, where one session alone sees nothing. Run by the owner, in an open transaction. */
  readonly meanwhile?: string;
  /** Which statements it explains a difference of; without it, none. */
  readonly where?: RegExp;
  /** A line of a trace without what is declassified: the rest must still be the same in both worlds. */
  readonly mask?: (line: string) => string;
}

export interface Declassified extends Shown {
  readonly name: DeclassifiedName;
}

const withoutNumbers = (line: string) => line.replace(/-?\d+(?:\.\d+)?(?:e[+-]?\d+)?/g, '#');

const shown: Readonly<Record<DeclassifiedName, Shown>> = {
  'row-estimates': {
    statement: 'explain select * from tasks',
    where: /^explain\b/i,
    mask: (line) =>
      withoutNumbers(line)
        .replace(/[ =]+/g, ' ')
        .replace(/Rows Removed by .*|Buffers: .*|Planning.*|WAL: .*|Memory: .*|Heap Fetches: .*/, ''),
  },
  'choice-of-plan': {
    statement: "explain (costs off) select * from rules t where t.user_id = '90e55ed0-0000-7000-8000-000000fffff1'",
  },
  'sizes-of-tables': {
    statement: "select reltuples, relpages from pg_class where oid = 'tasks'::regclass",
    where: /reltuples|relpages|relallvisible|pg_class|_size\(/,
    // pg_size_pretty changes the unit with the size.
    mask: (line) => withoutNumbers(line).replace(/# (?:bytes|[kMG]B)/g, '# bytes'),
  },
  'transaction-numbers': {
    statement: 'select txid_current()',
    where: /xmin|xmax|txid|snapshot|xact|xid|wal|emit_message|lsn|restore_point/i,
    mask: (line) =>
      withoutNumbers(line.replace(/\b[0-9A-F]{8}-[0-9A-F]{8}-\d+\b/g, '#'))
        .replace(/[0-9A-F]+\/[0-9A-F]+/g, '#')
        .replace(/#[A-F#]*\/[A-F#]+/g, '#')
        .replace(/#:#:[#,]*/g, '#'),
  },
  'place-on-disk': {
    statement: "insert into labels (id, name) values ('a77ac4e2-0000-7000-8000-00000000ffff', 'x') returning ctid",
    where: /ctid|tablesample|currtid|::tid/i,
    mask: (line) => withoutNumbers(line),
  },
  'counters-of-the-cluster': {
    // Not pg_stat_io, which Postgres 15 does not have. Told after the end of a transaction, and not oftener than a second.
    statement: 'select wal_records from pg_stat_wal',
    meanwhile: "select pg_logical_emit_message(false, '', ''), pg_stat_force_next_flush(); commit",
    where: /pg_stat_(io|wal|bgwriter|checkpointer|slru|archiver|recovery)|pg_statio|memory|notification_queue/,
    mask: withoutNumbers,
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

/** What a difference is explained by, or null. The plan's choice is found otherwise: see hostile-sql/explain.ts. */
export function declassify(sql: string, one: readonly string[], other: readonly string[]): string | null {
  for (const { name, where, mask } of declassified) {
    if (!where?.test(sql) || mask === undefined) continue;
    const [masked, others] = [one.map(mask).filter(Boolean), other.map(mask).filter(Boolean)];
    if (masked.length === others.length && masked.every((line, i) => line === others[i])) return name;
  }
  return null;
}
