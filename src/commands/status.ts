/** `ringfence status`: how far the rollout is, from another terminal as well. */
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock } from '../clock.ts';
import type { Config } from '../config.ts';
import { durationText } from '../rollout/preflight/amounts.ts';
import { type RolloutStatus, readStatus } from '../rollout/status.ts';
import { withOwnedDatabase } from './database.ts';
import { interruptible } from './interrupt.ts';
import { printJson, table, visible } from './print.ts';
import { progressText, thousands } from './progress.ts';

export interface StatusFlags {
  readonly json?: boolean;
  /** Again and again until interrupted; with --json one line each time. */
  readonly watch?: boolean;
}

const everyMs = 1_000;

export async function runStatus(config: Config, { json = false, watch = false }: StatusFlags): Promise<void> {
  await withOwnedDatabase(config, async ({ ownerUrl }) => {
    if (!watch) {
      const status = await readStatus(ownerUrl);
      if (json) printJson(status);
      else console.log(statusText(status, systemClock.now()));
      return;
    }
    await interruptible(
      () => {},
      async (signal) => {
        while (!signal.aborted) {
          const status = await readStatus(ownerUrl);
          const clear = process.stdout.isTTY ? '\u001b[H\u001b[J' : '';
          console.log(json ? JSON.stringify(status) : `${clear}${statusText(status, systemClock.now())}`);
          await delay(everyMs, undefined, { signal }).catch(() => {});
        }
      },
    );
  });
}

/** @param now milliseconds since 1970 */
export function statusText(status: RolloutStatus, now: number): string {
  const { plan, holder } = status;
  const atWork =
    holder === null
      ? 'nobody is at work'
      : `${holder.application}, pid ${holder.pid}${holder.address === null ? '' : ` from ${holder.address}`}` +
        `${holder.since === null ? '' : `, for ${durationText(now - holder.since.getTime())}`}`;
  if (plan === null) {
    return lines([
      ['Plan', 'none is in force; `ringfence plan` shows what would be done'],
      ['At work', atWork],
    ]);
  }
  const head: [string, string][] = [
    ['Plan', `${plan.hash.slice(0, 12)}, frozen ${plan.frozenAt.toISOString()}`],
    ['Reached', status.reached ?? 'no phase yet'],
    ['Steps', `${status.done} of ${status.steps} done`],
    ['At work', atWork],
    ...stepLines(status),
  ];
  return `${lines(head)}\n\n${table(status.phases, ['phase', 'done', 'steps'])}`;
}

function stepLines({ step, direction, interrupted, note }: RolloutStatus): [string, string][] {
  if (step === null) return [];
  const progress = step.progress === null ? '' : progressText({ ...step.progress, note: null });
  return [
    [interrupted ? 'Begun' : direction === 'down' ? 'Taking back' : 'Step', `${step.id}: ${step.title}`],
    ...(progress === '' ? [] : ([['Progress', progress]] satisfies [string, string][])),
    ...(step.progress && step.progress.rows > 0
      ? ([['Rows', thousands(step.progress.rows)]] satisfies [string, string][])
      : []),
    ...(note === null ? [] : ([['Note', note]] satisfies [string, string][])),
    ...(interrupted
      ? ([['Go on', '`ringfence apply`, or `ringfence rollback` to take it back']] satisfies [string, string][])
      : []),
  ];
}

function lines(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${visible(value)}`).join('\n');
}
