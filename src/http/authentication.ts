/** Finds out who is calling, before anything of the request's body is read. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Authenticate, AuthenticatedCaller } from '../access/authenticate.ts';
import { problem } from '../errors.ts';

const callers = new WeakMap<FastifyRequest, AuthenticatedCaller>();

export function registerAuthentication(app: FastifyInstance, authenticate: Authenticate): void {
  app.addHook('onRequest', async (request) => {
    const access = request.routeOptions.config.access;
    // No route: the answer is 404 for everybody, and nothing was looked up.
    if (access === undefined || access === 'open') return;
    const caller = await authenticate(request.headers.authorization, request.id);
    // Before the refusal: the logs have to say who was refused.
    callers.set(request, caller);
    if (!caller.scopes.includes(access === 'admin' ? 'admin' : access)) {
      throw access === 'admin'
        ? problem('admin_required', 'This needs an administrator.')
        : problem('insufficient_scope', `The token lacks the scope "${access}".`);
    }
  });
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
