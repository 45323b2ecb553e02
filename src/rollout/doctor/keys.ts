/** SQLSTATE 42P10 and 23503: keys carry the owner now, so ON CONFLICT and references have to name it. */
import type { ClientBase } from 'pg';
import { type Finding, fail, warn } from '../finding.ts';
import { identifier } from '../identifier.ts';
import type { Subject } from '../monitor/subject.ts';

/** The check that says how keys are, of which nothing is wrong. */
export const keysWithOwner = 'keys-with-owner';

interface KeyRow {
  label: string;
  columns: string;
  full: string;
}

/** Unique keys that begin with the owner and have no twin without it. */
const query = `
with keys as (
  select w.label, w.owner, i.indisvalid, array(
    select a.attname::text from unnest(i.indkey::int2[]) with ordinality k (number, place)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number where k.place <= i.indnkeyatts order by k.place
  ) as columns
  from unnest($1::text[], $2::text[]) w (label, owner)
  join pg_index i on i.indrelid = to_regclass(w.label) and i.indisunique and i.indpred is null and i.indexprs is null
)
select distinct k.label, array_to_string(k.columns[2:], ', ') as columns, array_to_string(k.columns, ', ') as full
from keys k
where k.columns[1] = k.owner and cardinality(k.columns) > 1
  and not exists (select from keys o where o.label = k.label and o.columns = k.columns[2:])
order by 1, 2`;

const unvalidated = `
select conrelid::regclass::text as label, conname::text as name
from pg_constraint
where contype = 'f' and not convalidated and conrelid in (select to_regclass(label) from unnest($1::text[]) w (label))
order by 1, 2`;

export async function checkKeys(client: ClientBase, subject: Subject): Promise<Finding[]> {
  const owned = subject.tables.filter((table) => table.class === 'owned');
  const labels = owned.map(({ table }) => table);
  const keys = await client.query<KeyRow>(query, [labels, owned.map(({ ownerColumn }) => ownerColumn)]);
  const open = await client.query<{ label: string; name: string }>(unvalidated, [labels]);
  return [
    ...keys.rows.map(({ label, columns, full }) =>
      warn(
        keysWithOwner,
        label,
        `ON CONFLICT (${columns}) ends with 42P10: the key is (${full})`,
        'name the owner in ON CONFLICT, or the constraint by its name (on conflict on constraint …)',
      ),
    ),
    ...open.rows.map(({ label, name }) =>
      fail(
        'reference-not-validated',
        label,
        `${name} was never validated`,
        `alter table ${label} validate constraint ${identifier(name)}`,
      ),
    ),
  ];
}
