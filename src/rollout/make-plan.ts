/** Makes the plan of a database: what is there, whose it is, and the steps from one to the other. */
import type { ClientBase } from 'pg';
import { problem } from '../errors.ts';
import { type Catalog, readCatalog } from './catalog.ts';
import { readDatabasePrivileges } from './database-privileges.ts';
import { decideOwnership } from './decide-ownership.ts';
import { type ExtraWork, noExtraWork } from './extras.ts';
import type { Finding } from './finding.ts';
import { freezePlan, type Phase, type Plan, phases } from './plan.ts';
import type { RolloutConfig } from './rollout-config.ts';
import { collisions, contract } from './steps/contract.ts';
import { cutover } from './steps/cutover.ts';
import { keys } from './steps/keys.ts';
import { owners } from './steps/owners.ts';
import { prepare, schemasOf } from './steps/prepare.ts';
import { seal } from './steps/seal.ts';
import { shadow } from './steps/shadow.ts';
import type { PlanContext } from './steps/step.ts';
import { unsupported } from './unsupported.ts';

export interface MadePlan {
  readonly plan: Plan;
  readonly catalog: Catalog;
  /** What was decided that should be known; never a fail. */
  readonly warnings: readonly Finding[];
}

export interface PlanOptions {
  /** For a script that is one transaction: nothing that only serves a running old application. */
  readonly oneTransaction?: boolean;
}

/** @throws Problem `rollout_refused` with every finding, when a table cannot be classified or cannot be rolled out */
export async function makePlan(
  client: ClientBase,
  config: RolloutConfig,
  { oneTransaction = false }: PlanOptions = {},
): Promise<MadePlan> {
  const catalog = await readCatalog(client);
  const { ownership, findings } = await decideOwnership(client, catalog, config);
  const all = [...findings, ...unsupported(catalog, ownership)];
  const refused = all.filter((finding) => finding.severity === 'fail');
  if (refused.length > 0) {
    const lines = refused.map((f) => `${f.object ?? 'the database'}: ${f.message} ${f.remedy ?? ''}`.trim());
    throw problem('rollout_refused', `No plan can be made:\n${lines.join('\n')}`, { findings: refused });
  }
  if (ownership.owned.length === 0)
    throw problem('rollout_refused', 'No plan can be made: no table is owned by anybody.');
  const labels = ownership.owned.flatMap((table) => [table.table, ...table.partitions]);
  const database = await readDatabasePrivileges(client, labels, schemasOf({ catalog, ownership }));
  const { extraWork = noExtraWork } = config;
  const { extras } = extraWork;
  const steps = allSteps({ catalog, ownership, database, extras, oneTransaction }, extraWork);
  return { plan: freezePlan(catalog.database, ownership, steps, extras), catalog, warnings: all };
}

const builders = { prepare, owners, keys, shadow, cutover, seal, contract };

/**
 * In one transaction the policies come last: taken back they go first, or they would bind whoever has to read the rows
 * to take the rest back.
 */
const inOneTransaction: readonly Phase[] = ['prepare', 'owners', 'keys', 'contract', 'shadow', 'cutover', 'seal'];

function allSteps(context: PlanContext, { steps }: ExtraWork) {
  const extra = steps(context);
  const made = (context.oneTransaction ? inOneTransaction : phases).flatMap((phase) => [
    ...builders[phase](context),
    ...extra.filter((step) => step.phase === phase),
    // The first thing that is looked at on the way back.
    ...(phase === 'contract' ? [collisions(context)] : []),
  ]);
  if (!context.oneTransaction) return made;
  return made.filter((step) => !step.onlineOnly && (step.up !== null || step.down !== null));
}
