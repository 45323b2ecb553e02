/** One line a request, and what became of its token. No body, no query, no id of the path, never the token. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { tokenFaultTexts } from '../access/token-fault.ts';
import { Problem } from '../errors.ts';
import { callerIfKnown } from './authentication.ts';

const reasons = new Map<string, string>(Object.entries(tokenFaultTexts).map(([reason, text]) => [text, reason]));

export function registerRequestLog(app: FastifyInstance, log: Logger): void {
  app.addHook('onError', async (request, _reply, error) => {
    if (!(error instanceof Problem) || error.code !== 'unauthenticated') return;
    const { cause } = error;
    const check = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    const event = request.headers.authorization === undefined ? 'JWT missing' : 'JWT refused';
    log.info({ ...about(request), reason: reasons.get(error.message) ?? 'invalid', check }, event);
  });
  app.addHook('onResponse', async (request, reply) => {
    const caller = callerIfKnown(request);
    if (caller) log.debug({ ...about(request), actor: caller.actor }, 'JWT accepted');
    log.info({ ...about(request), status: reply.statusCode, ms: Math.round(reply.elapsedTime * 100) / 100 }, 'request');
  });
}

function about(request: FastifyRequest) {
  const caller = callerIfKnown(request);
  return {
    req_id: request.id,
    ...(caller ? { user_id: caller.userId } : {}),
    method: request.method,
    // The pattern, not the address: ids and searches belong to their user. None: there is no such route.
    route: request.routeOptions.url ?? null,
  };
}
