import type { FastifyRequest } from 'fastify';
import type { RequestOrigin } from '../access/request-origin.ts';

const userAgentCharsMax = 500;

/** What is known of a request by itself. */
export function originOf(request: FastifyRequest): RequestOrigin {
  const userAgent = request.headers['user-agent'] ?? '';
  return {
    requestId: request.id,
    // Node reads headers as Latin-1, so characters and code points are the same.
    userAgent: userAgent.slice(0, userAgentCharsMax),
    address: request.ip,
  };
}
