/**
 * Every route says who may call it; one that does not say so stops the server at start. `read` and `write` also name
 * the scope that an API token needs.
 */
import type { FastifyInstance } from 'fastify';
import type { OwnedTableName } from '../isolation/owned-tables.ts';

/** `open`: no token. `read`, `write`: a user, in that user's scope. `admin`: an administrator, in system mode. */
export type AccessClass = 'open' | 'read' | 'write' | 'admin';

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: AccessClass;
    /** The table that :id in the path names a row of, or `id` in the body: a 404 is then looked into for the security log. */
    entity?: OwnedTableName;
  }
}

export function requireAccessClass(app: FastifyInstance): void {
  app.addHook('onRoute', (route) => {
    if (route.config?.access === undefined) {
      throw new Error(`${String(route.method)} ${route.url} does not say who may call it: set config.access`);
    }
  });
}
