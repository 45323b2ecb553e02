/** What has to be done before a rollout: a backup (G3) and a plan with its way back (G7). */
import { type Finding, pass, warn } from '../finding.ts';
import { readFrozenPlan, stateInstalled } from '../state.ts';
import { durationText } from './amounts.ts';
import { lastBackup } from './history-queries.ts';
import type { Subject } from './subject.ts';

const freshSeconds = 24 * 60 * 60;

export async function historyFindings({ client }: Subject): Promise<Finding[]> {
  return [await backupFinding(client), await planFinding(client)];
}

async function backupFinding(client: Subject['client']): Promise<Finding> {
  const remedy = 'Run `ringfence backup`, which also proves what it holds.';
  const { rows } = (await stateInstalled(client))
    ? await client.query<{ seconds: number | null }>(lastBackup)
    : { rows: [] };
  const seconds = rows[0]?.seconds ?? null;
  if (seconds === null) return warn('backup', undefined, 'No backup was taken with `ringfence backup` (G3).', remedy);
  const age = durationText(seconds * 1000);
  if (seconds > freshSeconds) return warn('backup', undefined, `The last backup is ${age} old (G3).`, remedy);
  return pass('backup', undefined, `The last backup is ${age} old (G3).`);
}

async function planFinding(client: Subject['client']): Promise<Finding> {
  if ((await readFrozenPlan(client)) !== null) {
    return pass('rollback-plan', undefined, 'A plan is frozen; each of its steps says how it is taken back (G7).');
  }
  return warn(
    'rollback-plan',
    undefined,
    'No plan is in force yet; `ringfence apply` freezes one, with its way back (G7).',
    'Read the way back with `ringfence plan --sql --down`; `ringfence rollback` takes it, up to the contract phase.',
  );
}
