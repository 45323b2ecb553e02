/**
 * What can be wrong with a request before it has a route: HTTP that is none, an address that cannot be read, a request
 * that never ends. It is answered like everything else, with a problem document, and never takes the server along.
 */
import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { v7 as uuidv7 } from 'uuid';
import { type Problem, problem } from '../errors.ts';
import { problemDocument, problemType, sendProblem, toProblem } from './error-reply.ts';

/** Longer addresses than browsers and proxies commonly pass on; Node itself gives up at 16 KiB of headers. */
const urlCharsMax = 8_000;

/** For `fastify(…)`. */
export const protocolOptions = {
  /** A client has this long to send its whole request, in milliseconds; the body is at most 1 MiB. */
  requestTimeout: 60_000,
  // Node's own refusal of a missing Host is empty; registerProtocolChecks says it in words.
  http: { requireHostHeader: false },
  clientErrorHandler: refuseGarbage,
  frameworkErrors(error: Error, request: FastifyRequest, reply: FastifyReply): void {
    // Hooks do not run for these.
    sendProblem(toProblem(error), request, reply.header('x-request-id', request.id));
  },
};

export function registerProtocolChecks(app: FastifyInstance): void {
  // Node's own answer to an expectation that it does not know is an empty 417, which no log and no hook sees. It comes
  // here like any request and is refused below.
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response));
  // Node reports no parser error on a connection whose last request named an Upgrade (Parser::Execute looks at
  // parser_.upgrade, which an ignored one leaves set): what follows would wait for requestTimeout. So nothing follows.
  app.server.prependListener('request', (request, response) => {
    if (request.headers.upgrade !== undefined) response.setHeader('connection', 'close');
  });
  app.addHook('onRequest', async ({ raw }) => {
    const fault = faultOfRequest(raw);
    if (fault) throw fault;
  });
}

function faultOfRequest({ url = '', httpVersion, headersDistinct }: IncomingMessage): Problem | undefined {
  if (url.length > urlCharsMax) {
    return problem('uri_too_long', `The address must be at most ${urlCharsMax} characters long.`);
  }
  // RFC 9112 §3.2. HTTP/1.0 asks for no such header; ApacheBench speaks it (G45).
  const hosts = headersDistinct.host ?? [];
  if (httpVersion === '1.1' && hosts.length === 0)
    return problem('malformed_request', 'host: is required in HTTP/1.1.');
  // Node would go by the first; a proxy in front may go by the last.
  if (hosts.length > 1) return problem('malformed_request', 'host: must be given once.');
  // RFC 9110 §10.1.1: the one expectation there is; HTTP/1.0 has none and ignores the header.
  if (httpVersion === '1.1' && (headersDistinct.expect ?? []).some((value) => !/^100-continue$/i.test(value.trim()))) {
    return problem('malformed_request', 'expect: must be 100-continue.');
  }
  if (!url.includes('%')) return undefined;
  try {
    decodeURIComponent(url);
    return undefined;
  } catch {
    return problem('malformed_request', 'query: a % must be followed by two hexadecimal digits of UTF-8.');
  }
}

/** Answers what Node's parser could not read, as far as the client still listens, and hangs up. */
export function refuseGarbage(error: Error & { readonly code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const fault = parserFault(error.code);
  const requestId = uuidv7();
  const body = problemDocument(fault, requestId);
  const { status } = fault.kind;
  socket.end(
    [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      `content-type: ${problemType}`,
      `content-length: ${Buffer.byteLength(body)}`,
      `x-request-id: ${requestId}`,
      'cache-control: no-store',
      'connection: close',
      '',
      body,
    ].join('\r\n'),
    // A client that goes on sending would keep the connection open.
    () => socket.destroy(),
  );
}

function parserFault(code: string | undefined): Problem {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return problem('headers_too_large', 'The address and the headers must be at most 16 KiB together.');
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return problem('payload_too_large', 'body: the extensions of a chunk must be at most 16 KiB.');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return problem('request_timeout', 'The request did not arrive in time.');
    default:
      return problem('malformed_request', 'This is not HTTP/1.1.');
  }
}
