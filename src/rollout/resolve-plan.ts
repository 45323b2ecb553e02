/** The plan a command works with: the one in force in the database, else one made now. */
import type { ClientBase } from 'pg';
import { problem } from '../errors.ts';
import { type MadePlan, makePlan, type PlanOptions } from './make-plan.ts';
import { readOwnerLists } from './owner-lists.ts';
import type { Plan } from './plan.ts';
import type { RolloutConfig } from './rollout-config.ts';
import { freeze, installState, readFrozenPlan } from './state.ts';

export interface ResolvedPlan {
  readonly plan: Plan;
  /** Frozen before: it is gone on with, whatever the configuration says now. */
  readonly frozen: boolean;
}

/** For commands that only look: nothing is written. @throws Problem `rollout_refused` */
export async function lookUpPlan(
  client: ClientBase,
  config: RolloutConfig,
  options: PlanOptions = {},
): Promise<ResolvedPlan & Partial<MadePlan>> {
  // The plan in force is for a running application; the other kind is a script's alone.
  const plan = options.oneTransaction ? null : await readFrozenPlan(client);
  if (plan !== null) return { plan, frozen: true };
  return { ...(await makePlan(client, config, options)), frozen: false };
}

/**
 * For `apply`: what is made now is put in force, with the lists of owners that it needs.
 *
 * @param expected a plan that was looked at before; it has to be the one that would be made
 */
export async function resolvePlan(client: ClientBase, config: RolloutConfig, expected?: string): Promise<ResolvedPlan> {
  const found = await lookUpPlan(client, config);
  if (expected !== undefined && expected !== found.plan.hash) {
    throw problem(
      'rollout_refused',
      `The plan given (${expected.slice(0, 12)}) is not the one ${found.frozen ? 'in force' : 'that this database needs now'} (${found.plan.hash.slice(0, 12)}): ${found.frozen ? 'a rollout is under way' : 'the database or the configuration has changed since'}. Run \`ringfence plan\` again.`,
    );
  }
  if (found.frozen) return found;
  await installState(client);
  await readOwnerLists(client, config);
  await freeze(client, found.plan);
  return { plan: found.plan, frozen: false };
}
