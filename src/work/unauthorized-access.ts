/**
 * What is written down after a 404 about rows that the request named. Whoever asked finds a refusal in its own access
 * log for each row it does not have, whether there is such a row or not: the log must not tell what the answer hides (I8).
 * Whether the row is another user's is looked up for the security log alone, which is for whoever runs the server.
 *
 * All of it happens after the answer has left. Writing and looking are two queues over two connections, so that how long
 * a look-up takes shows in no line's time; each is of a fixed length, and what does not fit is counted.
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
  /** Resolves when nothing is left to write or to look at. */
  drain(): Promise<void>;
  /** Refusals that were not written, and rows that were not looked at, since a queue was full. */
  readonly dropped: { readonly refusals: number; readonly rows: number };
}

export interface WatchOptions {
  readonly isolation: ProductIsolation;
  readonly securityLog: SecurityLog;
  readonly log: Logger;
  /** Rows that may wait in each queue; further ones are dropped. */
  readonly queueMax?: number;
}

export function watchUnauthorizedAccess(options: WatchOptions): UnauthorizedAccessWatch {
  const { isolation, log, queueMax = 1_000 } = options;
  const refusals = boundedQueue('refusal', queueMax, log, (row) => writeRefusal(row, isolation));
  const rows = boundedQueue('refused row', queueMax, log, (row) => judge(row, options));
  return {
    look(row) {
      // Without isolation nothing is hidden: what is not found is not there.
      if (isolation.enforcement !== 'on') return;
      refusals.add(row);
      rows.add(row);
    },
    async drain() {
      await Promise.all([refusals.drain(), rows.drain()]);
    },
    get dropped() {
      return { refusals: refusals.dropped, rows: rows.dropped };
    },
  };
}

interface BoundedQueue {
  add(row: UnseenRow): void;
  drain(): Promise<void>;
  readonly dropped: number;
}

/** Rows one after the other, in the order in which they came. */
function boundedQueue(name: string, max: number, log: Logger, work: (row: UnseenRow) => Promise<void>): BoundedQueue {
  const queue: UnseenRow[] = [];
  let dropped = 0;
  let droppedSinceTold = 0;
  let working: Promise<void> | undefined;

  const workThrough = async () => {
    for (let row = queue.shift(); row !== undefined; row = queue.shift()) {
      await work(row).catch((error: unknown) => log.warn({ err: error }, `a ${name} was lost`));
    }
    if (droppedSinceTold > 0) log.warn({ dropped: droppedSinceTold }, `${name}s were too many and were dropped`);
    droppedSinceTold = 0;
    working = undefined;
  };

  return {
    add(row) {
      if (queue.length >= max) {
        dropped += 1;
        droppedSinceTold += 1;
        return;
      }
      queue.push(row);
      working ??= workThrough();
    },
    async drain() {
      while (working) await working;
    },
    get dropped() {
      return dropped;
    },
  };
}

/** In the asker's own scope, to which another user's row and no row are the same. */
async function writeRefusal({ caller, entity, id, method }: UnseenRow, isolation: ProductIsolation): Promise<void> {
  await isolation.withUser(caller, async (scope) => {
    // The request may also have named rows that the user does have: those were not refused.
    const own = await scope.first(scope.db.selectFrom(entity).select('id').where('id', '=', id));
    if (own) return;
    await scope.run(
      scope.db.insertInto('user_access_log').values({
        id: uuidv7(),
        actor: caller.actor,
        operation: method === 'GET' || method === 'HEAD' ? 'read' : 'write',
        entity_type: entity,
        entity_id: id,
        outcome: 'refused',
        reason: 'no such row of this user',
        request_id: caller.requestId,
      }),
    );
  });
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
}
