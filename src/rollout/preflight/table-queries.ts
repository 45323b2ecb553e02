/** $1: oids of tables. ev_type 2 is UPDATE, 3 is INSERT. */
export const writeRules = `
select r.ev_class as oid, r.rulename::text as name,
  case r.ev_type when '2' then 'UPDATE' else 'INSERT' end as event
from pg_rewrite r
where r.ev_class = any ($1::oid[]) and r.ev_type in ('2', '3') and r.ev_enabled <> 'D'
order by 1, 2`;
