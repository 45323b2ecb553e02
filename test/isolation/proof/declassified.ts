/**
 * What whoever runs SQL of his own as the application's role can learn of others all the same, because stock Postgres shows
 * it to every role. Nothing here shows a row's content. A difference between twin worlds that none of these explains is a
 * fault; the section of docs/security.md is made from this list.
 */

export interface Declassified {
  /** For counting: kebab-case. */
  readonly name: string;
  readonly learnt: string;
  readonly why: string;
  readonly reduce: string;
  /** Shows it: run as the application's role with an identity of one's own. */
  readonly statement: string;
  /** What somebody else does meanwhile, where one session alone sees nothing. Run by the owner, in an open transaction. */
  readonly meanwhile?: string;
  /** Which statements it explains a difference of; without it, none. */
  readonly where?: RegExp;
  /** A line of a trace without what is declassified: the rest must still be the same in both worlds. */
  readonly mask?: (line: string) => string;
}

const withoutNumbers = (line: string) => line.replace(/-?\d+(?:\.\d+)?(?:e[+-]?\d+)?/g, '#');

export const declassified: readonly Declassified[] = [
  {
    name: 'row-estimates',
    learnt:
      'About how many rows a table has, and about how many of them have a given common value, for instance an owner: in EXPLAIN, and in “Rows Removed by Filter” of EXPLAIN ANALYZE.',
    why: 'EXPLAIN needs no privilege of its own, and the planner’s statistics are of all rows, whatever the policy.',
    reduce:
      'Every list leads with the owner, so the server’s own plans filter few rows. `alter table … alter column … set statistics 0` takes the common values away, at the price of worse plans.',
    statement: 'explain select * from tasks',
    where: /^explain\b/i,
    mask: (line) =>
      withoutNumbers(line)
        .replace(/[ =]+/g, ' ')
        .replace(/Rows Removed by .*|Buffers: .*|Planning.*|WAL: .*|Memory: .*|Heap Fetches: .*/, ''),
  },
  {
    name: 'choice-of-plan',
    learnt:
      'Which of two plans was chosen, by the order of rows without ORDER BY, by which of two faults comes first, by whether an expression that the plan may skip is evaluated, and by time.',
    why: 'The same statistics, by another way. It cannot be revoked.',
    reduce:
      'The server’s lists have an ORDER BY that is total, its statements hold no expression that can fail, and generic plans make the choice the same for every user.',
    statement: "explain (costs off) select * from rules t where t.user_id = '90e55ed0-0000-7000-8000-000000fffff1'",
  },
  {
    name: 'sizes-of-tables',
    learnt:
      'About how many rows and pages a table has: `pg_class.reltuples`, `relpages`, `relallvisible`, and the functions that tell sizes (`pg_relation_size()`, `pg_database_size()`).',
    why: 'Every role reads pg_class, and drivers and tools need it. Taking the columns away would gain nothing while EXPLAIN tells the same.',
    reduce:
      'They change at VACUUM and ANALYZE alone. The counters of rows written and read are out of reach (provisioning takes `pg_stat_get_…` from PUBLIC). An operator can take the functions of sizes as well, where no ordinary owner runs the rollout.',
    statement: "select reltuples, relpages from pg_class where oid = 'tasks'::regclass",
    where: /reltuples|relpages|relallvisible|pg_class|_size\(/,
    mask: withoutNumbers,
  },
  {
    name: 'transaction-numbers',
    learnt:
      'How many transactions the cluster has begun between two looks, and how much it has written: the numbers in `xmin`, `xmax`, `txid_current()`, `pg_current_snapshot()`, and positions in the log (`pg_current_wal_lsn()`).',
    why: 'The counters are the cluster’s. Every row carries one of them, so taking the functions away would gain nothing.',
    reduce: 'A cluster of its own for each body of users that must not see the others’ pace.',
    statement: 'select txid_current()',
    where: /xmin|xmax|txid|snapshot|xact|xid|wal|emit_message|lsn|restore_point/i,
    mask: (line) =>
      withoutNumbers(line.replace(/\b[0-9A-F]{8}-[0-9A-F]{8}-\d+\b/g, '#'))
        .replace(/[0-9A-F]+\/[0-9A-F]+/g, '#')
        .replace(/#[A-F#]*\/[A-F#]+/g, '#')
        .replace(/#:#:[#,]*/g, '#'),
  },
  {
    name: 'place-on-disk',
    learnt: 'Where one’s own rows lie among all rows of the table (`ctid`), so roughly how many lie before a new one.',
    why: 'A table’s pages are shared by all users. The column cannot be taken away.',
    reduce: 'One partition, or one shard, a user.',
    statement: "insert into labels (id, name) values ('a77ac4e2-0000-7000-8000-00000000ffff', 'x') returning ctid",
    where: /ctid|tablesample|currtid|::tid/i,
    mask: (line) => withoutNumbers(line),
  },
  {
    name: 'counters-of-the-cluster',
    learnt:
      'How much the whole cluster reads, writes and checkpoints: `pg_stat_io`, `pg_stat_wal`, `pg_stat_bgwriter`, `pg_stat_slru`.',
    why: 'They count for all databases together. They could be taken from PUBLIC; some come and go between versions, and pg_upgrade stops at a privilege on a function that is gone.',
    reduce: '`revoke execute on function pg_stat_get_io() from public`, and likewise; give it back before an upgrade.',
    statement: 'select sum(reads) + sum(hits) from pg_stat_io',
    where: /pg_stat_(io|wal|bgwriter|checkpointer|slru|archiver|recovery)|pg_statio|memory|notification_queue/,
    mask: withoutNumbers,
  },
  {
    name: 'channels',
    learnt: 'That somebody notifies a channel, and what: any role may LISTEN to any channel of the database.',
    why: 'LISTEN and NOTIFY have no privileges.',
    reduce: 'The server sends no notification. Whoever adds one must put no data in it.',
    statement: 'listen c',
    meanwhile: "notify c, 'x'",
  },
  {
    name: 'advisory-locks',
    learnt:
      'That a given user is changing something at this moment: his lock cannot be taken. Taking it first makes him wait.',
    why: 'Advisory locks have no privileges, and the server needs the function.',
    reduce: 'The key is a hash, and lock_timeout ends the wait; whole statements of one’s own are needed to hold it.',
    statement: 'select pg_try_advisory_xact_lock(7)',
    meanwhile: 'select pg_advisory_xact_lock(7)',
  },
  {
    name: 'table-locks',
    learnt: 'That somebody is working on a table: LOCK TABLE … NOWAIT fails. Taking the lock makes everybody wait.',
    why: 'Whoever may delete rows may lock the table, and the policies do not look at it.',
    reduce: 'lock_timeout and idle_in_transaction_session_timeout of the role end the wait.',
    statement: 'lock table rules in access exclusive mode nowait',
    meanwhile: 'lock table rules in access share mode',
  },
];

/** What a difference is explained by, or null. The plan's choice is found otherwise: see hostile-sql/explain.ts. */
export function declassify(sql: string, one: readonly string[], other: readonly string[]): string | null {
  for (const { name, where, mask } of declassified) {
    if (!where?.test(sql) || mask === undefined) continue;
    const [masked, others] = [one.map(mask).filter(Boolean), other.map(mask).filter(Boolean)];
    if (masked.length === others.length && masked.every((line, i) => line === others[i])) return name;
  }
  return null;
}
