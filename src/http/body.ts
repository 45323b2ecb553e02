/**
 * Bodies are JSON, whatever the client calls them: `curl -d '{…}'` says application/x-www-form-urlencoded, and the
 * guide's commands (G39) are written like that. It is safe because identity comes from the Authorization header alone:
 * a page of another site cannot make a browser send that.
 */
import type { FastifyInstance } from 'fastify';
import { problem } from '../errors.ts';

export const bodyLimitBytes = 1024 * 1024;

export function registerBodyParsers(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  const types = ['application/json', 'application/x-www-form-urlencoded', 'text/plain'];
  app.addContentTypeParser(types, { parseAs: 'string' }, (_request, body, done) => {
    try {
      done(null, parseJson(String(body)));
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)), undefined);
    }
  });
}

function parseJson(text: string): unknown {
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw problem('malformed_request', 'body: must be JSON.');
  }
}
