import { afterAll, test } from 'vitest';
import { lifecycle } from './lifecycle.ts';
import { openServer, type Server } from './server.ts';
import type { Shape } from './shape.ts';
import { Stage } from './stage.ts';

/** One file a half, and of each two at a time: a rollout waits for half of its time. */
export function testLifecycles(shapes: readonly Shape[]): void {
  // Roles are the server's, so two shapes do not meet on one; the next one comes when the last has gone.
  const servers: Server[] = [];
  afterAll(() => Promise.all(servers.map((server) => server.stop())));

  test.concurrent.each(shapes.map((shape) => [shape.name, shape] as const))(
    '%s: isolated, taken back, isolated for good, taken back, with applications at work',
    { timeout: 600_000 },
    async (_, shape) => {
      const server = servers.pop() ?? (await openServer());
      try {
        const stage = await Stage.open(shape, await server.fresh(shape), { writers: 2 });
        try {
          await lifecycle(stage);
        } finally {
          await stage.close();
        }
      } finally {
        servers.push(server);
      }
    },
  );
}
