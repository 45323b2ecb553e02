/**
 * Attacks that read: as somebody else, around the policy, or by what an error says. SET ROLE and SET SESSION AUTHORIZATION are
 * not among them: Postgres asks who has logged in, and that is the owner here. Which roles the application can become is in
 * the closure.
 */
import { all, type Form, its, reading, set } from './form.ts';

const becoming: readonly Form[] = [
  ['union all', 'UNION arm that changes who one is'],
  ['except', 'EXCEPT arm that changes who one is'],
].map(([by, attack]) => ({
  attack: attack ?? '',
  switches: true,
  make: reading((t, forged) => [`${all(t)} union all select ${set(forged)} ${by} ${all(t)}`]),
}));

const switching: readonly Form[] = [
  ...becoming,
  {
    attack: 'CTE that changes who one is',
    switches: true,
    make: reading((t, forged) => [
      `with forge as materialized (select ${set(forged)} as done) select a.c from forge cross join lateral (${all(t)}) a where forge.done is not null`,
    ]),
  },
  {
    attack: 'LATERAL join behind the change',
    switches: true,
    make: reading((t, forged) => [
      `select x.c from (select ${set(forged)} as s offset 0) f cross join lateral (select ${t.text}::text as c from ${t.table} where f.s is not null) x`,
    ]),
  },
  {
    attack: 'condition that changes who one is',
    switches: true,
    make: reading((t, forged) => [`${all(t)} where ${set(forged)} is not null or true`]),
  },
  {
    attack: 'identity set, then read',
    switches: true,
    make: reading((t, forged) => [`select ${set(forged)}`, all(t)]),
  },
  {
    attack: 'CTE that changes who one is, and data',
    switches: true,
    empty: true,
    make: (t, forged) =>
      t.updatable === null
        ? null
        : [
            `with forge as materialized (select ${set(forged)} as done) update ${t.table} x set ${t.updatable} = x.${t.updatable} from forge where forge.done is not null and ${t.itsRow}`,
          ],
  },
  {
    attack: 'prepared statement under another identity',
    switches: true,
    make: reading((t, forged) => [
      `prepare hostile as ${all(t)}`,
      'execute hostile',
      `select ${set(forged)}`,
      'execute hostile',
      'deallocate hostile',
    ]),
  },
  {
    attack: 'cursor under another identity',
    switches: true,
    make: reading((t, forged) => [
      `declare hostile cursor for ${all(t)}`,
      `select ${set(forged)}`,
      'fetch all from hostile',
    ]),
  },
  {
    attack: 'DO block under another identity',
    switches: true,
    make: reading((t, forged) => [
      `do $do$ declare r record; begin perform ${set(forged)}; for r in ${all(t)} loop raise notice '%', r; end loop; exception when others then raise notice '% %', sqlstate, sqlerrm; end $do$`,
    ]),
  },
];

const reads: readonly Form[] = [
  { attack: 'read of another user’s row', empty: true, make: reading((t) => [its(t)]) },
  { attack: 'read by owner', empty: true, make: reading((t) => [`${all(t)} where ${t.owner} = ${t.victim}`]) },
  {
    attack: 'read of all rows but one’s own',
    empty: true,
    make: reading((t) => [`${all(t)} where ${t.owner} <> ${t.attacker}`]),
  },
  {
    attack: 'read with a condition that is true',
    make: reading((t) => [`${all(t)} where true or ${t.owner} = ${t.victim}`]),
  },
  { attack: 'read of whole rows', make: reading((t) => [`select to_jsonb(x)::text as c from ${t.table} x`]) },
  {
    attack: 'ONLY and TABLESAMPLE',
    make: reading((t) => [`select x.${t.text}::text as c from only ${t.table} x tablesample system (100)`]),
  },
  {
    attack: 'aggregate over all rows',
    make: reading((t) => [`select string_agg(${t.text}::text, ','), count(*), max(${t.owner}::text) from ${t.table}`]),
  },
  {
    attack: 'window over all rows',
    make: reading((t) => [
      `select lag(${t.text}::text) over (order by ${t.text}::text), count(*) over () from ${t.table}`,
    ]),
  },
  {
    attack: 'self join by owner',
    make: reading((t) => [
      `select a.${t.text}::text as c from ${t.table} a left join ${t.table} b on a.${t.owner} <> b.${t.owner}`,
    ]),
  },
  {
    attack: 'recursive CTE',
    make: reading((t) => [
      `with recursive r as (select 1 as i, (select max(${t.text}::text) from ${t.table}) as c union all select i + 1, (select min(${t.text}::text) from ${t.table}) from r where i < 3) select * from r`,
    ]),
  },
  {
    attack: 'EXISTS over another user’s row',
    make: reading((t) => [`select 1 where exists (select from ${t.table} where ${t.itsRow})`]),
  },
  { attack: 'COPY of another user’s row', empty: true, make: reading((t) => [`copy (${its(t)}) to stdout`]) },
  {
    attack: 'EXPLAIN ANALYZE',
    make: reading((t) => [`explain (analyze, verbose, costs off, timing off, summary off) ${its(t)}`]),
  },
  { attack: 'row security off', make: reading((t) => ['set local row_security = off', all(t)]) },
  { attack: 'search path', make: reading((t) => ["set local search_path = 'pg_temp', 'ringfence', 'public'", all(t)]) },
  { attack: 'triggers off', make: reading((t) => ["set local session_replication_role = 'replica'", all(t)]) },
  { attack: 'row lock', empty: true, make: reading((t) => [`${its(t)} for update skip locked`]) },
  {
    attack: 'hidden columns',
    make: reading((t) => [`select ctid::text, xmin::text, tableoid::regclass::text from ${t.table} where ${t.itsRow}`]),
  },
];

/** Functions that complain with the value in the message, in the hope that they see rows before the policy does. */
const leaks: readonly Form[] = [
  ['cast', (c: string) => `(${c})::int`],
  ['cast', (c: string) => `(${c})::uuid`],
  ['cast', (c: string) => `(${c})::jsonb`],
  ['cast', (c: string) => `(${c})::regclass`],
  ['cast', (c: string) => `(${c})::timestamptz`],
  ['division', (c: string) => `1 / (length(${c}) - length(${c}))`],
  ['set_config of the value', (c: string) => `set_config('hostile.leak', ${c}, true)`],
  ['current_setting of the value', (c: string) => `current_setting(${c})`],
  ['regular expression of the value', (c: string) => `regexp_match(${c}, '(' || ${c})`],
  ['decode of the value', (c: string) => `decode(${c}, 'hex')`],
].map(([how, expression]): Form => {
  const leak = expression as (column: string) => string;
  return {
    attack: `leaky function: ${String(how)}`,
    make: reading((t) => [
      `select count(*) from ${t.table} where ${leak(`${t.text}::text`)} is not null and ${t.itsRow}`,
    ]),
  };
});

export const readingForms: readonly Form[] = [...switching, ...reads, ...leaks];
