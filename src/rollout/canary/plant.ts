/** Plants two users who are nobody, with a marked row in every table that can have one, or takes them away. */
import { randomUUID } from 'node:crypto';
import type { ClientBase } from 'pg';
import { problem } from '../../errors.ts';
import { changeAllRows } from '../all-rows.ts';
import { readCatalog, type TableLabel } from '../catalog.ts';
import { identifier } from '../identifier.ts';
import { newStem } from '../synthetic/marks.ts';
import { type Planting, type PlantOptions, plantRows, type Unplanted } from '../synthetic/plant.ts';
import { type Expectation, type Guarded, guardedTables, hasReached } from '../verify/expectation.ts';
import { type Canaries, forgetCanaries, installCanaries, keepCanaries, readCanaries } from './state.ts';

/** What only the product knows: what an account has to be so that nobody can log in, and what to leave alone. */
export type PlantRules = Pick<PlantOptions, 'fixed' | 'leave'>;

export interface PlantedCanaries {
  readonly canaries: Canaries;
  /** Tables with marks in them. */
  readonly tables: readonly TableLabel[];
  /** They were there already; nothing was done. */
  readonly existed: boolean;
  readonly unplanted: readonly Unplanted[];
}

/** @throws Problem `rollout_refused` before the cut-over: nothing would keep the rows from anybody */
export async function plantCanaries(
  client: ClientBase,
  expectation: Expectation,
  rules: PlantRules,
): Promise<PlantedCanaries> {
  if (!hasReached(expectation, 'cutover')) {
    throw problem(
      'rollout_refused',
      'Isolation is not in force here, so everybody would see the canaries. Run `ringfence apply`.',
    );
  }
  const there = await readCanaries(client);
  if (there !== null) return { canaries: there, tables: tablesOf(there), existed: true, unplanted: [] };
  await installCanaries(client);
  const guarded = guardedTables(await readCatalog(client), expectation);
  const stem = newStem();
  const users = [{ who: 'a', id: randomUUID() } as const, { who: 'b', id: randomUUID() } as const];
  const unplanted = await changeAllRows(client, async () => {
    const planting = await plantRows(client, guarded, { ...rules, stem, users });
    await keepCanaries(client, { stem, users, marks: marksOf(planting) });
    return planting.unplanted;
  });
  const canaries = await readCanaries(client);
  if (canaries === null) throw problem('rollout_in_progress', 'Somebody took the canaries away at the same time.');
  return {
    canaries,
    tables: tablesOf(canaries),
    existed: false,
    unplanted: [...unplanted, ...unmarked(guarded, canaries, unplanted)],
  };
}

function marksOf({ planted }: Planting): Canaries['marks'] {
  return planted.flatMap(({ guarded, user, marks }) =>
    marks.map(({ number, column }) => ({ who: user.who, number, table: guarded.label, column })),
  );
}

const tablesOf = ({ marks }: Canaries) => [...new Set(marks.map(({ table }) => table))];

function unmarked(guarded: readonly Guarded[], canaries: Canaries, unplanted: readonly Unplanted[]): Unplanted[] {
  const known = new Set([...tablesOf(canaries), ...unplanted.map(({ table }) => table)]);
  return guarded
    .filter(({ label, isPartition }) => !isPartition && !known.has(label))
    .map(({ label }) => ({ table: label, reason: 'it has rows of theirs, and no column with room for a mark' }));
}

/** @returns how many rows went, by table; null when there were no canaries */
export async function removeCanaries(
  client: ClientBase,
  expectation: Expectation,
): Promise<Readonly<Record<TableLabel, number>> | null> {
  const canaries = await readCanaries(client);
  if (canaries === null) return null;
  const guarded = guardedTables(await readCatalog(client), expectation).filter(({ isPartition }) => !isPartition);
  const ids = canaries.users.map(({ id }) => id);
  return changeAllRows(client, async () => {
    const removed: Record<TableLabel, number> = {};
    let left = guarded;
    // What refers to a row goes before it; circles go by themselves, with what cascades.
    while (left.length > 0) {
      const next = left.filter((one) => !left.some((other) => other !== one && refersTo(other, one)));
      for (const { label, owned } of next.length > 0 ? next : left) {
        const { rowCount } = await client.query(
          `delete from ${label} where ${identifier(owned.ownerColumn)} = any ($1::uuid[])`,
          [ids],
        );
        if (rowCount) removed[label] = rowCount;
      }
      left = next.length > 0 ? left.filter((one) => !next.includes(one)) : [];
    }
    await forgetCanaries(client);
    return removed;
  });
}

const refersTo = ({ table }: Guarded, { label }: Guarded) =>
  table.foreignKeys.some(({ references }) => references === label);
