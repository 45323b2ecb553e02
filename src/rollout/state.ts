/**
 * What the rollout remembers, in the database it works on: the frozen plan, which of its steps are done, how far a
 * backfill is, and what happened. In the database, because only there can an entry commit together with what it tells of.
 */
import type { ClientBase } from 'pg';
import type { Plan } from './plan.ts';
import { installSql } from './state-sql.ts';

/** Held while the schema is made, so that two commands that start at once do not trip over each other. */
const installLock = 7_246_510_041;

/** Makes the schema `ringfence_rollout`, or completes it. Can run again at any time; not inside a transaction. */
export async function installState(client: ClientBase): Promise<void> {
  await client.query('begin');
  try {
    await client.query('select pg_advisory_xact_lock($1)', [installLock]);
    await client.query("set local client_min_messages = 'warning'");
    await client.query(installSql);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => {});
    throw error;
  }
}

/** Whether there is anything to read: commands that only look must not make the schema. */
export async function stateInstalled(client: ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ there: boolean }>(
    "select to_regclass('ringfence_rollout.running') is not null as there",
  );
  return rows[0]?.there === true;
}

export interface FrozenPlan {
  readonly plan: Plan;
  readonly frozenAt: Date;
}

/** The plan in force: the newest that is not wholly taken back. Null before the first and after a whole rollback. */
export async function readFrozenPlan(client: ClientBase): Promise<Plan | null> {
  return (await readFrozen(client))?.plan ?? null;
}

export async function readFrozen(client: ClientBase): Promise<FrozenPlan | null> {
  if (!(await stateInstalled(client))) return null;
  const { rows } = await client.query<FrozenPlan>(`
    select p.document as plan, p.frozen_at as "frozenAt"
    from ringfence_rollout.plans p
    where not exists (select from ringfence_rollout.steps s where s.plan_hash = p.hash)
      or exists (select from ringfence_rollout.steps s where s.plan_hash = p.hash and s.state <> 'undone')
    order by p.frozen_at desc
    limit 1`);
  return rows[0] ?? null;
}

/** Whether there was ever a plan in force. */
export async function everFrozen(client: ClientBase): Promise<boolean> {
  if (!(await stateInstalled(client))) return false;
  const { rows } = await client.query('select from ringfence_rollout.plans limit 1');
  return rows.length > 0;
}

/** Puts a plan in force. One that was taken back begins anew. */
export async function freeze(client: ClientBase, plan: Plan): Promise<void> {
  await client.query(
    `with forgotten as (
      delete from ringfence_rollout.steps s
      where s.plan_hash = $1 and s.state = 'undone'
        and not exists (
          select from ringfence_rollout.steps other where other.plan_hash = $1 and other.state <> 'undone'
        )
    )
    insert into ringfence_rollout.plans (hash, document) values ($1, $2)
    on conflict (hash) do update set frozen_at = clock_timestamp()`,
    [plan.hash, JSON.stringify(plan)],
  );
}

/** Of a plan that was put in force, and of which no step was ever begun. */
export async function forgetUnbegun(client: ClientBase, planHash: string): Promise<void> {
  await client.query(
    `delete from ringfence_rollout.plans p where p.hash = $1
      and not exists (select from ringfence_rollout.steps s where s.plan_hash = p.hash)`,
    [planHash],
  );
}

export type StepState = 'done' | 'undone' | 'running';

export interface LedgerEntry {
  readonly stepId: string;
  readonly state: StepState;
  readonly startedAt: Date;
  readonly finishedAt: Date | null;
  readonly detail: Readonly<Record<string, unknown>>;
}

/** Steps that were ever begun, by id. */
export async function readLedger(client: ClientBase, planHash: string): Promise<ReadonlyMap<string, LedgerEntry>> {
  const { rows } = await client.query<LedgerEntry>(
    `select step_id as "stepId", state, started_at as "startedAt", finished_at as "finishedAt", detail
    from ringfence_rollout.steps
    where plan_hash = $1`,
    [planHash],
  );
  return new Map(rows.map((row) => [row.stepId, row]));
}

/** A step begins: of what came before only the time it began counts, so that a step taken up again keeps it. */
export async function markRunning(client: ClientBase, planHash: string, stepId: string): Promise<void> {
  await client.query(
    `insert into ringfence_rollout.steps as s (plan_hash, step_id, state) values ($1, $2, 'running')
    on conflict (plan_hash, step_id) do update set
      state = 'running',
      started_at = case when s.state = 'running' then s.started_at else clock_timestamp() end,
      finished_at = null`,
    [planHash, stepId],
  );
}

/** Steps that are done may not be any more: they will be run again, or taken back. */
export async function distrust(client: ClientBase, planHash: string, stepIds: readonly string[]): Promise<void> {
  await client.query(
    `update ringfence_rollout.steps set state = 'running', finished_at = null
    where plan_hash = $1 and step_id = any($2) and state = 'done'`,
    [planHash, stepIds],
  );
}

/** Inside the step's own transaction where it has one. */
export async function markDone(
  client: ClientBase,
  planHash: string,
  stepId: string,
  detail: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await markEnded(client, planHash, stepId, 'done', detail);
}

/** Ranges of a step that is taken back are forgotten, so that it is done from the start the next time. */
export async function markUndone(
  client: ClientBase,
  planHash: string,
  stepId: string,
  detail: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await client.query('delete from ringfence_rollout.ranges where plan_hash = $1 and step_id = $2', [planHash, stepId]);
  await markEnded(client, planHash, stepId, 'undone', detail);
}

async function markEnded(
  client: ClientBase,
  planHash: string,
  stepId: string,
  state: StepState,
  detail: Readonly<Record<string, unknown>>,
): Promise<void> {
  await client.query(
    `insert into ringfence_rollout.steps as s (plan_hash, step_id, state, started_at, finished_at, detail)
    values ($1, $2, $3, transaction_timestamp(), clock_timestamp(), $4)
    on conflict (plan_hash, step_id) do update set
      state = excluded.state,
      started_at = case when s.state = 'running' then s.started_at else excluded.started_at end,
      finished_at = excluded.finished_at,
      detail = excluded.detail`,
    [planHash, stepId, state, JSON.stringify(detail)],
  );
}

export interface RecordedEvent {
  readonly at: Date;
  readonly kind: string;
  readonly detail: Readonly<Record<string, unknown>>;
}

/** @param kind a stable word: `backup`, `verify`, `assign`, `apply`, `rollback` */
export async function recordEvent(
  client: ClientBase,
  kind: string,
  detail: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await client.query('insert into ringfence_rollout.events (kind, detail) values ($1, $2)', [
    kind,
    JSON.stringify(detail),
  ]);
}

/** Oldest first. @param kind only these; undefined for all */
export async function readEvents(client: ClientBase, kind?: string): Promise<readonly RecordedEvent[]> {
  if (!(await stateInstalled(client))) return [];
  const { rows } = await client.query<RecordedEvent>(
    'select at, kind, detail from ringfence_rollout.events where $1::text is null or kind = $1 order by number',
    [kind ?? null],
  );
  return rows;
}
