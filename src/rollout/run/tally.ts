/** What a run amounts to. */
import { monotonicMs } from '../../clock.ts';
import type { Connection } from '../connection.ts';
import type { Plan, Step } from '../plan.ts';
import { readLedger } from '../state.ts';
import type { Detail, Direction } from './step-run.ts';

export interface RunSummary {
  readonly direction: Direction;
  readonly planHash: string;
  /** Steps that were run now. */
  readonly steps: number;
  readonly milliseconds: number;
  readonly rows: number;
  /** WAL of the whole server meanwhile; null where it cannot be read. */
  readonly walBytes: number | null;
  /** The longest that a step may have kept somebody waiting: from its first request for a lock to its commit. */
  readonly longestLockMs: number;
  readonly longestLockStep: string | null;
  /** Rows that stood in the way back and were set aside. */
  readonly displaced: number;
  /** Steps of the plan that are not done now. */
  readonly left: number;
}

export interface Tally {
  add(step: Step, detail: Detail): void;
  end(client: Connection): Promise<RunSummary>;
}

export async function startTally(direction: Direction, plan: Plan, before: Connection): Promise<Tally> {
  const walAtStart = await walPosition(before);
  const started = monotonicMs();
  let [steps, rows, displaced, longestLockMs] = [0, 0, 0, 0];
  let longestLockStep: string | null = null;
  return {
    add(step, detail) {
      steps++;
      rows += detail.rows ?? 0;
      displaced += detail.displaced ?? 0;
      if ((detail.lockMs ?? 0) <= longestLockMs) return;
      longestLockMs = detail.lockMs ?? 0;
      longestLockStep = step.id;
    },
    async end(client) {
      const walNow = await walPosition(client);
      const ledger = await readLedger(client, plan.hash);
      return {
        direction,
        planHash: plan.hash,
        steps,
        milliseconds: Math.round(monotonicMs() - started),
        rows,
        walBytes: walAtStart === null || walNow === null ? null : walNow - walAtStart,
        longestLockMs,
        longestLockStep,
        displaced,
        left: plan.steps.filter((step) => ledger.get(step.id)?.state !== 'done').length,
      };
    },
  };
}

async function walPosition(client: Connection): Promise<number | null> {
  try {
    const { rows } = await client.query<{ bytes: number }>("select (pg_current_wal_lsn() - '0/0')::float8 as bytes");
    return rows[0]?.bytes ?? null;
  } catch {
    return null;
  }
}
