/** `ringfence plan`: what `apply` would do, step by step, or does. Nothing is changed. */
import { writeFileSync } from 'node:fs';
import type { Config } from '../config.ts';
import { problem } from '../errors.ts';
import { type Catalog, readCatalog } from '../rollout/catalog.ts';
import { withConnection } from '../rollout/connection.ts';
import type { Finding } from '../rollout/finding.ts';
import { type Action, type Estimate, type Phase, type Plan, phases, type Step } from '../rollout/plan.ts';
import { bytesText, durationText } from '../rollout/preflight/amounts.ts';
import { lookUpPlan } from '../rollout/resolve-plan.ts';
import { estimateStep } from '../rollout/step-estimate.ts';
import { withOwnedDatabase } from './database.ts';
import { findingsText } from './findings.ts';
import { printJson, table } from './print.ts';
import { rolloutConfigFor } from './rollout-config-for.ts';

export interface PlanFlags {
  readonly json?: boolean;
  /** A script for psql instead. */
  readonly sql?: boolean;
  /** With `sql`: one transaction, all of it or nothing; the application must stand still. */
  readonly oneTransaction?: boolean;
  /** With `sql`: the way back. */
  readonly down?: boolean;
  readonly until?: Phase;
  /** Shows each step's statements and its inverse. */
  readonly verbose?: boolean;
  /** Path of the rollout's configuration. */
  readonly config?: string;
  /** Keeps the plan in a file, for `apply --plan`. */
  readonly out?: string;
}

interface LookedUp {
  readonly plan: Plan;
  readonly frozen: boolean;
  readonly catalog: Catalog;
  readonly warnings: readonly Finding[];
}

/** @throws Problem `rollout_refused` when no plan can be made, with every reason */
export async function runPlan(config: Config, flags: PlanFlags): Promise<void> {
  if (flags.sql !== true && (flags.oneTransaction || flags.down)) {
    throw problem('usage_error', '--one-transaction and --down are about the script: say --sql too');
  }
  const found = await withOwnedDatabase(config, ({ ownerUrl }) =>
    withConnection(ownerUrl, 'plan', async (client): Promise<LookedUp> => {
      const rollout = await rolloutConfigFor(client, flags.config);
      const looked = await lookUpPlan(client, rollout, { oneTransaction: flags.oneTransaction === true });
      return { warnings: [], ...looked, catalog: looked.catalog ?? (await readCatalog(client)) };
    }),
  );
  if (flags.out !== undefined) writeFileSync(flags.out, `${JSON.stringify(found.plan, null, 2)}\n`);
  if (flags.sql) {
    const { renderScript } = await import('../rollout/script.ts');
    process.stdout.write(
      renderScript(found.plan, {
        oneTransaction: flags.oneTransaction === true,
        direction: flags.down ? 'down' : 'up',
        ...(flags.until === undefined ? {} : { until: flags.until }),
      }),
    );
  } else if (flags.json) printJson(document(found));
  else console.log(planText(found, flags.verbose === true));
}

function document({ plan, frozen, catalog, warnings }: LookedUp) {
  const steps = plan.steps.map((step) => ({ ...step, estimate: estimateStep(step, catalog) }));
  return { hash: plan.hash, database: plan.database, frozen, ownership: plan.ownership, steps, warnings };
}

function planText({ plan, frozen, catalog, warnings }: LookedUp, verbose: boolean): string {
  const head = `Plan ${plan.hash.slice(0, 12)} for the database ${plan.database}${frozen ? ', in force' : ', not begun'}`;
  const parts = [head, ownershipText(plan), ...(warnings.length > 0 ? [findingsText(warnings, false)] : [])];
  for (const phase of phases) parts.push(phaseText(plan, phase, catalog, verbose));
  return [...parts, closing(plan, catalog)].join('\n\n');
}

function ownershipText({ ownership }: Plan): string {
  const owned = ownership.owned.map((entry) => ({
    table: entry.table,
    class: entry.class,
    column: entry.adopted ? `${entry.ownerColumn} (kept)` : entry.ownerColumn,
    owner: entry.reason,
  }));
  const unowned = ownership.unowned.map((entry) => ({ ...entry, column: '', owner: entry.reason }));
  const roles =
    ownership.legacyRoles.length > 0 ? ownership.legacyRoles.join(', ') : 'none (only roles above the policies)';
  return `${table([...owned, ...unowned], ['table', 'class', 'column', 'owner'])}\n\nThe old application's roles, exempt until the seal: ${roles}`;
}

const meanings: Readonly<Record<Phase, string>> = {
  prepare: 'roles, identity, owner columns; metadata only',
  owners: 'the owner of every row, of new ones as they come',
  keys: 'indexes and references with the owner, beside the old ones',
  shadow: 'policies that bind a probe role alone, compared with the truth',
  cutover: 'the policies in force, in one short transaction; the old application goes on',
  seal: 'for when the old application is off: its exemption ends',
  contract: 'keys without the owner go: POINT OF NO RETURN, two users may use one id from here on',
};

function phaseText(plan: Plan, phase: Phase, catalog: Catalog, verbose: boolean): string {
  const steps = plan.steps.filter((step) => step.phase === phase && (step.up !== null || verbose));
  const total = sum(steps.map((step) => estimateStep(step, catalog)));
  const rows = steps.map((step) => ({ ...step, ...costs(step, catalog), table: step.table ?? '', what: step.title }));
  const heading = `${phase.toUpperCase()}  ${meanings[phase]}  (${steps.length} steps, about ${durationText(total.milliseconds)})`;
  if (!verbose) return `${heading}\n${table(rows, ['table', 'what', 'lock', 'about', 'rewrites'])}`;
  return [heading, ...steps.map((step) => stepText(step, catalog))].join('\n\n');
}

function costs(step: Step, catalog: Catalog) {
  const { milliseconds } = estimateStep(step, catalog);
  return { about: durationText(milliseconds), rewrites: step.rewrites ? 'rows' : '' };
}

function stepText(step: Step, catalog: Catalog): string {
  const { about } = costs(step, catalog);
  const head = `-- ${step.id}: ${step.title}\n-- lock: ${step.lock}, about ${about}${step.rewrites ? ', rewrites rows' : ''}`;
  return [head, actionText(step.up), `-- inverse:\n${actionText(step.down)}`].join('\n');
}

function actionText(action: Action | null): string {
  switch (action?.kind) {
    case undefined:
      return '-- nothing';
    case 'sql':
    case 'saveOwners':
      return action.statements.join('\n');
    case 'index':
      return `${action.statement};`;
    case 'dropIndex':
      return `drop index concurrently if exists ${action.schema}.${action.name};`;
    case 'validate':
      return `alter table ${action.table} validate constraint ${action.constraint};`;
    case 'backfill':
      return `${action.sweep.update};`;
    case 'reconcile':
      return action.sweeps.map((sweep) => `${sweep.update};`).join('\n');
    case 'check':
      return `-- must find nothing:\n${action.query};`;
    case 'shadow':
      return '-- compares what the probe role sees with whose the rows are';
  }
}

function sum(estimates: readonly Estimate[]): Estimate {
  return {
    milliseconds: estimates.reduce((total, { milliseconds }) => total + milliseconds, 0),
    walBytes: estimates.reduce((total, { walBytes }) => total + walBytes, 0),
  };
}

function closing(plan: Plan, catalog: Catalog): string {
  const total = sum(plan.steps.map((step) => estimateStep(step, catalog)));
  return [
    `In all about ${durationText(total.milliseconds)} and ${bytesText(total.walBytes)} of WAL; estimates, scaled from one measurement.`,
    '`ringfence apply` runs it up to and with the cut-over. `--verbose` shows the statements, `--sql` a script for psql.',
  ].join('\n');
}
