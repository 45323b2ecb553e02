/** VALIDATE CONSTRAINT: reads the whole table under a lock that stops no reader and no writer. */
import { problem } from '../../errors.ts';
import { changeAllRows, readAllRows } from '../all-rows.ts';
import { type Connection, messageOf, sqlState } from '../connection.ts';
import { columnList, identifier } from '../identifier.ts';
import type { Action } from '../plan.ts';
import { pause, retryDelay, type StepRun } from './step-run.ts';
import { watched } from './watched.ts';

type ValidateAction = Extract<Action, { kind: 'validate' }>;

/** Only VACUUM, index builds and DDL conflict with it, so that it may wait without anybody waiting behind it. */
const lockTimeoutMs = 30_000;
const attemptsMax = 20;
const rowsShown = 5;

/** @throws Problem `rollout_refused` naming rows that break the constraint */
export async function validateConstraint(run: StepRun, action: ValidateAction): Promise<void> {
  const attempts = await watched(run, 'validate', null, (client) => validate(run, client, action));
  await run.finish(run.client, { attempts });
}

async function validate(run: StepRun, client: Connection, { table, constraint }: ValidateAction): Promise<number> {
  await client.query(`set lock_timeout = ${lockTimeoutMs}`);
  for (let attempt = 1; ; attempt++) {
    try {
      // Postgres checks a foreign key by a query, which policies in force bind: an owner who is no superuser gets RF001.
      await changeAllRows(client, () =>
        client.query(`alter table ${table} validate constraint ${identifier(constraint)}`),
      );
      return attempt;
    } catch (error) {
      const state = sqlState(error);
      if (state === '23503' || state === '23514') throw await broken(client, table, constraint, error);
      if (!['55P03', '40P01'].includes(state ?? '') || attempt === attemptsMax) throw error;
      run.report({ note: `attempt ${attempt + 1}: ${messageOf(error)}` });
      await pause(retryDelay(attempt), run.signal);
    }
  }
}

async function broken(client: Connection, table: string, constraint: string, error: unknown): Promise<Error> {
  const rows = await readAllRows(client, async (rowSecurity) => {
    await client.query(`set local row_security = ${rowSecurity}`);
    return offendingRows(client, table, constraint);
  });
  const shown = rows === null ? messageOf(error) : rows.join('; ');
  return problem(
    'rollout_refused',
    `rows of ${table} break ${identifier(constraint)}: ${shown}. ` +
      'Correct them, or give them another owner with `ringfence assign`.',
    {},
    { cause: error },
  );
}

interface ForeignKeyColumns {
  readonly references: string;
  readonly columns: readonly string[];
  readonly referencedColumns: readonly string[];
}

/** The foreign key's columns of the first few rows without a parent; null for any other constraint. */
async function offendingRows(client: Connection, table: string, constraint: string): Promise<string[] | null> {
  const { rows } = await client.query<ForeignKeyColumns>(
    `select format('%I.%I', n.nspname, r.relname) as references, array(
      select a.attname::text from unnest(c.conkey) with ordinality k (number, at)
      join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.number order by k.at
    ) as columns, array(
      select a.attname::text from unnest(c.confkey) with ordinality k (number, at)
      join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.number order by k.at
    ) as "referencedColumns"
    from pg_constraint c
    join pg_class r on r.oid = c.confrelid
    join pg_namespace n on n.oid = r.relnamespace
    where c.conrelid = to_regclass($1) and c.conname = $2 and c.contype = 'f'`,
    [table, constraint],
  );
  const [key] = rows;
  if (!key) return null;
  const match = key.columns.map((column, at) => {
    const referenced = key.referencedColumns[at];
    if (referenced === undefined) throw new Error(`${constraint} refers to fewer columns than it has`);
    return `p.${identifier(referenced)} = c.${identifier(column)}`;
  });
  const present = key.columns.map((column) => `c.${identifier(column)} is not null`);
  const found = await client.query<{ row: string }>(
    `select row(${key.columns.map((column) => `c.${identifier(column)}`).join(', ')})::text as row
    from ${table} c
    where ${present.join(' and ')} and not exists (select from ${key.references} p where ${match.join(' and ')})
    limit ${rowsShown}`,
  );
  return found.rows.map(({ row }) => `(${columnList(key.columns)}) = ${row} is not in ${key.references}`);
}
