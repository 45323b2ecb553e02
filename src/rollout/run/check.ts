/** A query that must find nothing. */
import { problem } from '../../errors.ts';
import { changeAllRows, readAllRows } from '../all-rows.ts';
import type { Connection } from '../connection.ts';
import type { Action } from '../plan.ts';
import type { StepRun } from './step-run.ts';

const faultsShown = 20;

type CheckAction = Extract<Action, { kind: 'check' }>;

/** @throws Problem `rollout_refused` with the first faults, their number and what to do */
export async function runCheck(run: StepRun, { query, remedy, orElse }: CheckAction): Promise<void> {
  if (run.acceptDataLoss && orElse !== undefined) {
    await setAside(run, orElse);
    return;
  }
  if (run.force && run.step.phase === 'seal') {
    await run.finish(run.client, { forced: true });
    return;
  }
  // Counted by Postgres: a check that goes wrong may find every row of a table.
  const rows = await readAllRows(run.client, async (rowSecurity) => {
    await run.client.query(`set local row_security = ${rowSecurity}`);
    const found = await run.client.query<{ fault: string; total: string }>(
      `select c.fault::text as fault, count(*) over () as total
      from (${query.replace(/;\s*$/, '')}) c
      limit ${faultsShown}`,
    );
    return found.rows;
  });
  const total = Number(rows[0]?.total ?? 0);
  if (total > 0) {
    const further = total > rows.length ? [`and ${total - rows.length} more`] : [];
    const lines = [...rows.map((row) => row.fault), ...further].map((line) => `  ${line}`);
    throw problem('rollout_refused', `${total} ${total === 1 ? 'fault' : 'faults'}:\n${lines.join('\n')}\n${remedy}`);
  }
  await run.finish(run.client, {});
}

/** What is in the way goes where it can be looked up, in one transaction with the ledger's entry. */
async function setAside(run: StepRun, statements: readonly string[]): Promise<void> {
  const { client } = run;
  await changeAllRows(client, async () => {
    const before = await keptAside(client);
    for (const statement of statements) await client.query(statement);
    const displaced = (await keptAside(client)) - before;
    await run.finish(client, { displaced });
  });
}

/** Whole rows; of one that stays and whose reference Postgres empties a copy is kept as well. */
async function keptAside(client: Connection): Promise<number> {
  const { rows } = await client.query<{ count: number }>(
    "select count(*)::int as count from ringfence_rollout.displaced_rows where table_name not like '% was emptied'",
  );
  return rows[0]?.count ?? 0;
}
