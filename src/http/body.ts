/**
 * Bodies are JSON, whatever the client calls them: `curl -d '{…}'` says application/x-www-form-urlencoded, other clients
 * say nothing at all, and the guide's commands (G39) are written like that. It is safe because identity comes from the
 * Authorization header alone: a page of another site cannot make a browser send that.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { problem } from '../errors.ts';
import { parseJsonBody } from './json-body.ts';

export const bodyLimitBytes = 1024 * 1024;

const jsonTypes = [
  'application/json',
  'application/merge-patch+json',
  'application/x-www-form-urlencoded',
  'text/plain',
];

export function registerBodyParsers(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(jsonTypes, { parseAs: 'buffer' }, async (_request: unknown, body: Buffer) =>
    parseJsonBody(body),
  );
  // Everything else, also no type at all.
  app.addContentTypeParser('*', { parseAs: 'buffer' }, async (request: FastifyRequest, body: Buffer) => {
    if ((request.headers['content-type'] ?? '').trim() === '') return parseJsonBody(body);
    // There is no such route, and that is what will be said.
    if (request.is404) return undefined;
    throw problem('unsupported_media_type', 'content-type: must be application/json.');
  });
  // A small compressed body may unfold into one of any size; nothing that is sent here is large enough to need it.
  app.addHook('preParsing', async (request, reply) => {
    const coding = request.headers['content-encoding'];
    if (coding === undefined || /^\s*(identity\s*)?$/i.test(coding)) return;
    reply.header('accept-encoding', 'identity'); // RFC 9110 §12.5.3
    throw problem('unsupported_media_type', 'content-encoding: must not be used; send the body uncompressed.');
  });
}
