/**
 * Doing something once, however often it is asked for (draft-ietf-httpapi-idempotency-key-header). The key, what was
 * done and the answer commit together: there is never a key without its answer, and what is rolled back frees its key.
 */
import type { ProductUserScope } from '../database/isolation.ts';
import { problem } from '../errors.ts';
import { IdempotencyKeyRepository } from '../repositories/idempotency-keys.ts';

export interface KeyedRequest {
  readonly key: string;
  /** SHA-256 of what was asked for. */
  readonly hash: Buffer;
}

export interface OnceAnswer {
  readonly status: number;
  readonly body: string;
  /** Whether it is the answer of an earlier request. */
  readonly replayed: boolean;
}

/**
 * @param status the HTTP status that goes with what `work` returns
 * @throws Problem `idempotency_key_reused` when the key belongs to another request
 */
export async function once(
  scope: ProductUserScope,
  request: KeyedRequest,
  status: number,
  work: () => Promise<string>,
): Promise<OnceAnswer> {
  const keys = new IdempotencyKeyRepository(scope);
  const id = await keys.take(request.key, request.hash);
  if (id === undefined) return replay(await keys.answerOf(request.key), request);
  const body = await work();
  await keys.keep(id, status, body);
  return { status, body, replayed: false };
}

function replay(kept: Awaited<ReturnType<IdempotencyKeyRepository['answerOf']>>, request: KeyedRequest): OnceAnswer {
  // Only a sweep or an erasure between two statements can bring this about.
  if (!kept || kept.status === null || kept.body === null) {
    throw problem('conflict', 'idempotency-key: its first request has no answer any more; try again.');
  }
  if (!kept.requestHash.equals(request.hash)) {
    throw problem(
      'idempotency_key_reused',
      'idempotency-key: it was used for another request within the last 24 hours; take a new key.',
    );
  }
  return { status: kept.status, body: kept.body, replayed: true };
}
