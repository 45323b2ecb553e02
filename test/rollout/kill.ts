/**
 * A rollout that is killed with SIGKILL between every two steps, there and back, comes to the same end as one that is not.
 * First the whole way undisturbed, which also tells what the steps are; then again with the kills.
 */
import { killAfter, killAt, type Point, plantGate, takeSeen } from './gate.ts';
import { busy, same } from './lifecycle.ts';
import { none, type Stage } from './stage.ts';

export interface Kills {
  /** At most so many places of each stretch, spread evenly; Infinity for all. */
  readonly points: number;
  /** Besides, so many moments of a stretch chosen by chance. */
  readonly moments: number;
  /** To the cut-over and back while the old application works; the last phases and back without it. */
  readonly stretches: readonly ('cutover' | 'contract')[];
}

const apply = ['apply'];
const contract = ['apply', '--until', 'contract', '--yes'];
const rollback = ['rollback', '--level', 'database', '--yes'];
const rollbackAll = [...rollback, '--accept-data-loss'];

/** @returns what was done, for whoever watches */
export async function killEverywhere(stage: Stage, kills: Kills): Promise<string> {
  await plantGate(stage);
  await stage.startWriters();
  const killed: string[] = [];
  if (kills.stretches.includes('cutover')) killed.push(...(await killToCutover(stage, kills)));
  if (kills.stretches.includes('contract')) killed.push(...(await killInLastPhases(stage, kills)));
  return `${stage.figures('killed all the time')}\n  killed at ${killed.join(', ')}`;
}

async function killToCutover(stage: Stage, kills: Kills): Promise<string[]> {
  const forth = await seen(stage, apply);
  const cutOver = await stage.schemaNow();
  const back = await seen(stage, rollback);
  same(await stage.schemaNow(), stage.schemaBefore, 'after the undisturbed rollback');

  const killed = [await killing(stage, apply, forth, kills)];
  same(await stage.schemaNow(), cutOver, 'after an apply that was killed all the time');
  await settledAndSound(stage, 'killed on the way forth', true);
  killed.push(await killing(stage, rollback, back, kills));
  same(await stage.schemaNow(), stage.schemaBefore, 'after a rollback that was killed all the time');
  await settledAndSound(stage, 'killed on the way back', false);
  return killed;
}

async function killInLastPhases(stage: Stage, kills: Kills): Promise<string[]> {
  await stage.run(0, ...apply);
  await busy(stage, 10);
  await stage.stopWriters();
  const sealed = await seen(stage, contract);
  const contracted = await stage.schemaNow();
  const reopened = await seen(stage, rollbackAll);
  same(await stage.schemaNow(), stage.schemaBefore, 'after the undisturbed rollback from the last phase');
  await stage.run(0, ...apply);
  const killed = [await killing(stage, contract, sealed, kills)];
  same(await stage.schemaNow(), contracted, 'after the last phases, killed all the time');
  none('owners after the last phases, killed all the time', await stage.faultsInOwners());
  await stage.run(0, 'verify');
  // What lies before the seal is the other stretch's.
  const late = reopened.filter(({ step }) => /^(seal|contract)\b/.test(step));
  killed.push(await killing(stage, rollbackAll, late, kills));
  same(await stage.schemaNow(), stage.schemaBefore, 'after a rollback from the last phase, killed all the time');
  none('rows at the end', await stage.faultsInRows());
  return killed;
}

/** The command undisturbed. */
async function seen(stage: Stage, args: readonly string[]): Promise<readonly Point[]> {
  await takeSeen(stage);
  await stage.run(0, ...args);
  return takeSeen(stage);
}

async function killing(stage: Stage, args: readonly string[], all: readonly Point[], kills: Kills): Promise<string> {
  const points = spread(all, kills.points);
  let hit = 0;
  for (const point of points) if (await killAt(stage, point, args)) hit += 1;
  let byChance = 0;
  for (let moment = 0; moment < kills.moments; moment += 1) {
    // A start takes some hundred milliseconds, of which a run that has little left takes few more.
    if (await killAfter(stage, 150 + Math.random() * 800, args)) byChance += 1;
  }
  await stage.run(0, ...args);
  await takeSeen(stage);
  if (hit < points.length / 2)
    throw new Error(`only ${hit} of ${points.length} points were reached by ${args.join(' ')}`);
  return `${hit} of ${all.length} places of ${args.slice(0, 3).join(' ')} and ${byChance} times by chance`;
}

function spread<T>(all: readonly T[], most: number): readonly T[] {
  if (all.length <= most) return all;
  return Array.from({ length: most }, (_, at) => all[Math.floor(((at + 0.5) * all.length) / most)]).filter(
    (one) => one !== undefined,
  );
}

async function settledAndSound(stage: Stage, when: string, isolated: boolean): Promise<void> {
  await stage.settled(async () => {
    none(`failed writes, ${when}`, stage.faultsInWriters());
    none(`rows, ${when}`, await stage.faultsInRows());
    if (isolated) none(`owners, ${when}`, await stage.faultsInOwners());
  });
}
