/** Finds out who is calling, before anything of the request's body is read. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Authenticate } from '../access/authenticate.ts';
import type { AuthenticatedCaller } from '../access/caller.ts';
import { tokenFaultTexts } from '../access/token-fault.ts';
import { Problem, problem } from '../errors.ts';
import type { SecurityLog } from '../log.ts';

const callers = new WeakMap<FastifyRequest, AuthenticatedCaller>();

/** Addresses end up in logs, histories and Referer headers (RFC 6750 §2.3). */
const neverInQuery = ['access_token', 'refresh_token', 'token', 'api_key', 'authorization', 'password'];

export function registerAuthentication(app: FastifyInstance, authenticate: Authenticate, security: SecurityLog): void {
  app.addHook('onRequest', async (request) => {
    refuseSecretsInQuery(request);
    const access = request.routeOptions.config.access;
    // No route: the answer is 404 for everybody, and nothing was looked up.
    if (access === undefined || access === 'open') return;
    const caller = await authenticate(request.raw.headersDistinct.authorization, request.id);
    // Before the refusal: the logs have to say who was refused.
    callers.set(request, caller);
    if (!caller.scopes.includes(access === 'admin' ? 'admin' : access)) {
      throw access === 'admin'
        ? problem('admin_required', 'This needs an administrator.')
        : problem('insufficient_scope', `The token lacks the scope "${access}".`);
    }
  });
  // Expired tokens and forgotten headers are everyday; a token that is none, or no longer one, is for who is on watch.
  app.addHook('onError', async (request, _reply, error) => {
    if (!(error instanceof Problem) || error.message !== tokenFaultTexts.invalid) return;
    security.event('INVALID_TOKEN', {
      ...(callers.has(request) ? { user_id: callers.get(request)?.userId } : {}),
      request_id: request.id,
      route: request.routeOptions.url ?? null,
      address: request.ip,
    });
  });
}

function refuseSecretsInQuery(request: FastifyRequest): void {
  const { query } = request;
  if (typeof query !== 'object' || query === null) return;
  const name = neverInQuery.find((secret) => secret in query);
  if (name === undefined) return;
  const message = 'must not be in the address; a token goes into the Authorization header';
  throw problem('validation_failed', `${name}: ${message}.`, { errors: [{ field: name, message }] });
}

/** @throws Problem `unauthenticated` on a route that asks for nobody: a fault of the route */
export function callerOf(request: FastifyRequest): AuthenticatedCaller {
  const caller = callers.get(request);
  if (!caller) throw problem('unauthenticated', 'User ID not found in request');
  return caller;
}

/** The caller if there is one; for logs. */
export function callerIfKnown(request: FastifyRequest): AuthenticatedCaller | undefined {
  return callers.get(request);
}
