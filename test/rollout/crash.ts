/** Postgres itself is killed with SIGKILL in the middle of a rollout: apply says so, and comes to its end afterwards. */
import { demand } from './command.ts';
import { type Point, plantGate, takeSeen } from './gate.ts';
import { same, until } from './lifecycle.ts';
import type { Server } from './server.ts';
import { none, type Stage } from './stage.ts';

const apply = ['apply'];
const rollback = ['rollback', '--level', 'database', '--yes'];

/** @param crashes how many times on the way forth, and as many on the way back */
export async function crashAlong(stage: Stage, server: Server, crashes: number): Promise<void> {
  await plantGate(stage);
  await stage.startWriters();
  await stage.run(0, ...apply);
  const cutOver = await stage.schemaNow();
  const forth = await takeSeen(stage);
  await stage.run(0, ...rollback);
  const back = await takeSeen(stage);
  await crashing(stage, server, apply, some(forth, crashes));
  same(await stage.schemaNow(), cutOver, 'after an apply during which Postgres crashed');
  await stage.settled(async () => {
    none('writes', stage.faultsInWriters());
    none('rows', await stage.faultsInRows());
    none('owners', await stage.faultsInOwners());
  });
  await crashing(stage, server, rollback, some(back, crashes));
  await stage.settled(async () => {
    same(await stage.schemaNow(), stage.schemaBefore, 'after a rollback during which Postgres crashed');
    none('writes', stage.faultsInWriters());
    none('rows', await stage.faultsInRows());
  });
  console.log(stage.figures(`Postgres killed ${2 * crashes} times`));
}

async function crashing(
  stage: Stage,
  server: Server,
  args: readonly string[],
  points: readonly Point[],
): Promise<void> {
  for (const point of points) {
    await stage.asOwner((client) =>
      client.query('insert into ringfence_rollout.test_stop values ($1, $2)', [point.step, point.state]),
    );
    const { outcome } = stage.start(...args);
    await stage.asOwner((client) =>
      until(60_000, `${args[0]} to come to ${point.step} (${point.state})`, async () => {
        const { rows } = await client.query(
          `select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`,
        );
        return rows.length > 0;
      }),
    );
    const restart = await server.crash();
    const { stdout, stderr } = demand(3, await outcome);
    if (!/^ringfence: .*(connection|Postgres|database)/im.test(stderr) || /\n\s+at /.test(stderr)) {
      throw new Error(`not a clear message that Postgres is gone:\n${stdout}\n${stderr}`);
    }
    await restart();
    await stage.asOwner((client) => client.query('delete from ringfence_rollout.test_stop'));
  }
  await stage.run(0, ...args);
}

function some(points: readonly Point[], count: number): readonly Point[] {
  return Array.from({ length: count }, (_, at) => points[Math.floor(((at + 0.5) * points.length) / count)]).filter(
    (point) => point !== undefined,
  );
}
