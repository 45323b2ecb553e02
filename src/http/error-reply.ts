/** Every error leaves as RFC 9457 problem+json from the one table; our own faults leave with a request id and no more. */
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Problem, problem } from '../errors.ts';
import { postgresFault } from '../repositories/postgres-faults.ts';
import { collectAllowedMethods } from './allowed-methods.ts';

export const problemType = 'application/problem+json';

export function registerErrorHandling(app: FastifyInstance): void {
  const allowedMethods = collectAllowedMethods(app);
  app.setErrorHandler((error: unknown, request, reply) => sendProblem(toProblem(error), request, reply));
  app.setNotFoundHandler((request, reply) => {
    const path = pathOf(request.url);
    const allowed = allowedMethods(path);
    if (allowed.length === 0) {
      return sendProblem(problem('not_found', `There is no ${request.method} ${path.slice(0, 200)}.`), request, reply);
    }
    reply.header('allow', allowed.join(', '));
    if (request.method === 'OPTIONS') return reply.code(204).send();
    const fault = problem('method_not_allowed', `${request.method} is not allowed here; use ${allowed.join(', ')}.`);
    return sendProblem(fault, request, reply);
  });
}

/** The path as a route knows it. */
function pathOf(url: string): string {
  const path = url.split('?', 1)[0] ?? '';
  try {
    return decodeURI(path);
  } catch {
    return path;
  }
}

export function sendProblem(fault: Problem, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { status } = fault.kind;
  if (status >= 500) request.log.error({ err: fault, req_id: request.id }, 'request failed');
  if (status === 401) reply.header('www-authenticate', 'Bearer');
  const retryAfter = fault.extensions.retry_after;
  if (typeof retryAfter === 'number') reply.header('retry-after', retryAfter);
  return reply
    .code(status)
    .type(problemType)
    .header('cache-control', 'no-store')
    .send(problemDocument(fault, request.id));
}

/** RFC 9457 §3. The type is a name and no address (§3.1.1): an address would have to be one that we keep for ever. */
export function problemDocument(fault: Problem, requestId: string): string {
  const { status, title, retryable } = fault.kind;
  return JSON.stringify({
    ...fault.extensions,
    type: `urn:ringfence:problem:${fault.code}`,
    title,
    status,
    detail: status === 500 ? 'Something went wrong on our side. The request id finds it in the log.' : fault.message,
    code: fault.code,
    retryable,
    request_id: requestId,
  });
}

/** Faults of Fastify itself, by its codes. */
const fastifyFaults: Readonly<Record<string, () => Problem>> = {
  FST_ERR_BAD_URL: () => problem('malformed_request', 'path: a % must be followed by two hexadecimal digits of UTF-8.'),
  FST_ERR_MAX_PARAM_LENGTH: () => problem('uri_too_long', 'path: a part of it is too long.'),
  FST_ERR_CTP_BODY_TOO_LARGE: () => problem('payload_too_large', 'body: must be at most 1 MiB.'),
  FST_ERR_CTP_INVALID_MEDIA_TYPE: () => problem('unsupported_media_type', 'content-type: must be application/json.'),
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: () => problem('malformed_request', 'content-length: does not match the body.'),
};

export function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (isFastifyError(error)) {
    const known = fastifyFaults[error.code];
    if (known) return known();
    // Before the database's faults: a client that goes away in the middle of its body is an ECONNRESET too.
    if (error.statusCode !== undefined && error.statusCode < 500) return problem('malformed_request', error.message);
  }
  const fault = postgresFault(error);
  if (fault) return fault;
  return problem('internal_error', error instanceof Error ? error.message : String(error), {}, { cause: error });
}

function isFastifyError(error: unknown): error is FastifyError {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}
