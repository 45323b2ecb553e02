/** Attacks that write, define, run other statements, or ask whether a row is there. */
import { all, type ExistenceForm, type Form, reading, set, text } from './form.ts';

const runners: readonly Form[] = [
  {
    attack: 'function that runs a statement',
    make: reading((t) => [`select query_to_xml(${text(all(t))}, true, false, '')`]),
  },
  {
    attack: 'function that runs a statement',
    make: reading((t) => [`select table_to_xml(${text(t.table)}, true, false, '')`]),
  },
  {
    attack: 'function that runs a statement',
    make: reading((t) => [`select * from ts_stat(${text(`select to_tsvector(c) from (${all(t)}) q`)})`]),
  },
  {
    attack: 'DO block',
    make: reading((t) => [
      `do $do$ begin raise notice '%', (select string_agg(${t.text}::text, ',') from ${t.table}); end $do$`,
    ]),
  },
  {
    attack: 'statistics of columns',
    make: (t) => [
      `select most_common_vals::text, histogram_bounds::text from pg_stats where schemaname || '.' || tablename = replace(${text(t.table)}, '"', '')`,
    ],
  },
  { attack: 'keys of the identity', empty: true, make: () => ['select * from ringfence.identity_keys'] },
  { attack: 'files of the server', make: () => ["select pg_read_file('PG_VERSION')"] },
  {
    attack: 'shadow of the keys',
    make: reading((t) => [
      "create temp table identity_keys as select 'x'::text as key_id, ''::bytea as inner_pad, ''::bytea as outer_pad",
      'set local search_path = pg_temp, ringfence, public',
      all(t),
    ]),
  },
  {
    attack: 'shadow of a function',
    make: reading((t) => ["create function pg_temp.sha256(bytea) returns bytea language sql as 'select $1'", all(t)]),
  },
];

const writes: readonly Form[] = [
  {
    attack: 'update of another user’s row',
    empty: true,
    make: (t) =>
      t.updatable === null ? null : [`update ${t.table} set ${t.updatable} = ${t.updatable} where ${t.itsRow}`],
  },
  {
    attack: 'update without a condition',
    sweeping: true,
    make: (t) => (t.updatable === null ? null : [`update ${t.table} set ${t.updatable} = ${t.updatable}`]),
  },
  { attack: 'row given away', make: (t) => [`update ${t.table} set ${t.owner} = ${t.victim} where ${t.ownRow}`] },
  {
    attack: 'row taken',
    empty: true,
    make: (t) => [`update ${t.table} set ${t.owner} = ${t.attacker} where ${t.itsRow}`],
  },
  {
    attack: 'delete of another user’s row',
    empty: true,
    make: (t) => (t.mayDelete ? [`delete from ${t.table} where ${t.itsRow}`] : null),
  },
  { attack: 'delete without a condition', make: (t) => (t.mayDelete ? [`delete from ${t.table}`] : null) },
  {
    attack: 'insert in another user’s name',
    make: (t) =>
      t.mayInsert ? [`insert into ${t.table} (${t.columns}) overriding system value values (${t.inHisName})`] : null,
  },
  {
    attack: 'ON CONFLICT over another user’s row',
    make: (t) =>
      t.mayInsert && t.key !== null
        ? [
            `insert into ${t.table} (${t.columns}) overriding system value values (${t.itsCopy}) on conflict do nothing returning ${t.text}::text`,
          ]
        : null,
  },
  {
    attack: 'ON CONFLICT DO UPDATE over another user’s row',
    make: (t) =>
      t.mayInsert && t.key !== null && t.updatable !== null
        ? [
            `insert into ${t.table} as n (${t.columns}) overriding system value values (${t.inHisName}) on conflict (${t.key}) do update set ${t.updatable} = n.${t.updatable} returning n.${t.text}::text`,
          ]
        : null,
  },
  {
    attack: 'MERGE over all rows',
    sweeping: true,
    make: (t) =>
      t.updatable !== null && t.mayRead
        ? [
            `merge into ${t.table} n using (select 1) s on true when matched then update set ${t.updatable} = n.${t.updatable}`,
          ]
        : null,
  },
  {
    attack: 'DO block that writes',
    make: (t) => (t.mayDelete ? [`do $do$ begin delete from ${t.table} where ${t.itsRow}; end $do$`] : null),
  },
  { attack: 'policy taken off', make: (t) => [`alter table ${t.table} disable row level security`] },
  { attack: 'grant to everybody', make: (t) => [`grant select on ${t.table} to public`] },
];

export const otherForms: readonly Form[] = [...runners, ...writes];

export const existenceForms: readonly ExistenceForm[] = [
  {
    attack: 'existence by reading',
    make: (t, row) => (t.mayRead ? [`select count(*) from ${t.table} where ${row}`] : null),
  },
  {
    attack: 'existence by halving under a spoilt identity',
    make: (t, row) =>
      t.mayRead ? [`select ${set("'x'")} union all select max(${t.text}::text) from ${t.table} where ${row}`] : null,
  },
  {
    attack: 'existence by a fault',
    make: (t, row) =>
      t.mayRead ? [`select 1 / (count(*) - 0) from ${t.table} where ${row} and ${t.owner} <> ${t.attacker}`] : null,
  },
  { attack: 'existence by deleting', make: (t, row) => (t.mayDelete ? [`delete from ${t.table} where ${row}`] : null) },
  {
    attack: 'existence by locking',
    make: (t, row) => (t.mayRead ? [`select from ${t.table} where ${row} for update nowait`] : null),
  },
  {
    attack: 'existence by a key of one’s own',
    make: (t, _, values) =>
      t.mayInsert && t.isOwned
        ? [`insert into ${t.table} (${t.columns}) overriding system value values (${values})`]
        : null,
  },
  {
    attack: 'existence by ON CONFLICT',
    make: (t, _, values) =>
      t.mayInsert && t.isOwned && t.key !== null
        ? [`insert into ${t.table} (${t.columns}) overriding system value values (${values}) on conflict do nothing`]
        : null,
  },
];
