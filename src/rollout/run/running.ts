/** What a running command tells of itself in the database, so that `status` elsewhere can show it. */
import type { ClientBase } from 'pg';
import { stateInstalled } from '../state.ts';
import type { Direction, Progress } from './step-run.ts';

export interface Running {
  /** The backend that holds the rollout's lock: an entry of another one is left over. */
  readonly pid: number;
  readonly direction: Direction;
  readonly stepId: string;
  readonly progress: Progress | null;
}

export async function writeRunning(client: ClientBase, running: Running): Promise<void> {
  await client.query(
    `insert into ringfence_rollout.running (document) values ($1)
    on conflict (one) do update set at = clock_timestamp(), document = excluded.document`,
    [JSON.stringify(running)],
  );
}

export async function clearRunning(client: ClientBase): Promise<void> {
  await client.query('delete from ringfence_rollout.running');
}

/** @param holder the backend that has the lock now */
export async function readRunning(client: ClientBase, holder: number): Promise<Running | null> {
  if (!(await stateInstalled(client))) return null;
  const { rows } = await client.query<{ document: Running }>('select document from ringfence_rollout.running');
  const document = rows[0]?.document;
  return document?.pid === holder ? document : null;
}
