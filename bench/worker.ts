/** A process of its own for each variant, so that none disturbs another's event loop. Started by run.ts. */
import { z } from 'zod';
import { openCore } from './core-load.ts';
import { openHttp } from './http-load.ts';
import { openLimit } from './limit-load.ts';
import {
  benchCallers,
  EmptyWindowError,
  type Measured,
  type MeasureOrder,
  measureOrder,
  type Sample,
} from './measurement.ts';

const database = { ownerUrl: z.string(), secret: z.string(), callers: benchCallers };

export const workerSetup = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('http'), url: z.string(), callers: benchCallers }),
  z.object({ kind: z.literal('limit'), ...database, connections: z.int() }),
  z.object({ kind: z.literal('core'), ...database }),
]);
export type WorkerSetup = z.infer<typeof workerSetup>;

async function open(setup: WorkerSetup): Promise<Measured> {
  switch (setup.kind) {
    case 'http':
      return openHttp(setup.url, setup.callers);
    case 'limit':
      return openLimit(setup.ownerUrl, setup.secret, setup.callers, setup.connections);
    case 'core':
      return openCore(setup.ownerUrl, setup.secret, setup.callers);
  }
}

/** A longer window that stayed empty is a fault. */
const windowMsMax = 4000;

let measured: Measured | undefined;

async function handle(message: unknown): Promise<unknown> {
  if (measured) return measureSomething(measured, measureOrder.parse(message));
  measured = await open(workerSetup.parse(message));
  return null;
}

/** On a machine that is busy with something else a short window may pass by empty, above all the first. */
async function measureSomething(from: Measured, order: MeasureOrder): Promise<Sample> {
  try {
    return await from.measure(order);
  } catch (error) {
    if (!(error instanceof EmptyWindowError) || order.windowMs > windowMsMax) throw error;
    return measureSomething(from, { ...order, windowMs: order.windowMs * 4 });
  }
}

process.on('message', (message) => {
  handle(message).then(
    (value) => process.send?.({ value }),
    (error: unknown) =>
      process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
// Whoever started it is gone, also by kill -9: nobody wants the figures.
process.on('disconnect', () => process.exit());
// Ctrl-C reaches the whole group; the end comes from whoever started it.
process.on('SIGINT', () => {});
