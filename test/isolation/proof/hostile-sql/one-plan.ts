/** Settings under which the planner has next to nothing left to choose by what it knows of the rows. */
import type { Attempt } from './families.ts';
import { statementsIn } from './sql-text.ts';

/** Nothing in parallel, joins in the order in which they are written, pages for nothing, no way of holding rows that hangs on how many. */
const always = {
  seq_page_cost: '0',
  random_page_cost: '0',
  max_parallel_workers_per_gather: '0',
  join_collapse_limit: '1',
  from_collapse_limit: '1',
  plan_cache_mode: 'force_custom_plan',
  enable_hashagg: 'off',
  enable_incremental_sort: 'off',
  enable_material: 'off',
  enable_memoize: 'off',
  enable_bitmapscan: 'off',
} as const;

const ways: readonly Readonly<Record<string, string>>[] = [
  { enable_indexscan: 'off', enable_indexonlyscan: 'off', enable_hashjoin: 'off', enable_mergejoin: 'off' },
  { enable_indexscan: 'off', enable_indexonlyscan: 'off', enable_nestloop: 'off', enable_mergejoin: 'off' },
  { enable_indexscan: 'off', enable_indexonlyscan: 'off', enable_nestloop: 'off', enable_hashjoin: 'off' },
  { enable_seqscan: 'off', enable_indexonlyscan: 'off', enable_hashjoin: 'off', enable_mergejoin: 'off' },
];

/** Each a statement that leaves one way to scan and one to join. */
export const onePlan: readonly string[] = ways.map((way) => {
  const all = Object.entries({ enable_seqscan: 'on', ...always, ...way });
  return `select ${all.map(([name, value]) => `pg_catalog.set_config('${name}', '${value}', false)`).join(', ')}`;
});

export const unforced: string = Object.keys(Object.assign({ enable_seqscan: '' }, always, ...ways))
  .map((name) => `reset ${name}`)
  .join('; ');

/** Before every statement, since those before may have reset it, or ended the transaction. */
export function forced(attempt: Attempt, plan: string): Attempt {
  const statements = attempt.statements.flatMap((statement) =>
    statement.protocol === 'simple'
      ? [
          {
            ...statement,
            sql: statementsIn(statement.sql)
              .flatMap((sql) => [plan, sql])
              .join('; '),
          },
        ]
      : [{ sql: plan, protocol: 'simple' as const }, statement],
  );
  return { ...attempt, statements, ending: 'rollback' };
}
