/** How far the rollout is, for anybody who asks: reads only, waits for nobody. */
import { type Connection, withConnection } from './connection.ts';
import { type Phase, type Plan, phases } from './plan.ts';
import { type LockHolder, lockHolder } from './run/lock.ts';
import { type Running, readRunning } from './run/running.ts';
import type { Direction, Progress } from './run/step-run.ts';
import { type FrozenPlan, type LedgerEntry, readFrozen, readLedger, stateInstalled } from './state.ts';

export interface PhaseStatus {
  readonly phase: Phase;
  readonly steps: number;
  readonly done: number;
}

export interface StepStatus {
  readonly id: string;
  readonly title: string;
  readonly startedAt: Date | null;
  readonly progress: Progress | null;
}

export interface RolloutStatus {
  /** Null without a plan in force. */
  readonly plan: { readonly hash: string; readonly frozenAt: Date } | null;
  /** The last phase that stands whole, with all before it. */
  readonly reached: Phase | null;
  readonly steps: number;
  readonly done: number;
  readonly phases: readonly PhaseStatus[];
  /** Who works on it at this moment. */
  readonly holder: LockHolder | null;
  readonly direction: Direction | null;
  /** The step at work, or the one that was begun and not ended. */
  readonly step: StepStatus | null;
  /** Why the work is held back, or whom it waits for. */
  readonly note: string | null;
  /** A step was begun and nobody is at work: `apply` or `rollback` goes on. */
  readonly interrupted: boolean;
}

/** @throws Problem `database_unavailable` */
export async function readStatus(url: string): Promise<RolloutStatus> {
  return withConnection(url, 'status', statusOf);
}

/** What `readStatus` does, on a connection that is there. */
export async function statusOf(client: Connection): Promise<RolloutStatus> {
  const holder = await lockHolder(client);
  const frozen = await readFrozen(client);
  if (frozen === null) return { ...nothing, holder };
  const ledger = await readLedger(client, frozen.plan.hash);
  const running = holder === null ? null : await readRunning(client, holder.pid);
  const counts = phases.map((phase) => count(frozen.plan, phase, ledger));
  const step = await stepAtWork(client, frozen, ledger, running);
  return {
    plan: { hash: frozen.plan.hash, frozenAt: frozen.frozenAt },
    reached: reached(counts),
    steps: frozen.plan.steps.length,
    done: counts.reduce((sum, { done }) => sum + done, 0),
    phases: counts,
    holder,
    direction: running?.direction ?? null,
    step,
    note: running?.progress?.note ?? null,
    interrupted: holder === null && step !== null,
  };
}

const nothing: Omit<RolloutStatus, 'holder'> = {
  plan: null,
  reached: null,
  steps: 0,
  done: 0,
  phases: [],
  direction: null,
  step: null,
  note: null,
  interrupted: false,
};

function count(plan: Plan, phase: Phase, ledger: ReadonlyMap<string, LedgerEntry>): PhaseStatus {
  const steps = plan.steps.filter((step) => step.phase === phase);
  return { phase, steps: steps.length, done: steps.filter((step) => ledger.get(step.id)?.state === 'done').length };
}

function reached(counts: readonly PhaseStatus[]): Phase | null {
  const missing = counts.findIndex(({ steps, done }) => done < steps);
  return counts[missing === -1 ? counts.length - 1 : missing - 1]?.phase ?? null;
}

async function stepAtWork(
  client: Connection,
  { plan }: FrozenPlan,
  ledger: ReadonlyMap<string, LedgerEntry>,
  running: Running | null,
): Promise<StepStatus | null> {
  const id = running?.stepId ?? plan.steps.find((step) => ledger.get(step.id)?.state === 'running')?.id;
  const step = plan.steps.find((one) => one.id === id);
  if (!step) return null;
  const entry = ledger.get(step.id);
  return {
    id: step.id,
    title: step.title,
    startedAt: entry?.state === 'running' ? entry.startedAt : null,
    progress: running?.progress ?? (await progressInLedger(client, plan, step.id)),
  };
}

/** What a backfill that nobody is at has done. */
async function progressInLedger(client: Connection, plan: Plan, stepId: string): Promise<Progress | null> {
  if (!(await stateInstalled(client))) return null;
  const { rows } = await client.query<{ done: number; total: number; rows: number }>(
    `select sum(next_block - first_block)::float8 as done, sum(end_block - first_block)::float8 as total,
      sum(rows)::float8 as rows
    from ringfence_rollout.ranges
    where plan_hash = $1 and step_id = $2
    having count(*) > 0`,
    [plan.hash, stepId],
  );
  const [row] = rows;
  if (!row) return null;
  return { ...row, unit: 'blocks', rowsPerSecond: null, secondsLeft: null, note: null };
}
