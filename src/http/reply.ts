/** Answers made of JSON that Postgres built: it goes out as it is. */
import type { FastifyReply } from 'fastify';
import { problem } from '../errors.ts';
import type { JsonDocument } from '../repositories/base-user-scoped-repository.ts';
import type { Page } from '../repositories/page.ts';

export function sendPage(reply: FastifyReply, page: Page): FastifyReply {
  return sendJson(reply, `{"items":${page.items},"next_cursor":${JSON.stringify(page.next_cursor)}}`);
}

/** One resource, with its version as the ETag (RFC 9110 §8.8.3). */
export function sendDocument(reply: FastifyReply, document: JsonDocument): FastifyReply {
  reply.header('etag', `"${document.version}"`);
  return sendJson(reply, document.json);
}

export function sendJson(reply: FastifyReply, json: string): FastifyReply {
  return reply.type('application/json; charset=utf-8').header('cache-control', 'private, no-store').send(json);
}

/**
 * The version that the caller has seen (RFC 9110 §13.1.1), undefined when it does not say.
 *
 * @throws Problem `validation_failed` for anything but one of our ETags
 */
export function expectedVersion(ifMatch: string | undefined): number | undefined {
  if (ifMatch === undefined || ifMatch.trim() === '*') return undefined;
  const version = /^"([1-9]\d{0,8})"$/.exec(ifMatch.trim())?.[1];
  if (version === undefined)
    throw problem('validation_failed', 'if-match: must be the ETag of the resource, such as "3".');
  return Number(version);
}
