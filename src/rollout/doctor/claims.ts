/** Cross-user data visible: rows whose owner nobody has named, and rows that point to another owner's. */
import type { ClientBase } from 'pg';
import { type Finding, fail, warn } from '../finding.ts';
import { identifier } from '../identifier.ts';
import type { Subject } from '../monitor/subject.ts';

const quarantine = '00000000-0000-4000-8000-000000000000';

/** Estimated from statistics, so that it costs nothing on a large table. */
export async function checkClaims(client: ClientBase, subject: Subject): Promise<Finding[]> {
  const owned = subject.tables.filter((table) => table.class === 'owned');
  const { rows } = await client.query<{ label: string; owner: string; nullable: boolean; unclaimed: number }>(
    `select w.label, w.owner, not a.attnotnull as nullable,
       coalesce((
         select f.share from pg_stats s, unnest(s.most_common_vals::text::text[], s.most_common_freqs) f (value, share)
         where s.schemaname = n.nspname and s.tablename = c.relname and s.attname = w.owner and f.value = $3 limit 1
       ), 0)::float8 as unclaimed
     from unnest($1::text[], $2::text[]) w (label, owner)
     join pg_class c on c.oid = to_regclass(w.label) join pg_namespace n on n.oid = c.relnamespace
     join pg_attribute a on a.attrelid = c.oid and a.attname = w.owner
     order by 1`,
    [owned.map(({ table }) => table), owned.map(({ ownerColumn }) => ownerColumn), quarantine],
  );
  return rows.flatMap(({ label, owner, nullable, unclaimed }) => [
    ...(nullable
      ? [
          fail(
            'owner-nullable',
            label,
            `${owner} may be null: rows without an owner`,
            `alter table ${label} alter column ${identifier(owner)} set not null`,
          ),
        ]
      : []),
    ...(unclaimed > 0
      ? [
          warn(
            'unclaimed-rows',
            label,
            `about ${(100 * unclaimed).toFixed(1)} % of its rows have no owner and show to nobody`,
            'run `ringfence assign`',
          ),
        ]
      : []),
  ]);
}
