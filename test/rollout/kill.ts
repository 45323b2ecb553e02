/**
 * A rollout that is killed with SIGKILL between every two steps, there and back, comes to the same end as one that is not:
 * the command itself, or the Postgres that it works on. First the whole way undisturbed, which also tells what the steps
 * are; then once more on the same database, killed at each step and gone on with.
 */
import { crashAt } from './crash.ts';
import { killAfter, killAt, type Point, plantGate, takeSeen } from './gate.ts';
import { busy, same } from './lifecycle.ts';
import type { Server } from './server.ts';
import { none, type Stage } from './stage.ts';

export type Victim = 'command' | 'postgres';

export interface Kills {
  /** At most so many places of each stretch, spread evenly; Infinity for all. */
  readonly points: number;
  /** Who is killed at the places, in turns. */
  readonly victims: readonly [Victim, ...Victim[]];
  /** Besides the command, so many moments of a stretch chosen by chance. */
  readonly moments: number;
  /** To the cut-over and back while the old application works; the last phases and back without it. */
  readonly stretches: readonly ('cutover' | 'contract')[];
}

const apply = ['apply'];
const contract = ['apply', '--until', 'contract', '--yes'];
const rollback = ['rollback', '--level', 'database', '--yes'];
const rollbackAll = [...rollback, '--accept-data-loss'];

interface Killing {
  readonly stage: Stage;
  readonly server: Server;
  readonly kills: Kills;
}

/** Says what it has done as it goes, for whoever watches. */
export async function killEverywhere(stage: Stage, server: Server, kills: Kills): Promise<void> {
  const killing = { stage, server, kills };
  await plantGate(stage);
  await stage.startWriters();
  if (kills.stretches.includes('cutover')) await killToCutover(killing);
  if (kills.stretches.includes('contract')) await killInLastPhases(killing);
  console.log(stage.figures('killed all the time'));
}

async function killToCutover(killing: Killing): Promise<void> {
  const { stage } = killing;
  const forth = await seen(stage, apply);
  const cutOver = await stage.schemaNow();
  const back = await seen(stage, rollback);
  same(await stage.schemaNow(), stage.schemaBefore, 'after the undisturbed rollback');

  await killAlong(killing, apply, forth);
  same(await stage.schemaNow(), cutOver, 'after an apply that was killed all the time');
  await settledAndSound(stage, 'killed on the way forth', true);
  await killAlong(killing, rollback, back);
  same(await stage.schemaNow(), stage.schemaBefore, 'after a rollback that was killed all the time');
  await settledAndSound(stage, 'killed on the way back', false);
}

async function killInLastPhases(killing: Killing): Promise<void> {
  const { stage } = killing;
  await stage.run(0, ...apply);
  await busy(stage, 10);
  await stage.stopWriters();
  const sealed = await seen(stage, contract);
  const contracted = await stage.schemaNow();
  const reopened = await seen(stage, rollbackAll);
  same(await stage.schemaNow(), stage.schemaBefore, 'after the undisturbed rollback from the last phase');
  await stage.run(0, ...apply);
  await killAlong(killing, contract, sealed);
  same(await stage.schemaNow(), contracted, 'after the last phases, killed all the time');
  none('owners after the last phases, killed all the time', await stage.faultsInOwners());
  await stage.run(0, 'verify');
  // What lies before the seal is the other stretch's.
  const late = reopened.filter(({ step }) => /^(seal|contract)\b/.test(step));
  await killAlong(killing, rollbackAll, late);
  same(await stage.schemaNow(), stage.schemaBefore, 'after a rollback from the last phase, killed all the time');
  none('rows at the end', await stage.faultsInRows());
}

/** The command undisturbed. */
async function seen(stage: Stage, args: readonly string[]): Promise<readonly Point[]> {
  await takeSeen(stage);
  await stage.run(0, ...args);
  return takeSeen(stage);
}

const sayEveryMs = 30_000;

/** Along one pass of the command: each run of it is killed a step further on, and the last one comes to the end. */
async function killAlong({ stage, server, kills }: Killing, args: readonly string[], all: readonly Point[]) {
  const points = spread(all, kills.points);
  const done = { command: 0, postgres: 0, byChance: 0 };
  const began = Date.now();
  const said = () =>
    `${stage.shape.name}: ${args.slice(0, 3).join(' ')} killed ${done.command} times and its Postgres ${done.postgres} times, at ${points.length} places of ${all.length}, besides ${done.byChance} by chance; ${Math.round((Date.now() - began) / 1000)} s`;
  let next = began + sayEveryMs;
  for (const [at, point] of points.entries()) {
    const victim = kills.victims[at % kills.victims.length] ?? kills.victims[0];
    const kill = () => (victim === 'command' ? killAt(stage, point, args) : crashAt(stage, server, point, args));
    if (await kill()) done[victim] += 1;
    if (Date.now() < next) continue;
    console.log(`${said()} so far`);
    next = Date.now() + sayEveryMs;
  }
  for (let moment = 0; moment < kills.moments; moment += 1) {
    // A start takes some hundred milliseconds, of which a run that has little left takes few more.
    if (await killAfter(stage, 150 + Math.random() * 800, args)) done.byChance += 1;
  }
  await stage.run(0, ...args);
  await takeSeen(stage);
  console.log(said());
  if (done.command + done.postgres < points.length / 2) throw new Error(`too few: ${said()}`);
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
