/** Keeps owners before their column goes. */
import type { Action } from '../plan.ts';
import type { StepRun } from './step-run.ts';
import { stopIfAsked } from './step-run.ts';

/** Each statement is a transaction of its own, since each reads a whole table; all may run again. */
export async function saveOwners(run: StepRun, action: Extract<Action, { kind: 'saveOwners' }>): Promise<void> {
  let rows = 0;
  for (const [at, statement] of action.statements.entries()) {
    stopIfAsked(run.signal);
    run.report({ done: at, total: action.statements.length, unit: 'rows', rows });
    rows += (await run.client.query(statement)).rowCount ?? 0;
  }
  await run.finish(run.client, { rows });
}
