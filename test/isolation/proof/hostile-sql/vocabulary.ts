/** What a hostile statement is made of: the tables as the database has them, values, and forged identities. */
import { withOwner } from '../../../../src/database/owner.ts';
import { deriveIdentityKey, identityKeyPads, mintIdentity, type UserId } from '../../../../src/isolation/identity.ts';
import { accountTables, everybodyMark, ownedTables } from '../../../../src/isolation/owned-tables.ts';
import { testSecret } from '../../../support/templates.ts';
import type { Chance } from './chance.ts';
import { attacker, guessed, guessedName, guessedUsers, guesses, mine } from './worlds.ts';

export interface TableWords {
  readonly name: string;
  readonly owner: string;
  readonly columns: readonly { readonly name: string; readonly type: string; readonly needed: boolean }[];
  readonly references: readonly { readonly column: string; readonly table: string }[];
}

export interface Words {
  readonly tables: readonly TableWords[];
  /** Statements that use what else the application's role can reach. */
  readonly further: readonly string[];
}

export async function readWords(url: string): Promise<Words> {
  return { tables: await readTables(url), further: await readFurther(url) };
}

/** Views, functions and tables that are neither ours nor of Postgres itself, as the role may use them. */
async function readFurther(url: string): Promise<readonly string[]> {
  const known = [...ownedTables, ...accountTables].map(({ table }) => table);
  const { rows } = await withOwner(url, (owner) =>
    owner.query<{ sql: string }>(
      `select format('select x::text as c from %s x', c.oid::regclass) as sql from pg_class c
       where c.relkind in ('r', 'p', 'v', 'm', 'f') and has_any_column_privilege('ringfence_app', c.oid, 'select')
         and c.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
         and c.relname <> all ($1)
       union all
       select format('select x::text as c from %s(%s) x', p.oid::regproc,
         (select string_agg(format('null::%s', format_type(a, null)), ', ') from unnest(p.proargtypes) a))
       from pg_proc p where has_function_privilege('ringfence_app', p.oid, 'execute') and p.prokind = 'f'
         and has_schema_privilege('ringfence_app', p.pronamespace, 'usage') and p.prorettype <> 'trigger'::regtype
         and p.pronamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
       order by 1`,
      [known],
    ),
  );
  return rows.map(({ sql }) => sql);
}

/** Every owned and every account table, read from the database: a new one is attacked without being named here. */
async function readTables(url: string): Promise<readonly TableWords[]> {
  const { rows } = await withOwner(url, (owner) =>
    owner.query<{ table: string; name: string; type: string; needed: boolean }>(
      `select table_name as table, column_name as name,
         case when data_type = 'ARRAY' then 'text[]' else data_type end as type,
         is_nullable = 'NO' and column_default is null and is_generated = 'NEVER' as needed
       from information_schema.columns where table_schema = 'public' order by table_name, ordinal_position`,
    ),
  );
  const confined = [
    ...ownedTables.map(({ table, references }) => ({ table, column: 'user_id', references })),
    ...accountTables.map(({ table, column }) => ({ table, column, references: [] })),
  ];
  return confined.map(({ table, column, references }) => ({
    name: table,
    owner: column,
    references: references.map((reference) => ({ column: reference.column, table: reference.table })),
    columns: rows.filter((row) => row.table === table),
  }));
}

const key = deriveIdentityKey(testSecret);
const year2035 = Date.UTC(2035, 0);
const year2020 = Date.UTC(2020, 0);
const [victim] = guessedUsers;
/** A real identity of the victim's: for a backend that is not ours (no backend is process 1), and one long expired. */
const stolen = mintIdentity(key, victim, 1, year2035);
const expired = mintIdentity(key, victim, 0, year2020);
const otherKey = mintIdentity({ ...deriveIdentityKey('some other secret'), keyId: key.keyId }, victim, 0, year2035);
/** A key that the attacker made, for a verifier that can be talked into believing it. */
const forgedKey = { keyId: '0123456789abcdef', key: Buffer.alloc(32, 7) };
const pads = identityKeyPads(forgedKey);
export const forgedKeyRow = `'${forgedKey.keyId}'::text as key_id, '\\x${pads.inner.toString('hex')}'::bytea as inner_pad, '\\x${pads.outer.toString('hex')}'::bytea as outer_pad, now() as created_at`;
export const signedByForgedKey = (user: UserId): string => mintIdentity(forgedKey, user, 0, year2035);
const own = `current_setting('ringfence.identity', true)`;

export const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** Expressions that the attacker hopes to pass for somebody else's identity. */
const forgedIdentities: readonly string[] = [
  `''`,
  quoted(victim),
  quoted(guessedUsers[1]),
  quoted(stolen),
  quoted(expired),
  quoted(otherKey),
  quoted(`${stolen}\n`),
  quoted(`${stolen.slice(0, -1)}0`),
  quoted(stolen.replace(/\.[0-9a-f]+$/, '.')),
  quoted(stolen.replace(/\.1\./, '.0.')),
  quoted(`${victim}.99999999999999.0..`),
  quoted(`${victim}.99999999999999.0.${key.keyId}.`),
  `replace(${own}, ${quoted(attacker)}, ${quoted(victim)})`,
  `${quoted(victim)} || substr(${own}, 37)`,
  `left(${own}, -1) || 'g'`,
  `${own} || ${own}`,
  `overlay(${own} placing ${quoted(victim)} from 1 for 36)`,
  `${own} || '''; select 1; --'`,
  `upper(${own})`,
  `split_part(${own}, '.', 1) || repeat('.', 4)`,
  `'{"sub":"${victim}"}'`,
  `null`,
  `repeat('.', 100000)`,
  `'..........'`,
  `E'\\\\x00'`,
];

/** Settings that change how a statement is run, read or reported, and what to set them to. */
export const settings: readonly (readonly [name: string, values: readonly string[]])[] = [
  [
    'role',
    ['none', 'ringfence_system', 'ringfence_accounts', 'ringfence_owner', 'postgres', victim, 'pg_read_all_data'],
  ],
  ['session_authorization', ['ringfence_system', 'ringfence_owner', 'default']],
  ['row_security', ['off', 'on', 'force']],
  ['search_path', ['pg_temp, public', 'ringfence, public', 'public, pg_catalog', '""', 'pg_temp', '"$user"']],
  ['session_replication_role', ['replica', 'local']],
  ['plan_cache_mode', ['auto', 'force_custom_plan', 'force_generic_plan']],
  ['client_min_messages', ['debug5', 'debug1', 'log', 'error']],
  ['log_min_messages', ['debug5']],
  ['log_statement', ['all']],
  ['debug_print_plan', ['on']],
  ['debug_print_rewritten', ['on']],
  ['client_encoding', ['LATIN1', 'SQL_ASCII', 'WIN1252']],
  ['bytea_output', ['escape']],
  ['enable_seqscan', ['off']],
  ['enable_indexscan', ['off']],
  ['enable_bitmapscan', ['off']],
  ['enable_hashjoin', ['off']],
  ['max_parallel_workers_per_gather', ['4']],
  ['debug_parallel_query', ['on', 'regress']],
  ['min_parallel_table_scan_size', ['0']],
  ['parallel_setup_cost', ['0']],
  ['constraint_exclusion', ['on']],
  ['exit_on_error', ['off']],
  ['check_function_bodies', ['off']],
  ['default_transaction_read_only', ['on', 'off']],
  ['transaction_isolation', ['serializable']],
  ['transaction_deferrable', ['off', 'on']],
  ['default_transaction_deferrable', ['off', 'on']],
  ['lc_messages', ['C', 'en_US.UTF-8']],
  ['timezone', ['Asia/Tokyo']],
  ['IntervalStyle', ['iso_8601']],
  ['extra_float_digits', ['-15']],
  ['backslash_quote', ['on']],
  ['standard_conforming_strings', ['off', 'on']],
  ['application_name', [`x'; select 1; --`]],
  ['local_preload_libraries', ['auto_explain']],
  ['dynamic_library_path', ['/tmp']],
  ['track_activities', ['off']],
  ['allow_system_table_mods', ['on']],
  ['ringfence.user_id', [victim]],
  ['app.current_user_id', [victim]],
  ['request.jwt.claims', [`{"sub":"${victim}"}`]],
  ['default_table_access_method', ['heap']],
  ['temp_tablespaces', ['pg_default']],
  ['createrole_self_grant', ['set, inherit']],
  ['is_superuser', ['on']],
  ['auto_explain.log_min_duration', ['0']],
  ['pg_stat_statements.track', ['none']],
  ['lock_timeout', ['5000']],
];

/** A call that tries to become somebody else, or to switch off what stands in the way. */
export function switchCall(chance: Chance): string {
  const local = chance.once(3) ? 'false' : 'true';
  if (chance.below(5) < 3) return `set_config('ringfence.identity', ${chance.pick(forgedIdentities)}, ${local})`;
  const [name, values] = chance.pick(settings);
  return `set_config(${quoted(name)}, ${quoted(chance.pick(values))}, ${local})`;
}

/** The same as a statement. */
export function switchStatement(chance: Chance): string {
  const [name, values] = chance.pick(settings);
  const scope = chance.pick(['', 'local ', 'session ']);
  switch (chance.below(12)) {
    case 0:
      return chance.pick(['reset role', 'reset all', 'reset session authorization', 'reset ringfence.identity']);
    case 1:
      return chance.pick(['discard all', 'discard plans', 'discard temp', 'discard sequences', 'deallocate all']);
    case 2:
      return `set ${scope}role ${chance.pick(['none', 'ringfence_system', 'ringfence_accounts', 'ringfence_owner', 'pg_read_all_data', quoted(victim)])}`;
    case 3:
      return `set ${scope}session authorization ${chance.pick(['default', 'ringfence_system', 'ringfence_owner', quoted(victim)])}`;
    case 4:
      return `set ${scope}ringfence.identity = ${chance.pick([quoted(victim), quoted(stolen), quoted(expired), `''`, 'default'])}`;
    case 5:
      return `set ${scope}ringfence.identity to default`;
    case 6:
      return chance.pick([
        'set constraints all deferred',
        'set transaction isolation level serializable',
        'set transaction read only',
        'set transaction read write',
        'set transaction not deferrable',
        `set transaction snapshot '00000003-0000001B-1'`,
        'set names utf8',
        `set ${scope}time zone 'UTC'`,
        'set xml option document',
      ]);
    case 7:
      return `select ${switchCall(chance)}`;
    default:
      return `set ${scope}${name} = ${quoted(chance.pick(values))}`;
  }
}

/** An id to ask for: the attacker's own, one that may be somebody's, or nobody's. */
export function idOf(chance: Chance, table: string): string {
  switch (chance.below(4)) {
    case 0:
      return mine(table, chance.below(3));
    case 1:
      return chance.pick(guessedUsers);
    default:
      return guessed(table, chance.below(guesses));
  }
}

export const userOf = (chance: Chance): string => chance.pick([attacker, ...guessedUsers, victim]);
export const nameOf = (chance: Chance, table: string): string =>
  chance.once(3) ? `mine ${table} ${chance.below(3)}` : guessedName(chance.below(guesses));
export const systemMark = everybodyMark;
