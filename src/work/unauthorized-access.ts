/**
 * Finds out whether a row that a user asked for and did not get is another user's, and writes that down: a line in the
 * security log, a refusal in the access log of whoever asked. All of it happens after the answer has left, so that
 * neither the answer nor its time tells a hidden row from an absent one (I8).
 *
 * It is bounded: one look-up at a time over one connection, a queue of a fixed length, and what does not fit is counted.
 */
import type { Logger } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import type { ProductIsolation } from '../database/isolation.ts';
import type { OwnedTableName } from '../isolation/owned-tables.ts';
import type { Caller } from '../isolation/scope.ts';
import type { SecurityLog } from '../log.ts';

/** A row that somebody asked for and that was not there for them. */
export interface UnseenRow {
  readonly caller: Caller;
  readonly entity: OwnedTableName;
  readonly id: string;
  readonly method: string;
  /** The route's pattern. */
  readonly route: string;
}

export interface UnauthorizedAccessWatch {
  /** Returns at once. */
  look(row: UnseenRow): void;
  /** Resolves when nothing is left to look at. */
  drain(): Promise<void>;
  /** Rows that were not looked at since the queue was full. */
  readonly dropped: number;
}

export interface WatchOptions {
  readonly isolation: ProductIsolation;
  readonly securityLog: SecurityLog;
  readonly log: Logger;
  /** Rows that may wait; further ones are dropped. */
  readonly queueMax?: number;
}

export function watchUnauthorizedAccess(options: WatchOptions): UnauthorizedAccessWatch {
  const { isolation, log, queueMax = 1_000 } = options;
  const queue: UnseenRow[] = [];
  let dropped = 0;
  let droppedSinceTold = 0;
  let working: Promise<void> | undefined;

  const work = async () => {
    for (let row = queue.shift(); row !== undefined; row = queue.shift()) {
      await judge(row, options).catch((error: unknown) =>
        log.warn({ err: error }, 'a refused access was not looked into'),
      );
    }
    if (droppedSinceTold > 0) log.warn({ dropped: droppedSinceTold }, 'refused accesses were too many to look into');
    droppedSinceTold = 0;
    working = undefined;
  };

  return {
    look(row) {
      // Without isolation nothing is hidden: what is not found is not there.
      if (isolation.enforcement !== 'on') return;
      if (queue.length >= queueMax) {
        dropped += 1;
        droppedSinceTold += 1;
        return;
      }
      queue.push(row);
      working ??= work();
    },
    async drain() {
      while (working) await working;
    },
    get dropped() {
      return dropped;
    },
  };
}

async function judge(row: UnseenRow, { isolation, securityLog }: WatchOptions): Promise<void> {
  const { caller, entity, id, method, route } = row;
  if (!(await isolation.isAnothers(caller, entity, id))) return;
  securityLog.event('UNAUTHORIZED_ACCESS', {
    user_id: caller.userId,
    req_id: caller.requestId,
    entity,
    id,
    method,
    route,
  });
  await isolation.withUser(caller, (scope) =>
    scope.run(
      scope.db.insertInto('user_access_log').values({
        id: uuidv7(),
        actor: caller.actor,
        operation: method === 'GET' || method === 'HEAD' ? 'read' : 'write',
        entity_type: entity,
        entity_id: id,
        outcome: 'refused',
        reason: 'not the owner',
        request_id: caller.requestId,
      }),
    ),
  );
}
