/** What a database should look like by now: as its plan in force says, or as our own migrations leave it. */

import { ownExtras, ownSchema } from '../database/own-rollout.ts';
import type { Connection } from '../rollout/connection.ts';
import { readFrozenPlan, readLedger } from '../rollout/state.ts';
import { type Expectation, reachedPhase } from '../rollout/verify/expectation.ts';

/** The migration that isolates our own schema. */
const isolationVersion = 3;

/** Null where there is neither a plan nor our own schema at 003. */
export async function readExpectation(client: Connection): Promise<Expectation | null> {
  const plan = await readFrozenPlan(client);
  if (plan === null) {
    const own = await isOwnSchema(client);
    return own ? { ownership: ownSchema, reached: 'contract', extras: ownExtras } : null;
  }
  const ledger = await readLedger(client, plan.hash);
  const done = new Set([...ledger].filter(([, { state }]) => state === 'done').map(([id]) => id));
  return { ownership: plan.ownership, reached: reachedPhase(plan, done), extras: plan.extras };
}

async function isOwnSchema(client: Connection): Promise<boolean> {
  const { rows: ledgers } = await client.query<{ there: boolean }>(
    "select to_regclass('public.ringfence_migrations') is not null as there",
  );
  if (ledgers[0]?.there !== true) return false;
  const { rows } = await client.query<{ version: number | null }>(
    'select max(version)::int as version from public.ringfence_migrations',
  );
  return (rows[0]?.version ?? 0) >= isolationVersion;
}
