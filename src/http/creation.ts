/**
 * Answers a request that makes something: 201 with the new resource. With an `Idempotency-Key` it is made once: the
 * same request again within 24 hours gets the same answer, marked `idempotency-replayed: true`.
 */
import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { ProductIsolation, ProductUserScope } from '../database/isolation.ts';
import { problem } from '../errors.ts';
import type { JsonDocument } from '../repositories/base-user-scoped-repository.ts';
import { once } from '../work/once.ts';
import { callerOf } from './authentication.ts';
import { sendDocument, sendJson } from './reply.ts';

const created = 201;

export async function createResource(
  request: FastifyRequest,
  reply: FastifyReply,
  isolation: ProductIsolation,
  work: (scope: ProductUserScope) => Promise<JsonDocument>,
): Promise<FastifyReply> {
  if (request.headers['idempotency-key'] === undefined) {
    return sendDocument(reply.code(created), await isolation.withUser(callerOf(request), work));
  }
  const json = await answerOnce(request, reply, isolation, created, async (scope) => (await work(scope)).json);
  const version = versionOf(json);
  return version === undefined ? sendJson(reply, json) : sendDocument(reply, { json, version });
}

/**
 * Does what a request asks for, once for each `Idempotency-Key`, and sets the status.
 *
 * @returns the body, as JSON
 */
export async function answerOnce(
  request: FastifyRequest,
  reply: FastifyReply,
  isolation: ProductIsolation,
  status: number,
  work: (scope: ProductUserScope) => Promise<string>,
): Promise<string> {
  const key = idempotencyKey(request.headers['idempotency-key']);
  if (key === undefined) {
    reply.code(status);
    return isolation.withUser(callerOf(request), work);
  }
  const answer = await isolation.withUser(callerOf(request), (scope) =>
    once(scope, { key, hash: hashOf(request) }, status, () => work(scope)),
  );
  if (answer.replayed) reply.header('idempotency-replayed', 'true');
  reply.code(answer.status);
  return answer.body;
}

const keyCharsMax = 255;

/**
 * The draft makes the key a structured string, `"…"` in ASCII; most clients leave the quotation marks away. Both are
 * the same key.
 *
 * @throws Problem `validation_failed` for a key that is empty, too long, or not printable ASCII
 */
export function idempotencyKey(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  const text = String(header);
  const key = /^"(.*)"$/s.exec(text)?.[1] ?? text;
  if (key.length > 0 && key.length <= keyCharsMax && /^[\x20-\x7e]+$/.test(key)) return key;
  throw problem('validation_failed', `idempotency-key: must be 1 to ${keyCharsMax} printable ASCII characters.`);
}

/** What makes two requests the same: method, address and parsed body. */
function hashOf(request: FastifyRequest): Buffer {
  return createHash('sha256')
    .update(JSON.stringify([request.method, request.url, request.body ?? null]))
    .digest();
}

const versioned = z.object({ version: z.int() });

/** The answer is kept as text; its ETag is in there, if it has one. */
function versionOf(body: string): number | undefined {
  return versioned.safeParse(JSON.parse(body)).data?.version;
}
