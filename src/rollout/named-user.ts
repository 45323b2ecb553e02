/** The user that a column names. Whichever column names him, and in whichever way, he comes out the same. */
import { type Catalog, type Column, type ForeignKey, type Table, type TableLabel, tableOf } from './catalog.ts';
import { readColumnContents } from './column-contents.ts';
import type { Context } from './decision-context.ts';
import { type Finding, fail, warn } from './finding.ts';
import type { LookUp, OwnerSource } from './ownership.ts';
import { type FoundUsers, ofUser } from './users-table.ts';

const isInteger = (type: string) => /^(smallint|integer|bigint)$/.test(type);
const isNumber = (type: string) => isInteger(type) || /^(numeric(\([\d,-]+\))?|real|double precision)$/.test(type);
const isText = (type: string) => /^(text|character varying(\(\d+\))?)$/.test(type);
export const isCaseless = ({ baseType }: Column) => /(^|\.)citext$/.test(baseType);

/** Equal values have one text, which an id can be made from. 1 and 1.0 are one numeric, Ann and ann one citext. */
const haveOneText = (a: Column, b: Column) =>
  !a.foldsText &&
  !b.foldsText &&
  [isInteger, isText, (type: string) => type === 'uuid'].some((kind) => kind(a.type) && kind(b.type));

export function columnOf(catalog: Catalog, label: TableLabel, name: string): Column {
  const column = tableOf(catalog, label).columns.find((one) => one.name === name);
  if (!column) throw new Error(`${label} has no column ${name}`);
  return column;
}

const typeOf = (catalog: Catalog, label: TableLabel, name: string) => columnOf(catalog, label, name).type;

/** A foreign key may go to another unique column than the key, an e-mail: then the user is looked up by it. */
export function ofForeignKey(catalog: Catalog, users: FoundUsers, table: Table, fk: ForeignKey): OwnerSource {
  const column = fk.columns[0] ?? '';
  const usersColumn = fk.referencedColumns[0] ?? users.id;
  const [here, there] = [columnOf(catalog, table.label, column), columnOf(catalog, users.table, usersColumn)];
  if (usersColumn === users.id && haveOneText(here, there)) return ofUser(users, column);
  return { kind: 'match', column, usersColumn, ignoreCase: isCaseless(here) || isCaseless(there) };
}

/** A look-up by values that no foreign key compares. */
export function lookUpBy(
  catalog: Catalog,
  users: FoundUsers,
  table: Table,
  { column, usersColumn, ignoreCase }: Omit<LookUp, 'kind' | 'as'>,
): LookUp {
  const [here, there] = [columnOf(catalog, table.label, column), columnOf(catalog, users.table, usersColumn)];
  const source = { kind: 'match', column, usersColumn, ignoreCase } as const;
  if (ignoreCase || isCaseless(here) || isCaseless(there)) return { ...source, ignoreCase: true };
  const alike = [isNumber, isText].some((kind) => kind(here.type) && kind(there.type));
  if (here.type === there.type || alike) return source;
  return { ...source, as: there.type === 'uuid' ? 'uuid' : 'text' };
}

/** A column without a foreign key: what is in it decides. */
export async function byContents(context: Context, table: Table, column: string): Promise<OwnerSource> {
  const { catalog, users } = context;
  const here = columnOf(catalog, table.label, column);
  const isUuid = here.type === 'uuid';
  const asIs = { kind: 'uuid', column, isText: !isUuid } as const;
  const unique = users === null ? [] : [users.id, ...users.uniqueColumns];
  // Users whose key is a uuid, and have no other: there is nothing else that a uuid could be.
  if (isUuid && (users === null || unique.filter((name) => typeOf(catalog, users.table, name) === 'uuid').length < 2)) {
    if (users?.idKind !== 'derived') return asIs;
  }
  const lookUps =
    users === null
      ? []
      : unique.map((usersColumn) => lookUpBy(catalog, users, table, { column, usersColumn, ignoreCase: false }));
  const contents = await readColumnContents(context.client, table, column, users, lookUps);
  if (users !== null) {
    const [first] = contents.matches.toSorted((a, b) => b.share - a.share);
    // Some numbers are equal by chance; of texts and UUIDs one is enough.
    const enough = isNumber(here.type) ? 0.5 : Number.MIN_VALUE;
    const best = first !== undefined && first.share >= enough ? first : undefined;
    const [able, ...others] = ableToHold(catalog, users, here, lookUps);
    const lookUp = best?.lookUp ?? (contents.values === 0 ? able : undefined);
    if (contents.values === 0 && others.length > 0) context.findings.push(nothingToGoBy(table, users, column));
    if (lookUp?.usersColumn === users.id && isExact(lookUp, here, columnOf(catalog, users.table, users.id)))
      return users.idKind === 'uuid' ? asIs : ofUser(users, column);
    if (best !== undefined && best.share < 1) context.findings.push(unmatched(table, users, best.lookUp, best.share));
    if (lookUp !== undefined) return lookUp;
  }
  if (isUuid || (contents.values > 0 && contents.uuids === 1)) return asIs;
  return { kind: 'derive', column, namespace: users?.table ?? 'owner' };
}

/** Before anything is in a column: what the old application may write there. */
function ableToHold(catalog: Catalog, users: FoundUsers, here: Column, lookUps: readonly LookUp[]): readonly LookUp[] {
  const alike = lookUps.filter(({ as }) => as === undefined);
  if (!isText(here.type) && alike.length > 0) return alike;
  const isTextThere = ({ usersColumn }: LookUp) => isText(typeOf(catalog, users.table, usersColumn));
  return isText(here.type) ? lookUps : lookUps.filter(isTextThere);
}

/** It was found by its text, or has no other. */
const isExact = (lookUp: LookUp, here: Column, there: Column) => lookUp.as !== undefined || haveOneText(here, there);

function nothingToGoBy(table: Table, users: FoundUsers, column: string): Finding {
  return fail(
    'empty-owner-column',
    table.label,
    `${column} holds nothing yet that would tell which column of ${users.table} it names.`,
    `Say it in the configuration: "owner": { "column": "${column}", "matches": … }, or give it a foreign key.`,
  );
}

function unmatched(table: Table, users: FoundUsers, { column, usersColumn }: LookUp, share: number): Finding {
  const percent = Math.round((1 - share) * 1000) / 10;
  return warn(
    'unmatched-owners',
    table.label,
    `${percent} % of the values of ${column} are no ${usersColumn} of ${users.table}: those rows stay in quarantine.`,
    'Give them owners with `ringfence assign`, or a list ("csv") in the configuration.',
  );
}
