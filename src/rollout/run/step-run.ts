/** What the actions of a plan are given to run with, and what they tell. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from '../connection.ts';
import type { Step } from '../plan.ts';
import type { ThrottleLimits } from './throttle.ts';

export type Direction = 'up' | 'down';

/** How far a step is. */
export interface Progress {
  /** In `unit`s; total is null where nobody knows. */
  readonly done: number;
  readonly total: number | null;
  readonly unit: 'blocks' | 'rows' | 'percent';
  /** Rows changed so far. */
  readonly rows: number;
  readonly rowsPerSecond: number | null;
  readonly secondsLeft: number | null;
  /** What it waits for, or why it goes slowly. */
  readonly note: string | null;
}

export type RunEvent =
  | { readonly kind: 'begin'; readonly direction: Direction; readonly steps: number; readonly left: number }
  | {
      readonly kind: 'step';
      readonly direction: Direction;
      readonly step: Step;
      readonly number: number;
      readonly of: number;
    }
  | { readonly kind: 'progress'; readonly step: Step; readonly progress: Progress }
  | { readonly kind: 'note'; readonly message: string }
  | {
      readonly kind: 'stepDone';
      readonly direction: Direction;
      readonly step: Step;
      readonly number: number;
      readonly of: number;
      readonly milliseconds: number;
      readonly detail: Detail;
    };

/** What the ledger keeps of a step: how long its locks were held, how many rows it changed. */
export interface Detail {
  readonly rows?: number;
  readonly attempts?: number;
  readonly displaced?: number;
  /** From the first request for a lock to the commit: what somebody else may have waited. */
  readonly lockMs?: number;
  readonly [further: string]: unknown;
}

export interface StepRun {
  readonly url: string;
  /** The connection that holds the rollout's lock. */
  readonly client: Connection;
  /** Looks on a connection of its own, one after the other, while the others are busy. */
  observe<T>(look: (client: Connection) => Promise<T>): Promise<T>;
  readonly planHash: string;
  readonly step: Step;
  readonly direction: Direction;
  /** Aborted when the run is to stop at the next good place. */
  readonly signal: AbortSignal;
  readonly options: RunSettings;
  /** What a check finds in the way is set aside, where its action says how. */
  readonly acceptDataLoss: boolean;
  /** The seal does not ask whether the old application is off. */
  readonly force: boolean;
  /** Writes the step's end to the ledger: in the action's own transaction where it has one. */
  finish(client: Connection, detail: Detail): Promise<void>;
  report(progress: Partial<Progress>): void;
  say(message: string): void;
}

export interface RunSettings {
  readonly workers: number;
  readonly throttle: ThrottleLimits;
  /** How long an action under a short lock is tried again. */
  readonly lockRetryMs: number;
  /** How long a range waits for rows that somebody else has locked. */
  readonly rowLockRetryMs: number;
}

export const defaultSettings: Omit<RunSettings, 'throttle'> = {
  workers: 2,
  lockRetryMs: 120_000,
  rowLockRetryMs: 600_000,
};

/** The run was asked to stop, and did at a good place. */
export class Stopped extends Error {
  override readonly name = 'Stopped';
}

export function stopIfAsked(signal: AbortSignal): void {
  if (signal.aborted) throw new Stopped('stopped as asked');
}

/** @throws Stopped as soon as the run is to stop */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await delay(milliseconds, undefined, { signal }).catch(() => {});
  stopIfAsked(signal);
}

const firstWaitMs = 50;
const longestWaitMs = 2_000;

/** Full jitter: two who met once do not meet again. @param attempt from 0 */
export function retryDelay(attempt: number): number {
  return 5 + Math.random() * Math.min(longestWaitMs, firstWaitMs * 2 ** attempt);
}
