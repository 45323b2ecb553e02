/** The kinds of attack, each a way to put the grammar's parts together. See the catalogue of attacks in docs/security.md. */
import { Chance } from './chance.ts';
import { Grammar } from './grammar.ts';
import { catalogues, definitions, outsides, runners, shadows } from './statements.ts';
import {
  forgedKeyRow,
  quoted,
  signedByForgedKey,
  switchCall,
  switchStatement,
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
      const format = pick(g, ['', ' with (format csv, header)', ` with (format text, delimiter '|')`]);
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
