import { afterAll, beforeAll, test } from 'vitest';
import { lifecycle } from './lifecycle.ts';
import { openServer, type Server } from './server.ts';
import type { Shape } from './shape.ts';
import { Stage } from './stage.ts';

/** One file a half, so that two processors have something to do. */
export function testLifecycles(shapes: readonly Shape[]): void {
  let server: Server;
  beforeAll(async () => {
    server = await openServer();
  });
  afterAll(() => server?.stop());

  test.each(shapes.map((shape) => [shape.name, shape] as const))(
    '%s: isolated, taken back, isolated for good, taken back, with applications at work',
    { timeout: 600_000 },
    async (_, shape) => {
      const stage = await Stage.open(shape, await server.fresh(shape), { writers: 2 });
      try {
        await lifecycle(stage);
      } finally {
        await stage.close();
      }
    },
  );
}
