/** The isolation core alone: the calls that the routes make, in a loop, without HTTP. */
import { taskQuery } from '../src/contract/tasks.ts';
import { openIsolation, type ProductIsolation } from '../src/database/isolation.ts';
import { appRole, roleUrl, systemRole } from '../src/database/provision.ts';
import type { Caller } from '../src/isolation/scope.ts';
import { TaskRepository } from '../src/repositories/tasks.ts';
import { createTask } from '../src/work/task-creation.ts';
import { inLoops } from './loops.ts';
import {
  type BenchCaller,
  type BenchCallers,
  listLimit,
  type Measured,
  newTask,
  type Operation,
} from './measurement.ts';

/** As many as the server has by default (DATABASE_POOL_SIZE). */
const poolSize = 10;

export function openCoreIsolation(ownerUrl: string, secret: string) {
  return openIsolation({
    appUrl: roleUrl(ownerUrl, appRole, secret),
    systemUrl: roleUrl(ownerUrl, systemRole, secret),
    poolSize,
    secret,
    enforcement: 'on',
  });
}

/** One request's worth of work for one user; `turn` goes round the user's tasks. */
export const coreCalls: Record<
  Operation,
  (isolation: ProductIsolation, caller: BenchCaller, turn: number) => Promise<unknown>
> = {
  list: (isolation, caller) =>
    isolation.readAsUser(callerFor(caller), (scope) => new TaskRepository(scope).list(listQuery)),
  read: (isolation, caller, turn) =>
    isolation.readAsUser(callerFor(caller), (scope) => new TaskRepository(scope).get(taskOf(caller, turn))),
  create: (isolation, caller) => isolation.withUser(callerFor(caller), (scope) => createTask(scope, newTask)),
};

export const listQuery = taskQuery.parse({ limit: String(listLimit) });

export function callerFor({ userId, sessionId }: BenchCaller): Caller {
  return { userId, sessionId, actor: 'session', requestId: 'bench' };
}

export function taskOf(caller: BenchCaller, turn: number): string {
  return caller.taskIds[turn % caller.taskIds.length] ?? '';
}

export function openCore(ownerUrl: string, secret: string, callers: BenchCallers): Measured {
  const { isolation, close } = openCoreIsolation(ownerUrl, secret);
  return {
    measure: (order) =>
      inLoops(order, callers, (_, caller, turn) => coreCalls[order.operation](isolation, caller, turn)),
    close,
  };
}
