/**
 * What browsers are told about answers. The API is no page: nothing may be loaded for it and no other page may frame
 * it. A route that does answer with a page sets its own policy in its option `helmet`.
 */
import helmet from '@fastify/helmet';
import type { FastifyInstance } from 'fastify';

export async function registerSecurityHeaders(app: FastifyInstance): Promise<void> {
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
    },
    // Whether there is TLS is known to the proxy that ends it, and the promise would bind its other services too.
    strictTransportSecurity: false,
  });
}
