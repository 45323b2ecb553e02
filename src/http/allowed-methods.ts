/** Which methods an address knows, for 405 and OPTIONS (RFC 9110 §10.2.1). Fastify answers 404 to both by itself. */
import type { FastifyInstance } from 'fastify';

interface KnownRoute {
  readonly segments: readonly string[];
  readonly methods: readonly string[];
}

/** @returns a function from a path to the methods that it knows, with OPTIONS; none for an unknown path */
export function collectAllowedMethods(app: FastifyInstance): (path: string) => readonly string[] {
  const routes: KnownRoute[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    routes.push({ segments: url.split('/'), methods: [method].flat() });
  });
  return (path) => {
    if (path === '*') return ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
    const segments = path.split('/');
    const methods = routes.filter((route) => matches(route.segments, segments)).flatMap((route) => route.methods);
    return methods.length === 0 ? [] : [...new Set([...methods, 'OPTIONS'])].sort();
  };
}

function matches(pattern: readonly string[], segments: readonly string[]): boolean {
  const open = pattern.at(-1) === '*';
  if (open ? segments.length < pattern.length : segments.length !== pattern.length) return false;
  return pattern.every((part, at) => {
    if (part === '*') return true;
    return part.startsWith(':') ? segments[at] !== '' : part === segments[at];
  });
}
