/** A victim and an attacker who are nobody, with a row each, in a transaction that is rolled back: what is attacked, and by whom. */
import { randomUUID } from 'node:crypto';
import { columnList, identifier, literal } from '../../identifier.ts';
import { newStem } from '../../synthetic/marks.ts';
import { type Planted, type PlantedRow, plantRows, type SyntheticUser, type Unplanted } from '../../synthetic/plant.ts';
import type { Context } from '../check.ts';
import { hasOwnerColumn } from '../data.ts';
import type { Guarded } from '../expectation.ts';
import type { Session } from '../session.ts';
import type { Target } from './form.ts';

export interface World {
  readonly stem: string;
  readonly victim: SyntheticUser;
  readonly attacker: SyntheticUser;
  readonly targets: readonly Attacked[];
  readonly unplanted: readonly Unplanted[];
}

export interface Attacked {
  readonly guarded: Guarded;
  readonly target: Target;
  /** Of the victim's row and of no row: a condition, and values with that key. */
  readonly hidden: Existence;
  readonly absent: Existence;
  /** The key is the victim's alone, and there is another that is nobody's. */
  readonly hasOwnKey: boolean;
  /** What the victim's row holds that nobody could guess. */
  readonly secrets: readonly string[];
}

interface Existence {
  readonly row: string;
  readonly values: string;
  /** What the two answers may differ in: the key itself. */
  readonly key: readonly string[];
}

export async function makeWorld(context: Context, session: Session): Promise<World> {
  const { client } = context;
  const stem = newStem();
  const victim: SyntheticUser = { who: 'a', id: randomUUID() };
  const attacker: SyntheticUser = { who: 'b', id: randomUUID() };
  const guarded = context.guarded.filter(hasOwnerColumn);
  const { planted, unplanted } = await plantRows(client, guarded, { stem, users: [victim, attacker] });
  const targets: Attacked[] = [];
  for (const [one, rows] of Map.groupBy(planted, (row) => row.guarded)) {
    const its = rows.find(({ user }) => user === victim);
    const own = rows.find(({ user }) => user === attacker);
    if (its === undefined || own === undefined) continue;
    targets.push(await attacked(context, session, one, its, own));
  }
  return { stem, victim, attacker, targets, unplanted };
}

async function attacked(
  context: Context,
  session: Session,
  guarded: Guarded,
  its: Planted,
  own: Planted,
): Promise<Attacked> {
  const { table, label, owned } = guarded;
  const may = await privilegesOf(context, guarded);
  const owner = identifier(owned.ownerColumn);
  const key = keyOf(guarded);
  const columns = may.insertable.length > 0 ? may.insertable : [owned.ownerColumn];
  /** The attacker's own row with other texts, the same in every attempt. */
  const fresh: PlantedRow = {
    ...own.row,
    ...Object.fromEntries(own.marks.map(({ column }) => [column, otherValue(own.row[column] ?? null)])),
  };
  const valuesOf = (change: PlantedRow) => {
    const row = { ...fresh, ...change };
    return columns.map((name) => literalOf(row[name] ?? null)).join(', ');
  };
  // What a reference leads to has to be there: the users' own table keeps its key, so that a reference to it tells.
  const referring = new Set(table.foreignKeys.flatMap(({ columns: names }) => names));
  const free = key.filter((name) => !referring.has(name));
  const nowhere = Object.fromEntries(
    key.map((name) => [name, free.includes(name) ? otherValue(its.row[name] ?? null) : (its.row[name] ?? null)]),
  );
  const hiddenKey = Object.fromEntries(key.map((name) => [name, its.row[name] ?? null]));
  const mark = its.marks[0]?.column ?? own.marks[0]?.column ?? key[0] ?? owned.ownerColumn;
  return {
    guarded,
    hasOwnKey: free.some((name) => its.row[name] !== own.row[name]),
    hidden: { row: conditionOf(hiddenKey), values: valuesOf(hiddenKey), key: textsOf(hiddenKey) },
    absent: { row: conditionOf(nowhere), values: valuesOf(nowhere), key: textsOf(nowhere) },
    secrets: textsOf(its.row).filter((value) => value.length >= 12 && !textsOf(own.row).includes(value)),
    target: {
      table: label,
      owner,
      text: identifier(mark),
      victim: literal(its.user.id),
      attacker: literal(own.user.id),
      itsRow: conditionOf(placeOf(guarded, its)),
      ownRow: conditionOf(placeOf(guarded, own)),
      columns: columnList(columns),
      inHisName: valuesOf({ [owned.ownerColumn]: its.user.id }),
      itsCopy: columns.map((name) => literalOf(its.row[name] ?? null)).join(', '),
      updatable: may.updatable === null ? null : identifier(may.updatable),
      mayInsert: may.insert,
      mayDelete: may.delete,
      mayRead: may.select,
      forgeries: [
        literal(its.user.id),
        "''",
        ...session.forgeries(its.user.id).map(({ setting }) => literal(setting)),
        swapped(own.user.id, its.user.id),
      ],
      key: table.primaryKey === null ? null : columnList(table.primaryKey.columns),
      isOwned: owned.class === 'owned',
    },
  };
}

/** The attacker's own identity with the victim's name put in. */
const swapped = (own: string, its: string) =>
  `replace(current_setting('ringfence.identity', true), ${literal(own)}, ${literal(its)})`;

interface Privileges {
  readonly select: boolean;
  readonly insert: boolean;
  readonly delete: boolean;
  readonly updatable: string | null;
  readonly insertable: readonly string[];
}

/** Reading asks for the key and the text; a column that cannot be read would end every statement at once. */
async function privilegesOf({ client, expectation }: Context, { label, owned }: Guarded): Promise<Privileges> {
  const { rows } = await client.query<Privileges>(
    `with c as (
  select attname, attnum from pg_attribute where attrelid = $2::regclass and attnum > 0 and not attisdropped and attgenerated = ''
)
select has_any_column_privilege($1, $2::regclass, 'SELECT') as "select",
  has_column_privilege($1, $2::regclass, $3, 'INSERT') as "insert",
  has_table_privilege($1, $2::regclass, 'DELETE') as "delete",
  (select min(attname)::text from c where has_column_privilege($1, $2::regclass, attname, 'UPDATE') and attname <> $3) as updatable,
  array(select attname::text from c where has_column_privilege($1, $2::regclass, attname, 'INSERT') order by attnum) as insertable`,
    [expectation.ownership.appRole, label, owned.ownerColumn],
  );
  const [row] = rows;
  if (!row) throw new Error('the database did not say what the role may do');
  return row;
}

/** Columns that name one row among a user's, or among all. */
function keyOf({ table, owned }: Guarded): readonly string[] {
  const key = (table.primaryKey?.columns ?? []).filter((name) => name !== owned.ownerColumn);
  return key.length > 0 ? key : [owned.ownerColumn];
}

function placeOf(guarded: Guarded, { row, user }: Planted): PlantedRow {
  return {
    ...Object.fromEntries(keyOf(guarded).map((name) => [name, row[name] ?? null])),
    [guarded.owned.ownerColumn]: user.id,
  };
}

const conditionOf = (row: PlantedRow) =>
  Object.entries(row)
    .map(([name, value]) => `${identifier(name)} = ${literalOf(value)}`)
    .join(' and ');

const literalOf = (value: string | null) => (value === null ? 'null' : literal(value));

const textsOf = (row: PlantedRow) => Object.values(row).filter((value) => value !== null);

/** As long, of the same type, and nobody's. */
function otherValue(value: string | null): string | null {
  if (value === null) return null;
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value)) return randomUUID();
  if (/^\d+$/.test(value)) return String(BigInt(value) - 77n);
  const moment = /^(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:)(\d\d)(.*)$/.exec(value);
  if (moment) return `${moment[1]}${String((Number(moment[2]) + 31) % 60).padStart(2, '0')}${moment[3]}`;
  // In the same month, hence as a rule in the same partition.
  const date = /^(\d{4}-\d\d-)(\d\d)$/.exec(value);
  if (date) return `${date[1]}${String(1 + ((Number(date[2]) + 13) % 28)).padStart(2, '0')}`;
  return value.replaceAll(/[0-9a-f]/g, (character) => (character === 'f' ? '0' : 'f'));
}
