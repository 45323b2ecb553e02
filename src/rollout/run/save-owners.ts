/** Keeps owners before their column goes. */
import type { Action } from '../plan.ts';
import type { StepRun } from './step-run.ts';
import { stopIfAsked } from './step-run.ts';

/**
 * One transaction: what was saved before makes room for what is saved now, and an owner that was given by hand must not be
 * without either when the run ends in between. An `apply` that puts things back would take the row from him.
 */
export async function saveOwners(run: StepRun, action: Extract<Action, { kind: 'saveOwners' }>): Promise<void> {
  const { client } = run;
  let rows = 0;
  await client.query('begin');
  try {
    for (const [at, statement] of action.statements.entries()) {
      stopIfAsked(run.signal);
      run.report({ done: at, total: action.statements.length, unit: 'rows', rows });
      rows += (await client.query(statement)).rowCount ?? 0;
    }
    await run.finish(client, { rows });
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => {});
    throw error;
  }
}
