/** Every error leaves as RFC 9457 problem+json from the one table; our own faults leave with a request id and no more. */
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Problem, problem } from '../errors.ts';
import { postgresFault } from '../repositories/postgres-faults.ts';

export function registerErrorHandling(app: FastifyInstance): void {
  app.setErrorHandler((error: unknown, request, reply) => sendProblem(toProblem(error), request, reply));
  app.setNotFoundHandler((request, reply) =>
    sendProblem(problem('not_found', `There is no ${request.method} ${request.url.split('?', 1)[0]}.`), request, reply),
  );
}

function sendProblem(fault: Problem, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { status, title, retryable } = fault.kind;
  if (status >= 500) request.log.error({ err: fault, req_id: request.id }, 'request failed');
  const body = {
    ...fault.extensions,
    type: `https://ringfence.dev/problems/${fault.code}`,
    title,
    status,
    detail: status === 500 ? 'Something went wrong on our side. The request id finds it in the log.' : fault.message,
    code: fault.code,
    retryable,
    request_id: request.id,
  };
  if (status === 401) reply.header('www-authenticate', 'Bearer');
  return reply.code(status).type('application/problem+json').send(JSON.stringify(body));
}

/** Faults of Fastify itself, by its codes. */
const fastifyFaults: Readonly<Record<string, () => Problem>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: () => problem('payload_too_large', 'body: must be at most 1 MiB.'),
  FST_ERR_CTP_INVALID_MEDIA_TYPE: () => problem('unsupported_media_type', 'content-type: must be application/json.'),
  FST_ERR_CTP_EMPTY_JSON_BODY: () => problem('malformed_request', 'body: must not be empty.'),
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: () => problem('malformed_request', 'content-length: does not match the body.'),
};

function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const fault = postgresFault(error);
  if (fault) return fault;
  if (isFastifyError(error)) {
    const known = fastifyFaults[error.code];
    if (known) return known();
    if (error.statusCode !== undefined && error.statusCode < 500) return problem('malformed_request', error.message);
  }
  return problem('internal_error', error instanceof Error ? error.message : String(error), {}, { cause: error });
}

function isFastifyError(error: unknown): error is FastifyError {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}
