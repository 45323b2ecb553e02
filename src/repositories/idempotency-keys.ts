import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { BaseUserScopedRepository } from './base-user-scoped-repository.ts';

/** What the first request with a key was answered. */
export interface KeptAnswer {
  readonly requestHash: Buffer;
  readonly status: number | null;
  readonly body: string | null;
}

/** Old keys are swept a few at a time, so that nobody pays for a day's worth at once. */
const sweptAtOnce = 20;

/** The keys of one user: the same key of two users never meet. */
export class IdempotencyKeyRepository extends BaseUserScopedRepository {
  protected readonly table = 'idempotency_keys';

  /**
   * Takes the key for this transaction. While another transaction holds it, Postgres makes this one wait; the key is
   * taken if that one rolls back, and refused if it commits.
   *
   * @returns the id of the row, or undefined when the key has an answer already
   */
  async take(key: string, requestHash: Buffer): Promise<string | undefined> {
    const id = uuidv7();
    const [, taken] = await Promise.all([
      this.#sweep(key),
      this.scope.first<{ id: string }>(
        this.db
          .insertInto('idempotency_keys')
          .values({ id, key, request_hash: requestHash })
          .onConflict((oc) => oc.constraint('uq_idempotency_keys_key').doNothing())
          .returning('id'),
      ),
    ]);
    return taken?.id;
  }

  answerOf(key: string): Promise<KeptAnswer | undefined> {
    return this.scope.first<KeptAnswer>(
      this.db
        .selectFrom('idempotency_keys')
        .select(['request_hash as requestHash', 'response_status as status', 'response_body as body'])
        .where('key', '=', key),
    );
  }

  keep(id: string, status: number, body: string): Promise<number> {
    return this.scope.run(
      this.db
        .updateTable('idempotency_keys')
        .set({ response_status: status, response_body: body })
        .where('id', '=', id),
    );
  }

  /** Removes this key if it is older than a day, and a few other old ones that nobody is removing already. */
  #sweep(key: string): Promise<number> {
    const old = sql<boolean>`created_at < now() - interval '24 hours'`;
    return this.scope.run(
      this.db
        .deleteFrom('idempotency_keys')
        .where((eb) =>
          eb.and([
            old,
            eb.or([
              eb('key', '=', key),
              eb(
                'id',
                'in',
                eb.selectFrom('idempotency_keys').select('id').where(old).limit(sweptAtOnce).forUpdate().skipLocked(),
              ),
            ]),
          ]),
        ),
    );
  }
}
