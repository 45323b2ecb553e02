/** `ringfence apply`: runs the plan in force, or makes one and puts it in force. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { monotonicMs } from '../clock.ts';
import type { Config } from '../config.ts';
import { problem } from '../errors.ts';
import { type Connection, messageOf, withConnection } from '../rollout/connection.ts';
import { isOneTransaction, type Phase, type Plan, phases, type Step, upTo } from '../rollout/plan.ts';
import { bytesText, durationText } from '../rollout/preflight/amounts.ts';
import { lookUpPlan, resolvePlan } from '../rollout/resolve-plan.ts';
import type { RolloutConfig } from '../rollout/rollout-config.ts';
import { applyPlan } from '../rollout/run/runner.ts';
import type { RunSummary } from '../rollout/run/tally.ts';
import { defaultLimits, type ThrottleLimits } from '../rollout/run/throttle.ts';
import { readLedger } from '../rollout/state.ts';
import { withOwnedDatabase } from './database.ts';
import { interruptible } from './interrupt.ts';
import { printJson, table, visible } from './print.ts';
import { progressTo, thousands } from './progress.ts';
import { provisionOwn } from './provision-own.ts';
import { rolloutConfigFor } from './rollout-config-for.ts';

export interface ApplyFlags {
  readonly json?: boolean;
  readonly config?: string;
  /** What `ringfence plan --out` wrote: it has to be the plan that is run. */
  readonly plan?: string;
  readonly until?: Phase;
  readonly dryRun?: boolean;
  readonly workers?: number;
  /** Seconds. */
  readonly maxLag?: number;
  /** MB a second. */
  readonly maxWalRate?: number;
  readonly maxProbeMs?: number;
  readonly maxDeadRatio?: number;
  /** Says that the old application is off, which `seal` and `contract` take for granted. */
  readonly yes?: boolean;
  /** Seal although sessions of the old application are there. */
  readonly force?: boolean;
}

const say = (text: string) => process.stderr.write(`${text}\n`);

/** @throws Problem `usage_error`, `config_invalid`, and what `applyPlan` throws */
export async function runApply(config: Config, flags: ApplyFlags): Promise<void> {
  const { until = 'cutover', json = false } = flags;
  const expected = flags.plan === undefined ? undefined : hashIn(flags.plan);
  await withOwnedDatabase(config, async (database) => {
    const { ownerUrl } = database;
    if (flags.dryRun) {
      await withConnection(ownerUrl, 'apply', async (client) => {
        const { plan } = await lookUpPlan(client, await rolloutConfigFor(client, flags.config));
        if (expected !== undefined && expected !== plan.hash) throw otherPlan(expected, plan);
        showSteps(await stepsLeft(client, plan, until), json);
      });
      return;
    }
    const { plan, throttle } = await withConnection(ownerUrl, 'apply', async (client) => {
      const rollout = await rolloutConfigFor(client, flags.config);
      const resolved = await resolvePlan(client, rollout, expected);
      await refuseHalfTakenBack(client, resolved.plan);
      requireConsent(await stepsLeft(client, resolved.plan, until), flags);
      return { plan: resolved.plan, throttle: throttleLimits(flags, rollout) };
    });
    const summary = await interruptible(sayStopping, (signal) =>
      applyPlan(ownerUrl, plan, {
        until,
        force: flags.force === true,
        signal,
        onEvent: progressTo(process.stderr, monotonicMs),
        ...(flags.workers === undefined ? {} : { workers: flags.workers }),
        throttle,
      }),
    );
    await provisionOwn(config, database);
    if (json) printJson(summary);
    else console.log(summaryText(summary, plan));
  });
}

export function sayStopping(): void {
  say('Stopping at the next good place; interrupt again to stop at once (nothing that is done is lost).');
}

/** A flag outweighs the file, and the file the defaults. */
export function throttleLimits(flags: ApplyFlags, { throttle: said = defaultLimits }: RolloutConfig): ThrottleLimits {
  return {
    maxLagSeconds: flags.maxLag ?? said.maxLagSeconds,
    maxWalMBPerSecond: flags.maxWalRate ?? said.maxWalMBPerSecond,
    maxProbeMs: flags.maxProbeMs ?? said.maxProbeMs,
    maxDeadRatio: flags.maxDeadRatio ?? said.maxDeadRatio,
  };
}

const planDocument = z.union([
  z.object({ hash: z.string() }),
  z.object({ plan: z.object({ hash: z.string() }) }).transform(({ plan }) => plan),
]);

function hashIn(file: string): string {
  try {
    return planDocument.parse(JSON.parse(readFileSync(file, 'utf8'))).hash;
  } catch (cause) {
    const reason = cause instanceof z.ZodError ? 'it has no hash' : messageOf(cause);
    throw problem(
      'usage_error',
      `--plan: ${file} is not what \`ringfence plan --out\` writes: ${reason}`,
      {},
      { cause },
    );
  }
}

function otherPlan(expected: string, plan: Plan): Error {
  return problem(
    'rollout_refused',
    `The plan given (${expected.slice(0, 12)}) is not the one that would be run (${plan.hash.slice(0, 12)}).`,
  );
}

async function stepsLeft(client: Connection, plan: Plan, until: Phase): Promise<readonly Step[]> {
  const installed = await client.query<{ there: boolean }>(
    "select to_regclass('ringfence_rollout.steps') is not null as there",
  );
  const ledger = installed.rows[0]?.there ? await readLedger(client, plan.hash) : new Map();
  return upTo(plan, until).filter((step) => ledger.get(step.id)?.state !== 'done');
}

/** Forwards again, a step at a time, it would meet an application that it is not made for. */
async function refuseHalfTakenBack(client: Connection, plan: Plan): Promise<void> {
  if (!isOneTransaction(plan) || (await stepsLeft(client, plan, 'contract')).length === 0) return;
  throw problem(
    'rollout_refused',
    'The plan in force is that of a script in one transaction, and a part of it was taken back. Take back the rest with `ringfence rollback --level database --yes`; after that `apply` begins anew.',
  );
}

function showSteps(steps: readonly Step[], json: boolean): void {
  if (json) printJson({ steps });
  else if (steps.length === 0) console.log('Nothing is left to do.');
  else console.log(table(steps, ['id', 'title', 'lock']));
}

/** From the seal on the old application can do nothing: who turns that on must have said that it is off. */
function requireConsent(left: readonly Step[], { yes = false, until }: ApplyFlags): void {
  const ending = left.find((step) => phases.indexOf(step.phase) >= phases.indexOf('seal'));
  if (!ending || yes) return;
  throw problem(
    'usage_error',
    ending.phase === 'seal'
      ? `--until ${until}: from the phase \`seal\` on the old application can neither read nor write. Say --yes when it is off.`
      : `--until ${until}: the phase \`contract\` is the point of no return. Say --yes to go on.`,
  );
}

function summaryText(summary: RunSummary, plan: Plan): string {
  const next = nextPhase(summary, plan);
  return [
    summary.steps === 0
      ? 'Nothing was left to do.'
      : `${summary.steps} ${summary.steps === 1 ? 'step' : 'steps'} done in ${durationText(summary.milliseconds)}.`,
    ...(summary.rows > 0 ? [`  Rows changed    ${thousands(summary.rows)}`] : []),
    ...(summary.walBytes === null ? [] : [`  WAL written     ${bytesText(summary.walBytes)} (by everybody)`]),
    ...(summary.longestLockStep === null
      ? []
      : [`  Longest lock    ${summary.longestLockMs} ms (${visible(summary.longestLockStep)})`]),
    `  Steps left      ${summary.left}`,
    ...(next === null ? [] : ['', ...next]),
  ].join('\n');
}

function nextPhase({ left }: RunSummary, { steps }: Plan): string[] | null {
  if (left === 0) return ['The rollout is complete. `ringfence verify` proves it.'];
  // Phases are whole after a run, so that what is left are the last ones.
  const first = steps[steps.length - left];
  if (first?.phase === 'seal') {
    return [
      'The policies are in force, and the old application goes on as before. `ringfence verify` proves it.',
      'When the old application is off: `ringfence apply --until seal --yes`, and in the end',
      '`ringfence apply --until contract --yes`.',
    ];
  }
  if (first === undefined) return null;
  const command = first.phase === 'contract' ? 'ringfence apply --until contract --yes' : 'ringfence apply';
  return [`Next: \`${command}\` (phase ${first.phase}).`];
}
