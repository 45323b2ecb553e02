/**
 * The list that says who gets which row: read into a temporary table and checked as a whole, before anything changes.
 * Columns: the key's, by name and in any order, and one more that names the user.
 */
import { problem } from '../../errors.ts';
import { type Catalog, tableOf } from '../catalog.ts';
import { messageOf, sqlState } from '../connection.ts';
import { identifier } from '../identifier.ts';
import type { OwnedTable } from '../ownership.ts';
import { type CsvRecord, csvFault, readCsv } from './csv.ts';
import { lend } from './moving.ts';
import { isUuid, requireCommas } from './owner-csv.ts';
import type { Reach } from './reach.ts';
import type { UserLookUp } from './users.ts';

export const claimsTable = 'pg_temp.ringfence_claims';

const recordsAtOnce = 2_000;
const shownMax = 20;

interface ClaimsList {
  readonly file: string;
  readonly key: readonly KeyColumn[];
  readonly userAt: number;
  readonly userHeader: string;
}

interface KeyColumn {
  readonly name: string;
  /** Where it stands in the file. */
  readonly at: number;
  /** Without a length: a cast to varchar(3) would cut a key off and find another row. */
  readonly type: string;
}

export interface Claims {
  readonly records: number;
  /** Transactions it takes: the column `batch` of a line says which. */
  readonly batches: number;
  /** Condition that joins a row `t` with its line `c`. */
  readonly join: string;
  /** Keys that no row has, the first few: `line 3: (id) = (…)`. */
  readonly missing: readonly string[];
  readonly missingTotal: number;
}

/** What names a row: the key without the owner, which would be the thing to change. */
export function addressOf(table: OwnedTable): readonly string[] {
  return table.key.filter((column) => column !== table.ownerColumn);
}

/** @throws Problem `usage_error` naming file, line and column */
export async function readClaims(
  reach: Reach,
  catalog: Catalog,
  table: OwnedTable,
  file: string,
  lookUp: UserLookUp,
  linesAtOnce: number | undefined,
): Promise<Claims> {
  const records = readCsv(file);
  const header = await records.next();
  if (header.done) {
    throw problem('usage_error', `${file}: is empty; a header and a line for each row are expected`);
  }
  const list = listOf(file, header.value.fields, table, catalog);
  await createClaims(reach, table, list);
  let count = 0;
  for await (const batch of batchesOf(records)) {
    await load(reach, list, batch);
    count += batch.length;
  }
  await reach.asOurselves(`analyze ${claimsTable}`);
  await resolveUsers(reach, list, lookUp);
  await refuseContradictions(reach, list);
  const join = list.key.map(({ name }, at) => `t.${identifier(name)} = c.k${at}`).join(' and ');
  const batches = await numberBatches(reach, linesAtOnce);
  return { records: count, batches, join, ...(await missingRows(reach, table, list, join)) };
}

function listOf(file: string, header: readonly string[], table: OwnedTable, catalog: Catalog): ClaimsList {
  requireCommas(file, header);
  const names = header.map((name) => name.trim());
  const key = addressOf(table).map((name) => {
    const type = tableOf(catalog, table.table).columns.find((column) => column.name === name)?.type ?? 'text';
    return { name, at: names.indexOf(name), type: type.replace(/\([^)]*\)/, '') };
  });
  const others = names.flatMap((name, at) => (key.some((column) => column.at === at) ? [] : [{ name, at }]));
  const [user] = others;
  if (key.every(({ at }) => at >= 0) && user && others.length === 1) {
    return { file, key, userAt: user.at, userHeader: user.name };
  }
  const expected = [...key.map(({ name }) => name), 'user'].join(',');
  throw problem('usage_error', `${file}, line 1: the header must be ${expected}; it is ${names.join(',')}`);
}

/** Types and collations are the table's own, so that what is equal there is equal here. */
async function createClaims(reach: Reach, table: OwnedTable, { key }: ClaimsList): Promise<void> {
  const columns = key.map(({ name }, at) => `t.${identifier(name)} as k${at}`);
  await reach.asOurselves(`drop table if exists ${claimsTable}`);
  await reach.asOurselves(
    `create temporary table ringfence_claims on commit preserve rows as
    select null::int as line, null::text as who, null::uuid as target, null::int as batch, ${columns.join(', ')}
    from ${table.table} t with no data`,
  );
  await lend(reach, claimsTable);
}

async function* batchesOf(records: AsyncIterable<CsvRecord>): AsyncGenerator<CsvRecord[]> {
  let batch: CsvRecord[] = [];
  for await (const record of records) {
    batch.push(record);
    if (batch.length < recordsAtOnce) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

/** Halves what Postgres cannot read until the line is found; pg_input_is_valid() is there from 16 on only. */
async function load(reach: Reach, list: ClaimsList, records: readonly CsvRecord[]): Promise<void> {
  for (const { line, fields } of records) {
    if ((fields[list.userAt] ?? '').trim() === '') throw csvFault(list.file, line, list.userHeader, 'no user is named');
  }
  await reach.asOurselves('savepoint list');
  try {
    await insert(reach, list, records);
    await reach.asOurselves('release savepoint list');
    return;
  } catch (error) {
    if (!sqlState(error)?.startsWith('22')) throw error;
    await reach.asOurselves('rollback to savepoint list');
    const [only] = records;
    if (records.length === 1 && only) throw await keyFault(reach, list, only, error);
  }
  const half = Math.ceil(records.length / 2);
  await load(reach, list, records.slice(0, half));
  await load(reach, list, records.slice(half));
}

async function insert(reach: Reach, { key, userAt }: ClaimsList, records: readonly CsvRecord[]): Promise<void> {
  const names = key.map((_, at) => `k${at}`);
  await reach.asOurselves(
    `insert into ${claimsTable} (line, who, ${names.join(', ')})
    select x.line, x.who, ${key.map(({ type }, at) => `x.k${at}::${type}`).join(', ')}
    from unnest($1::int[], $2::text[], ${key.map((_, at) => `$${at + 3}::text[]`).join(', ')}) x (line, who, ${names.join(', ')})`,
    [
      records.map(({ line }) => line),
      records.map(({ fields }) => canonical((fields[userAt] ?? '').trim())),
      ...key.map(({ at }) => records.map(({ fields }) => fields[at] ?? '')),
    ],
  );
}

const canonical = (user: string) => (isUuid(user) ? user.toLowerCase() : user);

async function keyFault(reach: Reach, list: ClaimsList, { line, fields }: CsvRecord, error: unknown) {
  for (const { name, at, type } of list.key) {
    await reach.asOurselves('savepoint field');
    try {
      await reach.asOurselves(`select $1::text::${type}`, [fields[at] ?? '']);
    } catch (fault) {
      return csvFault(list.file, line, name, messageOf(fault));
    } finally {
      await reach.asOurselves('rollback to savepoint field');
    }
  }
  return csvFault(list.file, line, list.key.map(({ name }) => name).join(', '), messageOf(error));
}

/** @throws Problem `usage_error` naming the lines of users who are not there */
async function resolveUsers(reach: Reach, list: ClaimsList, { meaning, rows }: UserLookUp): Promise<void> {
  if (rows === null) {
    await reach.asOurselves(
      `update ${claimsTable} set target = who::uuid where who ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'`,
    );
  } else {
    // Two users of one name: neither is meant.
    await reach.onRows(
      `update ${claimsTable} c set target = l.id
      from (select l.said, min(l.id::text)::uuid as id from (${rows}) l group by l.said having count(distinct l.id) = 1) l
      where l.said = c.who`,
    );
  }
  const unknown = await reach.asOurselves<{ line: number; who: string; total: number }>(
    `select line, who, (count(*) over ())::int as total from ${claimsTable}
    where target is null order by line limit ${shownMax}`,
  );
  const [first] = unknown;
  if (!first) return;
  const lines = unknown.map(
    ({ line, who }) =>
      csvFault(list.file, line, list.userHeader, `no single user has the ${meaning} ${JSON.stringify(who)}`).message,
  );
  if (first.total > lines.length) lines.push(`and ${first.total - lines.length} more lines`);
  throw problem('usage_error', lines.join('\n'));
}

async function refuseContradictions(reach: Reach, list: ClaimsList): Promise<void> {
  const names = list.key.map((_, at) => `k${at}`).join(', ');
  const twice = await reach.asOurselves<{ lines: number[] }>(
    `select (array_agg(line order by line))[1:10] as lines from ${claimsTable}
    group by ${names} having count(distinct target) > 1 limit 1`,
  );
  const [lines] = twice;
  if (lines) {
    throw problem('usage_error', `${list.file}: lines ${lines.lines.join(' and ')} give one row to different users`);
  }
}

/** Small users share a transaction, so that a list of many is not a commit each; none is parted unless it was asked for. */
const linesOfUsersAtOnce = 1_000;

async function numberBatches(reach: Reach, linesAtOnce: number | undefined): Promise<number> {
  await reach.asOurselves(
    linesAtOnce === undefined
      ? `update ${claimsTable} c set batch = b.batch
        from (
          select target, floor((sum(count(*)) over (order by target) - count(*)) / ${linesOfUsersAtOnce})::int as batch
          from ${claimsTable} group by target
        ) b where b.target = c.target`
      : `update ${claimsTable} c set batch = b.batch
        from (
          select ctid as place, (row_number() over (order by target, line) - 1) / ${linesAtOnce} as batch from ${claimsTable}
        ) b where b.place = c.ctid`,
  );
  // Numbers without gaps: a user with many lines makes some.
  const [row] = await reach.asOurselves<{ batches: number }>(
    `with numbered as (select batch, (dense_rank() over (order by batch) - 1)::int as number, ctid as place from ${claimsTable}),
      renumbered as (update ${claimsTable} c set batch = n.number from numbered n where n.place = c.ctid returning c.batch)
    select coalesce(max(batch) + 1, 0)::int as batches from renumbered`,
  );
  return row?.batches ?? 0;
}

async function missingRows(reach: Reach, table: OwnedTable, list: ClaimsList, join: string) {
  const key = list.key.map((_, at) => `c.k${at}`).join(', ');
  const rows = await reach.onRows<{ line: number; key: string; total: number }>(
    `select c.line, concat_ws(', ', ${key}) as key, (count(*) over ())::int as total
    from ${claimsTable} c where not exists (select from ${table.table} t where ${join})
    order by c.line limit ${shownMax}`,
  );
  const names = list.key.map(({ name }) => name).join(', ');
  return {
    missing: rows.map(({ line, key: values }) => `line ${line}: (${names}) = (${values})`),
    missingTotal: rows[0]?.total ?? 0,
  };
}
