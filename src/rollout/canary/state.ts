/**
 * Which canaries there are: two users who are nobody, and where their marks stand. Kept beside the rollout's state, where
 * its owner alone reads; whoever knew the marks could keep them out of what he takes away.
 */
import type { ClientBase } from 'pg';
import type { TableLabel } from '../catalog.ts';
import { ownerAlone } from '../owner-alone.ts';
import { installState } from '../state.ts';
import type { Who } from '../synthetic/marks.ts';

export interface CanaryUser {
  readonly who: Who;
  readonly id: string;
}

export interface CanaryMark {
  readonly who: Who;
  readonly number: number;
  readonly table: TableLabel;
  readonly column: string;
}

export interface Canaries {
  readonly stem: string;
  readonly users: readonly CanaryUser[];
  readonly marks: readonly CanaryMark[];
  readonly plantedAt: Date;
}

const installSql = `
create table if not exists ringfence_rollout.canaries (
  one boolean primary key default true check (one),
  stem text not null,
  users jsonb not null,
  marks jsonb not null,
  planted_at timestamptz not null default clock_timestamp()
);
${ownerAlone('ringfence_rollout')}`;

/** Not inside a transaction. */
export async function installCanaries(client: ClientBase): Promise<void> {
  await installState(client);
  await client.query(installSql);
}

export async function readCanaries(client: ClientBase): Promise<Canaries | null> {
  const { rows: there } = await client.query<{ there: boolean }>(
    "select to_regclass('ringfence_rollout.canaries') is not null as there",
  );
  if (there[0]?.there !== true) return null;
  const { rows } = await client.query<Canaries>(
    'select stem, users, marks, planted_at as "plantedAt" from ringfence_rollout.canaries',
  );
  return rows[0] ?? null;
}

/** As parameters: a statement's text is kept where others read it. */
export async function keepCanaries(
  client: ClientBase,
  { stem, users, marks }: Omit<Canaries, 'plantedAt'>,
): Promise<void> {
  await client.query('insert into ringfence_rollout.canaries (stem, users, marks) values ($1, $2, $3)', [
    stem,
    JSON.stringify(users),
    JSON.stringify(marks),
  ]);
}

export async function forgetCanaries(client: ClientBase): Promise<void> {
  await client.query('delete from ringfence_rollout.canaries');
}
