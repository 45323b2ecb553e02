/**
 * The planner's statistics are values of everybody's rows, and what it reckons with them is answered to everybody
 * (`row-estimates` in declassified.ts). Whether to do without is for who runs the database to say: plans get worse.
 */
import { type Finding, warn } from '../finding.ts';
import { type Check, type Context, counted } from './check.ts';

export const statisticsCheck: Check = {
  name: 'statistics',
  since: 'seal',
  holds: () => 'the planner keeps no values of rows that EXPLAIN could show',
  run: withStatistics,
};

/** Columns, and expressions of indexes, of which ANALYZE keeps values or has kept some. */
async function withStatistics({ client, guarded }: Context): Promise<Finding[]> {
  const { rows } = await client.query<{ columns: number; example: string; hidden: string | null }>(
    `select
      count(*) filter (where a.attstattarget is distinct from 0 or s.attname is not null)::int as columns,
      min(c.oid::regclass || '.' || a.attname)
        filter (where a.attstattarget is distinct from 0 or s.attname is not null) as example,
      -- pg_stats has nothing of a table whose policies bind who asks.
      min(t.oid::regclass::text) filter (where row_security_active(t.oid)) as hidden
    from unnest($1::text[]) label
    join pg_class t on t.oid = to_regclass(label)
    left join pg_index i on i.indrelid = t.oid and i.indexprs is not null
    join pg_class c on c.oid in (t.oid, i.indexrelid)
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_stats s on s.schemaname = n.nspname and s.tablename = c.relname and s.attname = a.attname`,
    [guarded.map(({ label }) => label)],
  );
  const { columns = 0, example = '', hidden = null } = rows[0] ?? {};
  if (columns > 0) {
    return [
      warn(
        'statistics',
        undefined,
        `The planner keeps values of ${counted(columns, 'column')} (${example}, …): who can send EXPLAIN as the application's role finds them out by halving, whoever's they are.`,
        'Live with it, or do without them: `alter table … alter column … set statistics 0`, and take away what is kept (docs/security.md, row-estimates).',
      ),
    ];
  }
  if (hidden === null) return [];
  return [
    warn(
      'statistics',
      undefined,
      `ANALYZE keeps no more values, but whether it has kept some before cannot be seen by this role (${hidden}, …).`,
      'Run `ringfence verify` as a superuser once.',
    ),
  ];
}
