/** Postgres itself is killed with SIGKILL in the middle of a rollout: the command says so, and goes on when run again. */
import { demand } from './command.ts';
import { heldAt, letGo, type Point } from './gate.ts';
import type { Server } from './server.ts';
import type { Stage } from './stage.ts';

/** @returns false when the command ended without coming to the point */
export async function crashAt(stage: Stage, server: Server, point: Point, args: readonly string[]): Promise<boolean> {
  const running = await heldAt(stage, point, args);
  if (running === null) return false;
  const restart = await server.crash();
  const { stdout, stderr } = demand(3, await running.outcome);
  if (!/^ringfence: .*(connection|Postgres|database)/im.test(stderr) || /\n\s+at /.test(stderr)) {
    throw new Error(`not a clear message that Postgres is gone:\n${stdout}\n${stderr}`);
  }
  await restart();
  await letGo(stage);
  return true;
}
