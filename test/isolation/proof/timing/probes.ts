/** What is timed: statements through a user's scope, and every route that takes an id, over HTTP. */
import type { ProductUserScope } from '../../../../src/database/isolation.ts';
import { parseUserId } from '../../../../src/isolation/identity.ts';
import type { Caller } from '../../../../src/isolation/scope.ts';
import { LabelRepository } from '../../../../src/repositories/labels.ts';
import { SubtaskRepository } from '../../../../src/repositories/subtasks.ts';
import { TaskRepository } from '../../../../src/repositories/tasks.ts';
import { moves } from '../../route-moves.ts';
import type { World } from '../model/world.ts';
import type { Probe, Subject } from './measure.ts';

const microseconds = (since: number) => (performance.now() - since) * 1000;

class TakenBack extends Error {}

/** @param userId whoever asks: has rows of its own, none of the subjects' */
export function databaseProbes({ server: { isolation } }: World, userId: string): Probe[] {
  const id = parseUserId(userId);
  if (id === null) throw new Error('the asker has no id');
  const caller: Caller = { userId: id, actor: 'cli', requestId: 'timing' };
  const probe = (name: string, call: (scope: ProductUserScope, about: Subject) => Promise<unknown>): Probe => ({
    name,
    level: 'database',
    async run(about) {
      let took = Number.NaN;
      await isolation
        .withUser(caller, async (scope) => {
          // One round trip before, so that what is timed is the one statement.
          await new LabelRepository(scope).get(about.labels);
          const since = performance.now();
          await call(scope, about).catch(() => {});
          took = microseconds(since);
          throw new TakenBack();
        })
        .catch((error: unknown) => {
          if (!(error instanceof TakenBack)) throw error;
        });
      return took;
    },
  });
  return [
    probe('get by id', (scope, about) => new TaskRepository(scope).get(about.tasks)),
    probe('update', (scope, about) => new TaskRepository(scope).change(about.tasks, { title: 'changed' })),
    probe('delete', (scope, about) => new TaskRepository(scope).remove(about.tasks)),
    probe('reference to a parent', (scope, about) =>
      new SubtaskRepository(scope).create(about.tasks, { title: 'new', status: 'todo' }),
    ),
    probe('unique name', (scope, about) => new LabelRepository(scope).create({ name: about.mark })),
  ];
}

/** Routes whose call names something that could be somebody else's; see the matrix. */
export const timedRoutes = Object.keys(moves).filter((name) => moves[name]?.harmless !== true);

/**
 * @param afterwards also times a request that follows a refused one at once, while the server is still looking into it:
 *   it looks whether the row is somebody's, for the security log
 */
export function httpProbes(world: World, token: string): Probe[] {
  const atRest = watchLookUps(world);
  const send = async (name: string, about: Subject): Promise<number> => {
    const [method = '', path = ''] = name.split(' ');
    const move = moves[name] ?? {};
    const parameters = move.path?.(about) ?? {};
    const target = path.replaceAll(/\{(\w+)\}/g, (_, key: string) => parameters[key] ?? 'missing');
    const body = move.body === undefined ? undefined : JSON.stringify(move.body(about));
    const headers = {
      authorization: `Bearer ${token}`,
      'x-request-id': 'timing',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    };
    const query = move.query === undefined ? '' : `?${move.query(about)}`;
    const since = performance.now();
    const { status } = await world.client.send({ method, target: target + query, headers, body });
    const took = microseconds(since);
    if (status >= 500) throw new Error(`${name} was answered ${status}`);
    return took;
  };
  return [
    ...timedRoutes.map(
      (name): Probe => ({
        name,
        level: 'HTTP',
        async run(about) {
          const took = await send(name, about);
          await atRest();
          return took;
        },
      }),
    ),
    {
      name: 'the request after a refused one',
      level: 'HTTP',
      async run(about) {
        await send('GET /api/tasks/{id}', about);
        const took = await send('GET /api/labels', about);
        await atRest();
        return took;
      },
    },
  ];
}

/** What the server does after an answer must not be in the time of the next; the model's `quiet` knows of writing alone. */
function watchLookUps(world: World): () => Promise<void> {
  const { isolation } = world.server;
  let looking = 0;
  const original = isolation.isAnothers.bind(isolation);
  const counted: typeof isolation.isAnothers = async (...about) => {
    looking += 1;
    try {
      return await original(...about);
    } finally {
      looking -= 1;
    }
  };
  Object.defineProperty(isolation, 'isAnothers', { value: counted });
  return async () => {
    do await world.quiet();
    while (looking > 0);
  };
}
