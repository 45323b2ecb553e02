/** Two users of a table and a row of each: what the probes are made with. */
import { randomUUID } from 'node:crypto';
import { identifier } from '../identifier.ts';
import type { Context } from './check.ts';
import { distinctOwners } from './data.ts';
import type { Guarded } from './expectation.ts';
import type { Session } from './session.ts';

export type Row = Readonly<Record<string, string | null>>;

/** Two users and a row of each, and what the application's role may do here at all. */
export interface Target {
  readonly label: string;
  readonly owner: string;
  readonly a: string;
  readonly b: string;
  /** In whose name A tries to add a row. */
  readonly stranger: string;
  readonly rowsOfA: number;
  /** Columns that can be given a value, and may be by the role. */
  readonly insertable: readonly string[];
  /** A column that may be updated, to set to itself. */
  readonly updatable: string | null;
  readonly may: { readonly select: boolean; readonly insert: boolean; readonly delete: boolean };
  readonly aRow: Row | null;
  readonly bRow: Row | null;
  readonly key: readonly string[];
  readonly isEmpty: boolean;
}

export async function targetOf(context: Context, session: Session, guarded: Guarded): Promise<Target> {
  const { label, table, owned } = guarded;
  const { appRole, quarantineOwner } = context.expectation.ownership;
  const owner = identifier(owned.ownerColumn);
  const owners = await twoOwners(session, guarded, quarantineOwner);
  const [a = randomUUID(), b = randomUUID()] = owners;
  const ofA = `select count(*) from ${label} where ${owner} = $1`;
  const [counted] = await session.read<{ count: string }>(ofA, [a]);
  const [may] = await session.read<{
    select: boolean;
    insert: boolean;
    delete: boolean;
    updatable: string | null;
    insertable: string[];
  }>(
    `select has_column_privilege($1, $2::regclass, $3, 'SELECT') as "select",
  has_column_privilege($1, $2::regclass, $3, 'INSERT') as "insert",
  has_table_privilege($1, $2::regclass, 'DELETE') as "delete",
  (select min(attname) from column_list where has_column_privilege($1, $2::regclass, attname, 'UPDATE') and attname <> $3) as updatable,
  array(select attname::text from column_list where has_column_privilege($1, $2::regclass, attname, 'INSERT') order by attnum) as insertable
from (select) nothing`.replaceAll(
      'column_list',
      "(select attname, attnum from pg_attribute where attrelid = $2::regclass and attnum > 0 and not attisdropped and attgenerated = '') c",
    ),
    [appRole, label, owned.ownerColumn],
  );
  if (!may) throw new Error('the database did not say what the role may do');
  const key = table.primaryKey?.columns ?? [];
  const rowOf = async (user: string): Promise<Row | null> => {
    const columns = table.columns.map(({ name }) => `t.${identifier(name)}::text as ${identifier(name)}`);
    const place = 't.ctid::text as "ctid", t.tableoid::text as "tableoid"';
    const sql = `select ${[...columns, place].join(', ')} from ${label} t where t.${owner} = $1 limit 1`;
    return (await session.read<Record<string, string | null>>(sql, [user]))[0] ?? null;
  };
  return {
    label,
    owner: owned.ownerColumn,
    a,
    b,
    // Until the seal, the trigger takes a new row's default owner for no owner at all.
    stranger: b === owned.defaultOwner ? randomUUID() : b,
    rowsOfA: Number(counted?.count),
    insertable: may.insertable,
    updatable: may.updatable,
    may,
    aRow: await rowOf(a),
    bRow: await rowOf(b),
    key,
    isEmpty: owners.length === 0,
  };
}

/** Beyond this the rows are not counted by owner: the first owners in the index will do. */
const countedRowsMax = 2_000_000;

/** Those with the most rows; the quarantine owner only where there are no two others. */
async function twoOwners(session: Session, guarded: Guarded, quarantineOwner: string): Promise<string[]> {
  const { label, table, owned } = guarded;
  const owner = identifier(owned.ownerColumn);
  const sql =
    table.rows > countedRowsMax
      ? `select owner from (${distinctOwners(guarded)} select owner from o where owner is not null limit 3) three
order by owner = $1 limit 2`
      : `select ${owner} as owner from ${label} where ${owner} is not null group by 1 order by ${owner} = $1, count(*) desc, 1 limit 2`;
  return (await session.read<{ owner: string }>(sql, [quarantineOwner])).map((row) => row.owner);
}
