import type { ProductUserScope } from '../database/isolation.ts';

/**
 * Makes one user's changes to more than one task take turns, until the transaction ends.
 *
 * Two dependencies that are harmless each can close a cycle together, at any distance, so it is not enough to lock the
 * tasks that are named. The lock is the user's own row, not an advisory lock: those show in pg_locks to everybody.
 *
 * No deadlock: whoever locks more than one task takes this first, and tasks in the order of their ids; whoever locks
 * one task alone waits for nothing afterwards but what hangs on that task. `for no key update` lets rows that refer to
 * the user, such as lines of the access log, be written meanwhile.
 *
 * While isolation is off two users can still close a cycle of four or more between them. A cycle keeps its tasks from
 * being completed until one of its dependencies is taken away; nothing loops.
 */
export async function lockUser(scope: ProductUserScope): Promise<void> {
  await scope.first(scope.db.selectFrom('users').select('id').where('id', '=', scope.caller.userId).forNoKeyUpdate());
}
