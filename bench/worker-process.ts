import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { type MeasureOrder, type Sample, sample } from './measurement.ts';
import type { WorkerSetup } from './worker.ts';

export interface WorkerProcess {
  measure(order: MeasureOrder): Promise<Sample>;
  stop(): Promise<void>;
}

const answer = z.union([z.object({ value: z.unknown() }), z.object({ error: z.string() })]);
const script = fileURLToPath(new URL('worker.ts', import.meta.url));

export async function startWorker(setup: WorkerSetup): Promise<WorkerProcess> {
  const child = fork(script, [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  try {
    await ask(child, setup);
  } catch (error) {
    await stop();
    throw error;
  }
  return { measure: async (order) => sample.parse(await ask(child, order)), stop };
}

function ask(child: ChildProcess, message: WorkerSetup | MeasureOrder): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const settle = (finish: () => void) => {
      child.off('message', onMessage).off('exit', onExit);
      finish();
    };
    const onExit = () => settle(() => reject(new Error('a load generator ended before its time')));
    const onMessage = (received: unknown) => {
      const parsed = answer.parse(received);
      settle(() => ('error' in parsed ? reject(new Error(parsed.error)) : resolve(parsed.value)));
    };
    child.on('message', onMessage).on('exit', onExit);
    child.send(message);
  });
}
