/** Answers a request that makes something: 201 with the new resource. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ProductIsolation, ProductUserScope } from '../database/isolation.ts';
import type { JsonDocument } from '../repositories/base-user-scoped-repository.ts';
import { callerOf } from './authentication.ts';
import { sendDocument } from './reply.ts';

export async function createResource(
  request: FastifyRequest,
  reply: FastifyReply,
  isolation: ProductIsolation,
  work: (scope: ProductUserScope) => Promise<JsonDocument>,
): Promise<FastifyReply> {
  const document = await isolation.withUser(callerOf(request), work);
  return sendDocument(reply.code(201), document);
}
