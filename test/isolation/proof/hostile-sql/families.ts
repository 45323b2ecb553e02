/** The kinds of attack, each a way to put the grammar's parts together. See the catalogue of attacks in docs/security.md. */
import { Chance } from './chance.ts';
import { Grammar } from './grammar.ts';
import {
  forgedKeyRow,
  quoted,
  signedByForgedKey,
  switchCall,
  switchStatement,
  type TableWords,
  userOf,
  type Words,
} from './vocabulary.ts';
import type { Sent } from './wire.ts';
import { guessedUsers } from './worlds.ts';

export interface Attempt {
  readonly number: number;
  readonly family: string;
  readonly statements: readonly Sent[];
  readonly ending: 'commit' | 'rollback';
}

interface Family {
  readonly name: string;
  /** How often, beside the others. */
  readonly weight: number;
  /** One statement or several; an array is sent one by one, a text of several statements at once. */
  make(grammar: Grammar): string | readonly string[];
  /** Ends in COMMIT, so that what hangs on it (notifications, cursors held open, settings) happens. */
  readonly commits?: true;
}

const pick = <T>(grammar: Grammar, of: readonly T[]): T => grammar.chance.pick(of);

const families: readonly Family[] = [
  { name: 'select', weight: 20, make: (g) => g.select() },
  {
    name: 'set operation with a switch',
    weight: 12,
    make: (g) => {
      const by = () => pick(g, ['union all', 'union', 'intersect', 'except', 'union all', 'union all']);
      const arm = () =>
        g.chance.once(3) ? `(${g.select(1)})` : `(select ${pick(g, ['c', 'c || c'])} from (${g.select(1)}) a)`;
      return `${arm()} ${by()} select ${switchCall(g.chance)} ${by()} ${arm()}`;
    },
  },
  {
    name: 'CTE',
    weight: 9,
    make: (g) => {
      const forge = `forge as ${pick(g, ['materialized', 'not materialized', ''])} (select ${switchCall(g.chance)} as done)`;
      const inner = g.select(1);
      return pick(g, [
        `with ${forge} select a.c from forge cross join lateral (${inner}) a where forge.done is not null`,
        `with ${forge}, a as materialized (${inner}) select a.c from a, forge`,
        `with recursive r as (select 1 as i, (${g.scalar(2)}) as c union all select i + 1, c from r where i < 3) select * from r`,
        `with ${forge} ${g.select(1)}`,
      ]);
    },
  },
  {
    name: 'CTE that changes data',
    weight: 6,
    make: (g) => {
      const table = g.table();
      const changes = pick(g, [
        `update ${table.name} x set ${g.assignment(table)} where ${g.truth(table, 'x', 2)} returning x::text as c`,
        `delete from ${table.name} x where ${g.truth(table, 'x', 2)} returning x::text as c`,
      ]);
      return `with forge as materialized (select ${switchCall(g.chance)} as done), changed as (${changes}) ${pick(g, ['select c from changed', `select count(*) from changed, forge`, g.select(2)])}`;
    },
  },
  { name: 'insert', weight: 8, make: (g) => g.insert() },
  { name: 'update', weight: 5, make: (g) => g.update() },
  { name: 'delete', weight: 4, make: (g) => g.remove() },
  { name: 'merge', weight: 4, make: (g) => g.merge() },
  { name: 'change, committed', weight: 1, commits: true, make: (g) => g.change() },
  {
    name: 'switch, then read',
    weight: 7,
    make: (g) => pick(g, [[switchStatement(g.chance), g.select(1)], `${switchStatement(g.chance)}; ${g.select(1)}`]),
  },
  {
    name: 'switch, then change',
    weight: 4,
    make: (g) => pick(g, [[switchStatement(g.chance), g.change()], `${switchStatement(g.chance)}; ${g.change()}`]),
  },
  {
    name: 'transaction ended by hand',
    weight: 3,
    make: (g) =>
      `${pick(g, ['commit', 'rollback', 'commit and chain', 'rollback; begin', 'end', 'abort'])}; ${pick(g, [switchStatement(g.chance), `select ${switchCall(g.chance)}`])}; ${g.select(1)}`,
  },
  {
    name: 'shadow',
    weight: 4,
    make: (g) => [pick(g, shadows)(g), g.select(1)],
  },
  {
    name: 'identity signed with a key of one’s own',
    weight: 3,
    make: (g) => [
      pick(g, [
        `create temp table identity_keys as select ${forgedKeyRow}`,
        `create table public.identity_keys as select ${forgedKeyRow}`,
        `insert into ringfence.identity_keys select ${forgedKeyRow}`,
      ]),
      `select set_config('ringfence.identity', '${signedByForgedKey(pick(g, guessedUsers))}', true)`,
      g.select(1),
    ],
  },
  {
    name: 'what else is in reach',
    weight: 5,
    make: (g) => {
      const found = pick(g, g.further);
      return pick(g, [
        found,
        `${found} union all select ${switchCall(g.chance)} union all ${g.further[0]}`,
        `select count(*), max(c) from (${found}) x`,
      ]);
    },
  },
  { name: 'definition', weight: 4, make: (g) => pick(g, definitions)(g.table(), g) },
  {
    name: 'cursor',
    weight: 3,
    make: (g) => {
      const hold = pick(g, ['', 'with hold ', 'without hold ']);
      const statements = [
        `declare k ${pick(g, ['', 'scroll ', 'binary ', 'insensitive '])}cursor ${hold}for ${g.select(1)}`,
        pick(g, [`select ${switchCall(g.chance)}`, switchStatement(g.chance), 'select 1']),
        pick(g, ['fetch all from k', 'fetch backward 2 from k', 'move forward 1 in k', 'fetch absolute 2 from k']),
      ];
      return g.chance.once(4)
        ? [...statements, `update ${g.table().name} set version = 2 where current of k`]
        : statements;
    },
  },
  {
    name: 'cursor held over the end',
    weight: 1,
    commits: true,
    make: (g) => [`declare kept cursor with hold for ${g.select(1)}`],
  },
  {
    name: 'copy',
    weight: 4,
    make: (g) => {
      const table = g.table();
      const source = pick(g, [table.name, `(${g.select(1)})`, `(${g.update()})`, `${table.name} (id)`]);
      const format = pick(g, [
        '',
        ' with (format csv, header)',
        ' with (format binary)',
        ` with (format text, delimiter '|')`,
      ]);
      return pick(g, [
        `copy ${source} to stdout${format}`,
        `copy ${table.name} from stdin${format}`,
        `copy ${source} to ${pick(g, [`'/tmp/x'`, `program 'cat'`, `'/etc/passwd'`])}`,
        `copy ${table.name} from ${pick(g, [`'/etc/passwd'`, `program 'id'`])}`,
        `copy ringfence.identity_keys to stdout`,
      ]);
    },
  },
  {
    name: 'explain',
    weight: 3,
    make: (g) =>
      `explain (${pick(g, ['analyze', 'verbose', 'analyze, verbose', 'analyze, buffers', 'costs off', 'analyze, costs off, timing off, summary off, buffers off', 'generic_plan', 'format json', 'settings', 'wal, analyze', 'memory'])}) ${pick(g, [() => g.select(1), () => g.change()])()}`,
  },
  {
    name: 'do block',
    weight: 4,
    make: (g) => {
      const query = g.scalar(1);
      const body = pick(g, [
        `begin raise notice '%', (${query}); end`,
        `begin raise exception '%', (${query}) using detail = 'x'; exception when others then raise notice '% %', sqlstate, sqlerrm; end`,
        `declare r record; begin for r in ${g.select(1)} loop raise warning '%', r; end loop; end`,
        `begin execute ${quoted(g.select(1))}; perform ${switchCall(g.chance)}; raise notice '%', (${query}); end`,
        `declare n bigint; begin execute ${quoted(g.change())}; get diagnostics n = row_count; raise notice '%', n; end`,
        `begin perform ${switchCall(g.chance)}; begin perform ${switchCall(g.chance)}; exception when others then null; end; raise info '%', (${query}); end`,
        `begin set local role none; reset role; raise notice '%', (${query}); end`,
      ]);
      return `do $do$${body}$do$`;
    },
  },
  {
    name: 'leaky condition',
    weight: 8,
    make: (g) => {
      const table = g.table();
      return `select count(*) from ${table.name} t where ${pick(g, [
        `(${g.leak(table, 't')}) is not null`,
        `(${g.leak(table, 't')})::text > '' and ${g.truth(table, 't', 2)}`,
        `case when ${g.truth(table, 't', 2)} then (${g.leak(table, 't')}) is null else true end`,
      ])}`;
    },
  },
  {
    name: 'lock',
    weight: 3,
    make: (g) => {
      const table = g.table();
      return pick(g, [
        `select id from ${table.name} t where ${g.truth(table, 't', 2)} order by id for ${pick(g, ['update', 'share', 'no key update', 'key share'])} ${pick(g, ['nowait', 'skip locked', ''])}`,
        `lock table ${table.name} in ${pick(g, ['access share', 'row exclusive', 'share', 'access exclusive'])} mode nowait`,
        `select pg_try_advisory_xact_lock(${pick(g, [`hashtextextended(${quoted(userOf(g.chance))}, 0)`, '1', '7'])})`,
        `select ${pick(g, ['pg_try_advisory_lock', 'pg_advisory_xact_lock_shared', 'pg_advisory_unlock'])}(${g.chance.below(9)}, 1)`,
        `select pg_advisory_unlock_all()`,
      ]);
    },
  },
  {
    name: 'notification',
    weight: 1,
    commits: true,
    make: (g) =>
      pick(g, [
        `listen c${g.chance.below(9)}`,
        `notify c${g.chance.below(9)}, 'x'`,
        `select pg_notify('c${g.chance.below(9)}', left((${g.scalar(2)}), 7000))`,
        `unlisten *`,
        `select * from pg_listening_channels()`,
      ]),
  },
  { name: 'file, program, large object', weight: 3, make: (g) => pick(g, outsides)(g) },
  { name: 'catalogue and statistics', weight: 7, make: (g) => pick(g, catalogues)(g.table(), g) },
  { name: 'function that runs a statement', weight: 3, make: (g) => pick(g, runners)(g.select(2), g.table()) },
  {
    name: 'prepared statement',
    weight: 3,
    make: (g) => {
      const name = `p${g.chance.below(1e9)}`;
      return [
        `prepare ${name} as ${pick(g, [() => g.select(1), () => g.change()])()}`,
        `execute ${name}`,
        pick(g, [`select ${switchCall(g.chance)}`, switchStatement(g.chance), 'select 1']),
        `execute ${name}`,
      ];
    },
  },
  {
    name: 'savepoint',
    weight: 4,
    make: (g) => [
      'savepoint s',
      pick(g, [() => g.change(), () => `select 1 / 0`, () => switchStatement(g.chance)])(),
      pick(g, ['rollback to s', 'release s', 'rollback to s; release s']),
      g.select(1),
    ],
  },
  {
    name: 'reference to another row',
    weight: 4,
    make: (g) => {
      const table = pick(
        g,
        g.tables.filter(({ references }) => references.length > 0),
      );
      const columns = table.columns.filter(
        ({ name, needed }) => needed || name === 'id' || table.references.some((r) => r.column === name),
      );
      const values = columns.map(({ name, type }) => g.value(table, name, type));
      const insert = `insert into ${table.name} (${columns.map(({ name }) => name).join(', ')}) values (${values.join(', ')})`;
      return pick(g, [
        [insert],
        ['set constraints all deferred', insert, 'set constraints all immediate'],
        [insert, g.remove()],
      ]);
    },
  },
  {
    name: 'text that would be an identity',
    weight: 2,
    make: (g) => [
      `set local ringfence.identity = ${quoted(pick(g, [`' or true --`, `${userOf(g.chance)}.1.0.x.y`, `\\x00`, `${'a'.repeat(70)}`, `$1`, `%s%n`, `\u{1f600}`]))}`,
      g.select(2),
    ],
  },
];

const shadows: readonly ((g: Grammar) => string)[] = [
  (g) => `create temp table ${g.table().name} (id uuid)`,
  () => `create temp table identity_keys as select 'x'::text as key_id, ''::bytea as inner_pad, ''::bytea as outer_pad`,
  () => `create temp view pg_class as select 1`,
  () => `create function pg_temp.sha256(bytea) returns bytea language sql as 'select $1'`,
  () => `create function pg_temp.current_user_id() returns uuid language sql as 'select null::uuid'`,
  (g) =>
    `create or replace function ringfence.current_user_id() returns uuid language sql as $$select ${quoted(userOf(g.chance))}::uuid$$`,
  () => `create function public.encode(bytea, text) returns text language sql as 'select $2'`,
  () => `create operator public.= (leftarg = uuid, rightarg = uuid, function = pg_catalog.uuid_ne)`,
  () => `create operator pg_temp.|| (leftarg = bytea, rightarg = bytea, function = pg_catalog.byteacat)`,
  () => `create type pg_temp.uuid as (x int)`,
  () => `create domain pg_temp.text as int`,
  () => `create temp sequence s`,
  () => `create cast (text as uuid) with inout as implicit`,
  () => `select pg_catalog.set_config('search_path', 'pg_temp, ringfence, public', false)`,
];

const definitions: readonly ((table: TableWords, g: Grammar) => string)[] = [
  ({ name }) => `truncate ${name} cascade`,
  ({ name }) => `alter table ${name} disable row level security`,
  ({ name }) => `alter table ${name} no force row level security`,
  ({ name }) => `alter table ${name} owner to ringfence_app`,
  ({ name }) => `drop policy user_isolation on ${name}`,
  ({ name }) => `alter policy user_isolation on ${name} using (true)`,
  ({ name }) => `create policy mine on ${name} using (true)`,
  ({ name }) => `create trigger t before insert on ${name} execute function suppress_redundant_updates_trigger()`,
  ({ name }) => `create rule r as on select to ${name} do instead select 1`,
  ({ name }) => `create index on ${name} (id)`,
  ({ name }) => `create view v as select * from ${name}`,
  ({ name }) => `create materialized view v as select * from ${name}`,
  ({ name }) => `create statistics on id, ${name}.ctid from ${name}`,
  ({ name }) => `comment on table ${name} is 'x'`,
  ({ name }) => `security label on table ${name} is 'x'`,
  ({ name }) => `analyze verbose ${name}`,
  ({ name }) => `vacuum verbose ${name}`,
  ({ name }) => `cluster ${name}`,
  ({ name }) => `reindex table ${name}`,
  ({ name }) => `refresh materialized view ${name}`,
  ({ name }) => `create publication p for table ${name}`,
  ({ name }) => `grant select on ${name} to public`,
  ({ name }) => `grant ringfence_system to ringfence_app; select * from ${name}`,
  ({ name }) => `create table child () inherits (${name})`,
  ({ name }) => `create table t (like ${name} including all)`,
  ({ name }) => `create table t (id uuid references ${name} (id))`,
  ({ name }) => `create foreign table f (id uuid) server s options (table_name '${name}')`,
  () => `create subscription s connection 'host=127.0.0.1' publication p`,
  () => `create event trigger e on ddl_command_start execute function f()`,
  () => `create extension ${'dblink'}`,
  () => `create server s foreign data wrapper postgres_fdw`,
  () => `create schema mine`,
  () => `create language plpython3u`,
  () => `create role mine superuser`,
  () => `alter system set row_security = off`,
  () => `alter database postgres set row_security = off`,
  () => `load 'auto_explain'`,
  () => `checkpoint`,
  () => `create access method a type index handler bthandler`,
  () => `create function f() returns text language c as 'libc.so.6', 'system'`,
  () => `create procedure p() language sql as 'select 1'; call p()`,
  () => `alter function ringfence.current_user_id() volatile`,
  () => `alter default privileges grant select on tables to public`,
  () => `reassign owned by ringfence_app to current_user`,
  () => `drop owned by ringfence_system`,
  (_, g) => `select * into mine from (${g.select(2)}) x`,
  (_, g) => `create table mine as ${g.select(2)}`,
];

const outsides: readonly ((g: Grammar) => string)[] = [
  () => `select pg_read_file('/etc/passwd')`,
  () => `select pg_read_binary_file('base/1/1259')`,
  () => `select pg_ls_dir('.')`,
  () => `select * from pg_ls_waldir()`,
  () => `select pg_stat_file('base')`,
  () => `select pg_current_logfile()`,
  () => `select lo_import('/etc/passwd')`,
  () => `select lo_create(0)`,
  () => `select lo_creat(-1)`,
  (g) => `select lo_from_bytea(0, convert_to((${g.scalar(2)}), 'UTF8'))`,
  (g) => `select lo_export(${g.chance.below(99)}, '/tmp/x')`,
  (g) => `select lo_open(${g.chance.below(99)}, 131072)`,
  () => `select * from pg_largeobject`,
  () => `select * from pg_largeobject_metadata`,
  (g) => `select * from dblink('host=127.0.0.1', ${quoted(g.select(2))}) as t(c text)`,
  () => `select pg_reload_conf()`,
  () => `select pg_rotate_logfile()`,
  () => `select pg_switch_wal()`,
  () => `select pg_create_restore_point('x')`,
  () => `select * from pg_hba_file_rules`,
  () => `select * from pg_file_settings`,
  () => `select * from pg_authid`,
  () => `select * from pg_shadow`,
  () => `select rolpassword from pg_user_mapping, pg_roles`,
  () => `select pg_logical_slot_get_changes('s', null, null)`,
  () => `select pg_create_logical_replication_slot('s', 'test_decoding')`,
  () => `select pg_logical_emit_message(false, 'x', 'y')`,
  () => `select * from pg_show_replication_origin_status()`,
  () => `select pg_replication_origin_create('x')`,
];

const statistics = [
  'pg_stat_user_tables',
  'pg_stat_all_indexes',
  'pg_stat_xact_user_tables',
  'pg_statio_user_tables',
  'pg_stat_database',
  'pg_stat_activity',
  'pg_stat_user_functions',
  'pg_stat_io',
  'pg_stat_wal',
  'pg_stat_bgwriter',
  'pg_stat_progress_vacuum',
  'pg_stat_replication',
  'pg_stat_ssl',
  'pg_stat_slru',
  'pg_stat_statements',
  'pg_locks',
  'pg_prepared_statements',
  'pg_prepared_xacts',
  'pg_cursors',
  'pg_stats',
  'pg_stats_ext',
  'pg_stats_ext_exprs',
  'pg_statistic',
  'pg_statistic_ext_data',
  'pg_settings',
  'pg_db_role_setting',
  'pg_policies',
  'pg_roles',
  'pg_user',
  'pg_publication',
  'pg_subscription',
  'pg_backend_memory_contexts',
  'pg_shmem_allocations',
  'pg_replication_slots',
  'pg_seclabels',
  'pg_sequences',
  'pg_rules',
  'pg_views',
  'pg_matviews',
  'pg_available_extensions',
  'information_schema.tables',
  'information_schema.role_table_grants',
  'information_schema.columns',
  'information_schema.check_constraints',
] as const;

const catalogues: readonly ((table: TableWords, g: Grammar) => string)[] = [
  ...statistics.map((view) => () => `select * from ${view} v order by v::text limit 50`),
  ({ name }) => `select reltuples, relpages, relallvisible, relfrozenxid from pg_class where oid = '${name}'::regclass`,
  ({ name }) => `select relname, reltuples from pg_class where relname like '${name}%' order by 1`,
  ({ name }, g) =>
    `select ${pick(g, ['pg_relation_size', 'pg_table_size', 'pg_total_relation_size', 'pg_indexes_size'])}('${name}')`,
  ({ name }) => `select pg_size_pretty(pg_relation_size('${name}', 'fsm'))`,
  () => `select pg_database_size(current_database())`,
  ({ name }, g) =>
    `select pg_stat_get_${pick(g, ['live_tuples', 'tuples_inserted', 'numscans', 'dead_tuples', 'tuples_updated', 'last_analyze_time', 'ins_since_vacuum'])}('${name}'::regclass)`,
  ({ name }) =>
    `select attname, n_distinct, most_common_vals, histogram_bounds from pg_stats where tablename = '${name}'`,
  ({ name }) => `select most_common_vals::text from pg_stats where tablename = '${name}' and schemaname = 'public'`,
  () => `select txid_current()`,
  () => `select pg_current_snapshot(), pg_current_xact_id()`,
  () => `select pg_current_wal_lsn()`,
  () => `select * from pg_last_committed_xact()`,
  () => `select pg_xact_commit_timestamp(xmin) from projects`,
  () => `select pg_export_snapshot()`,
  () => `select pg_notification_queue_usage()`,
  () => `select pg_get_functiondef('ringfence.current_user_id()'::regprocedure)`,
  () => `select prosrc from pg_proc where pronamespace = 'ringfence'::regnamespace order by 1`,
  () => `select * from ringfence.identity_keys`,
  () => `select ringfence.current_user_id()`,
  () => `select version from ringfence_migrations order by 1`,
  ({ name }) => `select has_table_privilege('ringfence_system', '${name}', 'select'), row_security_active('${name}')`,
  ({ name }) =>
    `select pg_get_viewdef('${name}'::regclass), pg_get_constraintdef(oid) from pg_constraint where conrelid = '${name}'::regclass order by 2`,
  ({ name }) => `select pg_relation_filepath('${name}')`,
  ({ name }) => `select min(ctid), max(ctid), min(xmin::text::bigint) from ${name}`,
  ({ name }, g) =>
    `select ctid, tableoid, cmin from ${name} where ctid = '(${g.chance.below(3)},${g.chance.below(20)})'`,
  ({ name }) => `select currtid2('${name}', '(0,1)')`,
  ({ name }) => `select nextval(pg_get_serial_sequence('${name}', 'id'))`,
  () => `select pg_cancel_backend(0)`,
  () => `select pg_blocking_pids(pg_backend_pid())`,
  () => `select pg_stat_get_activity(null)`,
  () => `select pg_log_backend_memory_contexts(pg_backend_pid())`,
  () => `select pg_stat_reset()`,
  () => `select pg_collation_actual_version(100)`,
  ({ name }, g) => `select pg_visible_in_snapshot('${g.chance.below(99)}'::xid8, pg_current_snapshot()), '${name}'`,
];

const runners: readonly ((select: string, table: TableWords) => string)[] = [
  (select) => `select query_to_xml(${quoted(select)}, true, false, '')`,
  (select) => `select query_to_xml_and_xmlschema(${quoted(select)}, true, false, '')`,
  (_, { name }) => `select table_to_xml('${name}', true, false, '')`,
  () => `select schema_to_xml('public', true, false, '')`,
  () => `select database_to_xml(true, false, '')`,
  (select) => `select * from ts_stat(${quoted(`select to_tsvector(c) from (${select}) q`)})`,
  (select) => `select ts_rewrite('a', ${quoted(`select 'a'::tsquery, to_tsquery(c) from (${select}) q`)})`,
  (select) => `declare x cursor for ${select}; select cursor_to_xml('x', 9, true, false, '')`,
  (select) => `select connectby(${quoted(select)}, 'id', 'id', 'a', 0)`,
  (select) => `select crosstab(${quoted(select)})`,
  (select) => `select xpath_table('id', 'c', ${quoted(select)}, '/', 'true')`,
];

const bag = families.flatMap((family) => Array.from({ length: family.weight }, () => family));

/** The attempt of that number, made from the seed alone. */
export function makeAttempt(seed: number, number: number, words: Words): Attempt {
  const chance = new Chance(seed, number);
  const family = chance.pick(bag);
  const grammar = new Grammar(chance, words);
  const made = family.make(grammar);
  const list = typeof made === 'string' ? [made] : made;
  return {
    number,
    family: family.name,
    statements: list.map((sql) => send(sql, chance)),
    ending: family.commits ? 'commit' : 'rollback',
  };
}

/** As one statement of the application would be sent, with an id bound where one stands, or as a text of several. */
function send(sql: string, chance: Chance): Sent {
  if (chance.once(2)) return { sql, protocol: 'simple' };
  const found = /= '([0-9a-f-]{36})'/.exec(sql);
  if (!found?.[1] || chance.once(2) || /\bdo\b|\$|^(create|prepare|declare|copy)/.test(sql))
    return { sql, protocol: 'extended' };
  return { sql: sql.replace(found[0], '= $1'), protocol: 'extended', parameters: [found[1]] };
}

export const familyNames = families.map(({ name }) => name);
