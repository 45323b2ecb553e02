/**
 * How often an address may try credentials, and how often anybody may call. Each limit counts in this process for the
 * 5000 keys seen last (the plugin's LRU), so memory is bounded; several servers count each for itself. What keeps a
 * password from being guessed in the end is the lock of the account, in the database.
 */
import { createHash } from 'node:crypto';
import rateLimit, { normalizeIP } from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Config } from '../config.ts';
import { Problem, problem } from '../errors.ts';
import { callerIfKnown } from './authentication.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Takes credentials: `address` counts attempts by address, `email` also by the e-mail address in the body. */
    credentials?: 'address' | 'email';
  }
}

const minute = 60_000;
/** One house has one /64; counting single addresses of it would count nothing (RFC 6177). */
const ipv6Prefix = 64;

export async function registerRateLimits(app: FastifyInstance, config: Config): Promise<void> {
  await app.register(rateLimit, { global: false });
  limitRequests(app, config.requestsPerMinute);
  limitCredentials(app, config.credentialAttemptsPerMinute);
}

/** By user once somebody is signed in, by address otherwise. */
function limitRequests(app: FastifyInstance, perMinute: number): void {
  if (perMinute === 0) return;
  // Whoever comes with bad tokens never gets as far as being counted below.
  const refused = app.createRateLimit({ max: perMinute, timeWindow: minute, keyGenerator: addressOf });
  app.addHook('onRequest', async (request) => {
    if (isHealth(request)) return;
    refuseExcess(await refused(request, { increment: false }), 'requests', perMinute);
  });
  app.addHook('onError', async (request, _reply, error) => {
    if (error instanceof Problem && error.code === 'unauthenticated') await refused(request);
  });
  const count = app.createRateLimit({
    max: perMinute,
    timeWindow: minute,
    keyGenerator: (request) => {
      const caller = callerIfKnown(request);
      return caller ? `user ${caller.userId}` : addressOf(request);
    },
  });
  app.addHook('preParsing', async (request) => {
    if (isHealth(request)) return;
    refuseExcess(await count(request), 'requests', perMinute);
  });
}

/** A load balancer asks for health often, and for everybody (G11). */
function isHealth(request: FastifyRequest): boolean {
  return request.routeOptions.url?.startsWith('/health') === true;
}

function limitCredentials(app: FastifyInstance, perMinute: number): void {
  if (perMinute === 0) return;
  const byAddress = app.createRateLimit({ max: perMinute, timeWindow: minute, keyGenerator: addressOf });
  const byEmail = app.createRateLimit({ max: perMinute, timeWindow: minute, keyGenerator: emailOf });
  app.addHook('onRequest', async (request) => {
    if (request.routeOptions.config.credentials === undefined) return;
    refuseExcess(await byAddress(request), 'attempts', perMinute);
  });
  app.addHook('preHandler', async (request) => {
    if (request.routeOptions.config.credentials !== 'email') return;
    refuseExcess(await byEmail(request), 'attempts', perMinute);
  });
}

type Counted = Awaited<ReturnType<ReturnType<FastifyInstance['createRateLimit']>>>;

function refuseExcess(counted: Counted, what: string, perMinute: number): void {
  if (counted.isAllowed || !counted.isExceeded) return;
  const seconds = Math.max(1, counted.ttlInSeconds);
  throw problem('rate_limited', `At most ${perMinute} ${what} a minute; try again in ${seconds} seconds.`, {
    retry_after: seconds,
  });
}

function addressOf(request: FastifyRequest): string {
  return normalizeIP(request.ip, ipv6Prefix);
}

/** Hashed: the list of who tried to sign in does not lie about in memory. */
function emailOf(request: FastifyRequest): string {
  const { body } = request;
  const email = typeof body === 'object' && body !== null && 'email' in body ? String(body.email) : '';
  return createHash('sha256').update(email.trim().toLowerCase()).digest('base64url');
}
