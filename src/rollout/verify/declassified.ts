/**
 * What whoever runs SQL of his own as the application's role can learn of others all the same, because stock Postgres shows
 * it to every role. Where no column has statistics, as on our own server, nothing here shows a row's content. `verify --deep`
 * prints it; the proof shows each entry to be so and takes any other difference for a fault
 * (test/isolation/proof/declassified.ts).
 */

export interface Declassified {
  /** For counting: kebab-case. */
  readonly name: string;
  readonly learnt: string;
  readonly why: string;
  /** What anybody can do about it. */
  readonly reduce: string;
  /** What our own server does about it. */
  readonly here?: string;
}

export const declassifications = [
  {
    name: 'row-estimates',
    learnt:
      'About how many rows a table has: in EXPLAIN, and in “Rows Removed by Filter” of EXPLAIN ANALYZE. Where columns have statistics, also the values of every column that the role may select, by halving: the planner reckons with them.',
    why: 'EXPLAIN needs no privilege of its own, and the planner’s statistics are of all rows, whatever the policy.',
    reduce:
      '`alter table … alter column … set statistics 0` for every column, likewise for indexes of expressions, and take away what was kept before: `pg_clear_attribute_stats()` from Postgres 18 on, before it a superuser’s `delete from pg_statistic`. The plans then know of a table only how large it is.',
    here: 'No column with rows of users gets statistics. What was kept before goes with the migration; before Postgres 18 that takes a superuser.',
  },
  {
    name: 'choice-of-plan',
    learnt:
      'Which of two plans was chosen, by the order of rows without ORDER BY, by which of two faults comes first, by whether an expression that the plan may skip is evaluated, and by time.',
    why: 'The same sizes and statistics, by another way. It cannot be revoked.',
    reduce: 'An ORDER BY that is total, no expression that can fail, and generic plans (`plan_cache_mode`).',
    here: 'The server’s statements are like that.',
  },
  {
    name: 'sizes-of-tables',
    learnt:
      'About how many rows and pages a table has: `pg_class.reltuples`, `relpages`, `relallvisible`, and the functions that tell sizes (`pg_relation_size()`, `pg_database_size()`).',
    why: 'Every role reads pg_class, and drivers and tools need it. Taking the columns away would gain nothing while EXPLAIN tells the same.',
    reduce:
      'They change at VACUUM and ANALYZE alone. An operator can take the functions of sizes and counters from PUBLIC, where no ordinary owner runs the rollout.',
    here: 'The counters of rows written and read are out of reach: provisioning takes `pg_stat_get_…` from PUBLIC, where the owner is a superuser.',
  },
  {
    name: 'transaction-numbers',
    learnt:
      'How many transactions the cluster has begun between two looks, and how much it has written: the numbers in `xmin`, `xmax`, `txid_current()`, `pg_current_snapshot()`, and positions in the log (`pg_current_wal_lsn()`).',
    why: 'The counters are the cluster’s. Every row carries one of them, so taking the functions away would gain nothing.',
    reduce: 'A cluster of its own for each body of users that must not see the others’ pace.',
  },
  {
    name: 'place-on-disk',
    learnt: 'Where one’s own rows lie among all rows of the table (`ctid`), so roughly how many lie before a new one.',
    why: 'A table’s pages are shared by all users. The column cannot be taken away.',
    reduce: 'One partition, or one shard, a user.',
  },
  {
    name: 'counters-of-the-cluster',
    learnt:
      'How much the whole cluster reads, writes and checkpoints: `pg_stat_io`, `pg_stat_wal`, `pg_stat_bgwriter`, `pg_stat_slru`.',
    why: 'They count for all databases together. They could be taken from PUBLIC; some come and go between versions, and pg_upgrade stops at a privilege on a function that is gone.',
    reduce: '`revoke execute on function pg_stat_get_io() from public`, and likewise; give it back before an upgrade.',
  },
  {
    name: 'channels',
    learnt: 'That somebody notifies a channel, and what: any role may LISTEN to any channel of the database.',
    why: 'LISTEN and NOTIFY have no privileges.',
    reduce: 'Put no data into a notification.',
    here: 'The server sends none.',
  },
  {
    name: 'advisory-locks',
    learnt:
      'That a given user is changing something at this moment: his lock cannot be taken. Taking it first makes him wait.',
    why: 'Advisory locks have no privileges, and an application may need the function.',
    reduce: 'A key that is a hash; `lock_timeout` ends the wait. Whole statements of one’s own are needed to hold it.',
    here: 'The key is a hash, and the role has a lock_timeout.',
  },
  {
    name: 'table-locks',
    learnt: 'That somebody is working on a table: LOCK TABLE … NOWAIT fails. Taking the lock makes everybody wait.',
    why: 'Whoever may delete rows may lock the table, and the policies do not look at it.',
    reduce: '`lock_timeout` and `idle_in_transaction_session_timeout` of the role end the wait.',
    here: 'The role has both.',
  },
] as const satisfies readonly Declassified[];

export type DeclassifiedName = (typeof declassifications)[number]['name'];
