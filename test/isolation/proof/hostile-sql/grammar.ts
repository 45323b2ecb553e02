/** Selects and their parts, each of which may hold any other: where a sub-select or a call that changes who one is may stand. */
import type { Chance } from './chance.ts';
import { idOf, nameOf, quoted, switchCall, systemMark, type TableWords, userOf, type Words } from './vocabulary.ts';

/** Deeper than this the parts are leaves. */
const depthMax = 3;

export class Grammar {
  readonly chance: Chance;
  readonly tables: readonly TableWords[];
  readonly further: readonly string[];
  #aliases = 0;

  constructor(chance: Chance, words: Words) {
    this.chance = chance;
    this.tables = words.tables;
    this.further = words.further;
  }

  table(): TableWords {
    return this.chance.pick(this.tables);
  }

  alias(): string {
    this.#aliases += 1;
    return `t${this.#aliases}`;
  }

  /** A column that holds the same in both worlds. A time is a moment of either, which a hash of it would carry on. */
  steady(table: TableWords): string {
    return this.chance.pick(table.columns.filter(({ type }) => !type.startsWith('timestamp'))).name;
  }

  /** A text made of one row. */
  text(table: TableWords, alias: string, depth = 0): string {
    const { chance } = this;
    const column = `${alias}.${this.steady(table)}`;
    switch (chance.below(depth >= depthMax ? 14 : 20)) {
      case 0:
        return `${alias}::text`;
      case 1:
        return `row_to_json(${alias})::text`;
      case 2:
        return `md5(${column}::text)`;
      case 3:
        return `reverse(${column}::text)`;
      case 4:
        return `encode(convert_to(${column}::text, 'UTF8'), ${chance.pick([`'base64'`, `'hex'`])})`;
      case 5:
        return `${alias}.tableoid::regclass::text`;
      case 6:
        return chance.once(6) ? `${alias}.${chance.pick(['ctid', 'xmin', 'xmax', 'cmin'])}::text` : `${column}::text`;
      case 7:
        return `substr(${column}::text, ${chance.below(9)}, ${1 + chance.below(9)})`;
      case 8:
        return `format('%s %L %I', ${column}, ${column}, ${column})`;
      case 9:
        return `${alias}.${table.owner}::text`;
      case 10:
        return `to_jsonb(${alias}) ->> ${quoted(chance.pick(table.columns).name)}`;
      case 14:
        return `(${this.scalar(depth + 1)})`;
      case 15:
        return `case when ${this.truth(table, alias, depth + 1)} then ${column}::text else 'no' end`;
      case 16:
        return `coalesce(${switchCall(chance)}, ${column}::text)`;
      case 17:
        return `array_to_string(array(${this.scalar(depth + 1, true)}), ',')`;
      case 18:
        return `(${this.leak(table, alias)})::text`;
      case 19:
        return switchCall(chance);
      default:
        return `${alias}.${chance.pick(table.columns).name}::text`;
    }
  }

  /** A condition over one row. */
  truth(table: TableWords, alias: string, depth = 0): string {
    const { chance } = this;
    const column = `${alias}.${this.steady(table)}::text`;
    const other = this.table();
    const inner = this.alias();
    switch (chance.below(depth >= depthMax ? 13 : 19)) {
      case 0:
        return `${alias}.id = ${quoted(idOf(chance, table.name))}`;
      case 1:
        return `${alias}.${table.owner} = ${quoted(userOf(chance))}`;
      case 2:
        return `${alias}.${table.owner} <> ${quoted(userOf(chance))}`;
      case 3:
        return `${alias}.${systemMark}`;
      case 4:
        return `${column} like ${quoted(chance.pick(['%', 'k%', '%a%', 'guess-%', '_____', 'mine%']))}`;
      case 5:
        return `${column} = ${quoted(nameOf(chance, table.name))}`;
      case 6:
        return `${column} ~ ${quoted(chance.pick(['^k', 'e', '^(a+)+$', '[0-9a-f]{8}', '.']))}`;
      case 7:
        return `${column} ${chance.pick(['<', '>', '<=', '>='])} ${quoted(chance.pick(['k', 'm', 'n', '5', 'zz']))}`;
      case 8:
        return `length(${column}) ${chance.pick(['>', '<', '='])} ${chance.below(60)}`;
      case 9:
        return `(${this.leak(table, alias)}) is not null`;
      case 10:
        return chance.pick(['true', 'null', '1 = 1', `${alias} is not null`, 'false or true']);
      case 11:
        return `${alias}.id in (${[0, 1, 2].map(() => quoted(idOf(chance, table.name))).join(', ')})`;
      case 13:
        return `exists (select from ${other.name} ${inner} where ${this.truth(other, inner, depth + 1)})`;
      case 14:
        return `${alias}.id ${chance.pick(['in', 'not in'])} (select ${inner}.id from ${other.name} ${inner} where ${this.truth(other, inner, depth + 1)})`;
      case 15:
        return `${switchCall(chance)} is ${chance.once(2) ? 'not ' : ''}null`;
      case 16:
        return `(${this.truth(table, alias, depth + 1)} ${chance.pick(['and', 'or'])} ${this.truth(table, alias, depth + 1)})`;
      case 17:
        return `not (${this.truth(table, alias, depth + 1)})`;
      case 18:
        return `(select count(*) from ${other.name} ${inner}) ${chance.pick(['>', '=', '<'])} ${chance.below(9)}`;
      default:
        return `${column} is not null`;
    }
  }

  /** An expression that complains, and might tell the value while it does. */
  leak(table: TableWords, alias: string): string {
    const { chance } = this;
    const column = `${alias}.${this.steady(table)}::text`;
    return chance.pick([
      `(${column})::int`,
      `(${column})::uuid`,
      `(${column})::timestamptz`,
      `(${column})::jsonb`,
      `(${column})::xml`,
      `(${column})::inet`,
      `(${column})::bytea`,
      `(${column})::regclass`,
      `(${column})::tsquery`,
      `(${column})::int4range`,
      `(${column})::int[]`,
      `1 / (length(${column}) - ${chance.below(60)})`,
      `(array[1])[length(${column})]`,
      `to_regclass(${column})`,
      `to_date(${column}, 'YYYY')`,
      `to_number(${column}, '999')`,
      `to_tsquery(${column})`,
      `sqrt(-length(${column}))`,
      `chr(length(${column}) - 100)`,
      `repeat(${column}, -1)`,
      `regexp_match(${column}, ${column})`,
      `decode(${column}, 'hex')`,
      `decode(${column}, 'base64')`,
      `convert_from(convert_to(${column}, 'LATIN1'), 'UTF8')`,
      `set_config(${column}, 'x', true)`,
      `set_config('x.y', ${column}, true)`,
      `current_setting(${column})`,
      `jsonb_path_query_first(to_jsonb(${alias}), ${column}::jsonpath)`,
      `jsonb_set(to_jsonb(${alias}), '{x}', ${column}::jsonb)`,
      `xpath(${column}, ${column}::xml)`,
      `xmlparse(document ${column})`,
      `nextval(${column})`,
      `has_table_privilege(${column}, 'select')`,
      `pg_get_userbyid(length(${column})::oid)`,
      `to_hex(length(${column}))::int`,
      `width_bucket(length(${column}), 1, 1, 1)`,
      `make_interval(secs => (${column})::float8)`,
      `enum_range(null::regtype)`,
      `ts_headline(${column}, to_tsquery('a'))`,
      `pg_input_error_info(${column}, 'integer')::text`,
      `int4(ln(length(${column}) - ${chance.below(60)}))`,
      `string_to_array(${column}, '-')::int[]`,
      `lo_get(length(${column})::oid)`,
      `pg_read_file(${column})`,
      `pg_ls_dir(${column})`,
    ]);
  }

  /** One column, one row at most, unless `many`. */
  scalar(depth: number, many = false): string {
    const table = this.table();
    const alias = this.alias();
    const { chance } = this;
    const text = this.text(table, alias, depth);
    if (!many && chance.once(2)) {
      return `select ${chance.pick(['count(*)::text', `max(${text})`, `string_agg(${text}, ',' order by ${alias}.id)`])} from ${table.name} ${alias}`;
    }
    return `select ${text} from ${table.name} ${alias} where ${this.truth(table, alias, depth)} order by ${alias}.id${many ? '' : ' limit 1'}`;
  }

  /** @returns what stands behind FROM, and the table and alias that the rest may speak of */
  from(depth: number): { sql: string; table: TableWords; alias: string } {
    const { chance } = this;
    const table = this.table();
    const alias = this.alias();
    const plain = { sql: `${table.name} ${alias}`, table, alias };
    const joined = this.table();
    const other = this.alias();
    switch (chance.below(depth >= depthMax ? 5 : 13)) {
      case 5:
        return {
          ...plain,
          sql: `${table.name} ${alias} ${chance.pick(['join', 'left join', 'full join', 'right join'])} ${joined.name} ${other} on ${other}.${joined.owner} = ${alias}.${table.owner}`,
        };
      case 6:
        return { ...plain, sql: `${table.name} ${alias} cross join lateral (${this.scalar(depth + 1)}) ${other}` };
      case 7:
        return { ...plain, sql: `(select * from ${table.name} offset 0) ${alias}` };
      case 8:
        return {
          ...plain,
          sql: `${table.name} ${alias} tablesample ${chance.pick(['system', 'bernoulli'])} (${chance.pick([100, 50])}) repeatable (${chance.below(9)})`,
        };
      case 9:
        return { ...plain, sql: `only ${table.name} ${alias}` };
      case 10:
        return {
          ...plain,
          sql: `(select ${switchCall(chance)} as s offset 0) ${other} cross join lateral (select * from ${table.name} where ${other}.s is not null) ${alias}`,
        };
      case 11:
        return { ...plain, sql: `${table.name} ${alias} natural join ${joined.name} ${other}` };
      case 12:
        return {
          ...plain,
          sql: `public.${table.name} as ${alias}, rows from (${chance.pick(['generate_series(1, 2)', `unnest(array['a'])`, `jsonb_array_elements('[1]')`])}) ${other}`,
        };
      default:
        return plain;
    }
  }

  /** A select of one text column: an arm of a union, or a statement. */
  select(depth = 0): string {
    const { chance } = this;
    const { sql, table, alias } = this.from(depth);
    const where = chance.below(4) === 0 ? '' : ` where ${this.truth(table, alias, depth)}`;
    const order = ` order by ${chance.pick(['1', `${alias}.id`, `${this.text(table, alias, 9)}`, `(${this.scalar(depth + 1)})`])}`;
    const plain = `select ${this.text(table, alias, depth)} as c from ${sql}${where}`;
    switch (chance.below(11)) {
      case 0:
        return `select ${this.aggregate(table, alias)} as c from ${sql}${where}`;
      case 1:
        return `select ${this.text(table, alias, depth)} as c from ${sql}${where} group by ${alias}.${table.owner}, ${alias}.id, 1 having count(*) > ${chance.below(2)}${order}`;
      case 2:
        return `select ${this.text(table, alias, 9)} || ' ' || ${chance.pick(['row_number()', 'count(*)', 'rank()', 'lag(1)', 'ntile(2)', 'cume_dist()'])} over (${chance.pick(['', `partition by ${alias}.${table.owner}`])} order by ${alias}.id) as c from ${sql}${where}`;
      case 3:
        return `${plain}${order} for ${chance.pick(['update', 'share', 'no key update', 'key share'])} of ${alias}${chance.pick(['', ' nowait', ' skip locked'])}`;
      case 4:
        return `${plain}${order} limit ${chance.pick(['1', '0', 'all', `(select count(*) from ${table.name})`])} offset ${chance.pick(['0', '1', `(${this.scalar(9)})::int`])}`;
      case 5:
        return `select distinct ${this.text(table, alias, depth)} as c from ${sql}${where} order by 1`;
      case 6:
        return `${plain} fetch first ${chance.below(3)} rows with ties`.replace(/ fetch/, `${order} fetch`);
      case 7:
        return `select ${this.aggregate(table, alias)} as c from ${sql}${where} group by ${chance.pick(['grouping sets ((), (1))', 'rollup (1)', 'cube (1)'].map((g) => g.replace('(1)', `(${alias}.id)`)))}`;
      default:
        return `${plain}${order}`;
    }
  }

  aggregate(table: TableWords, alias: string): string {
    const text = this.text(table, alias, 9);
    return this.chance.pick([
      'count(*)::text',
      `string_agg(${text}, ',' order by ${alias}.id)`,
      `array_agg(${text} order by ${alias}.id)::text`,
      `jsonb_agg(${alias} order by ${alias}.id)::text`,
      `min(${text})`,
      `max(${text})`,
      `count(distinct ${text})::text`,
      `bool_or(${this.truth(table, alias, 9)})::text`,
      `xmlagg(xmlelement(name x, ${text}))::text`,
      `count(*) filter (where ${this.truth(table, alias, 9)})::text`,
      `percentile_disc(0.5) within group (order by ${text})`,
    ]);
  }

  /** A change to one table. */
  change(): string {
    return this.chance.pick([() => this.insert(), () => this.update(), () => this.remove(), () => this.merge()])();
  }

  value(table: TableWords, column: string, type: string): string {
    const { chance } = this;
    if (column === table.owner && column !== 'id') return quoted(userOf(chance));
    if (column === 'id') return quoted(idOf(chance, table.name));
    const reference = table.references.find((of) => of.column === column);
    if (reference) return quoted(idOf(chance, reference.table));
    if (chance.once(8)) return `(${this.scalar(2)})`;
    if (type === 'uuid') return quoted(idOf(chance, table.name));
    if (type === 'jsonb')
      return chance.pick([`'{"a":1}'`, `(select jsonb_agg(x.id order by x.id) from ${this.table().name} x)`]);
    if (type === 'text[]') return `array[${quoted(nameOf(chance, table.name))}]`;
    if (type === 'bytea') return `decode(repeat('00', 32), 'hex')`;
    if (/^(smallint|integer|bigint|double)/.test(type)) return String(chance.below(3));
    if (type === 'boolean') return chance.pick(['true', 'false']);
    if (type.startsWith('timestamp')) return `'2021-01-01T00:00:00Z'`;
    return quoted(
      chance.pick([
        'todo',
        'active',
        'blocks',
        'user',
        'ok',
        'medium',
        nameOf(chance, table.name),
        nameOf(chance, table.name),
      ]),
    );
  }

  returning(table: TableWords, alias: string): string {
    const { chance } = this;
    return chance.pick([
      '',
      ` returning ${this.text(table, alias, 1)} as c`,
      ` returning ${this.text(table, alias, 9)} as c`,
    ]);
  }

  insert(): string {
    const { chance } = this;
    const table = this.table();
    const columns = table.columns.filter(
      ({ name, needed }) => needed || name === 'id' || (name === table.owner && chance.once(4)) || chance.once(12),
    );
    const values = columns.map(({ name, type }) => this.value(table, name, type));
    const names = columns.map(({ name }) => name).join(', ');
    const rows = chance.once(4)
      ? `select ${values.join(', ')} from ${this.table().name} s${chance.once(2) ? ` where ${switchCall(chance)} is not null` : ''}`
      : `values (${values.join(', ')})`;
    const conflict = chance.pick([
      '',
      '',
      ' on conflict do nothing',
      ` on conflict (${table.owner === 'id' ? 'id' : 'user_id, id'}) do update set ${this.assignment(table)}${chance.once(2) ? ` where ${this.truth(table, 'n', 2)}` : ''}`,
      ` on conflict (id) do update set ${this.assignment(table)}`,
      ` on conflict on constraint ${chance.pick(['uq_labels_name', `${table.name}_pkey`, 'uq_agents_name'])} do nothing`,
    ]);
    const overriding = chance.once(20) ? ' overriding system value' : '';
    return `insert into ${table.name} as n (${names})${overriding} ${rows}${conflict}${this.returning(table, 'n')}`;
  }

  assignment(table: TableWords): string {
    const { chance } = this;
    const column = chance.pick(table.columns);
    return `${column.name} = ${chance.once(9) ? 'default' : this.value(table, column.name, column.type)}`;
  }

  update(): string {
    const { chance } = this;
    const table = this.table();
    const alias = this.alias();
    const other = this.alias();
    const from = chance.once(4) ? ` from ${this.table().name} ${other}` : '';
    return `update ${table.name} ${alias} set ${this.assignment(table)}${from} where ${this.truth(table, alias, 1)}${this.returning(table, alias)}`;
  }

  remove(): string {
    const { chance } = this;
    const table = this.table();
    const alias = this.alias();
    const using = chance.once(4) ? ` using ${this.table().name} ${this.alias()}` : '';
    return `delete from ${table.name} ${alias}${using} where ${this.truth(table, alias, 1)}${this.returning(table, alias)}`;
  }

  merge(): string {
    const { chance } = this;
    const table = this.table();
    const source = this.table();
    const columns = table.columns.filter(({ name, needed }) => needed || name === 'id');
    const values = columns.map(({ name, type }) => this.value(table, name, type));
    const on = chance.pick([
      `n.id = s.id`,
      `n.id = ${quoted(idOf(chance, table.name))}`,
      'true',
      `n.${table.owner} = s.${source.owner}`,
    ]);
    const from = chance.once(2)
      ? `(select ${quoted(idOf(chance, table.name))}::uuid as id, ${quoted(userOf(chance))}::uuid as ${source.owner === 'id' ? 'user_id' : source.owner}) s`
      : `${source.name} s`;
    const matched = chance.pick([`update set ${this.assignment(table)}`, 'delete', 'do nothing']);
    const returning = chance.once(3) ? ` returning merge_action() || n::text` : '';
    return `merge into ${table.name} n using ${from} on ${on} when matched then ${matched} when not matched then insert (${columns.map(({ name }) => name).join(', ')}) values (${values.join(', ')})${returning}`;
  }
}
