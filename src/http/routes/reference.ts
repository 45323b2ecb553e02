/** What there is to call: for programs at /openapi.json, for people at /docs. */
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import type { OpenApiDocument } from '../reference/openapi.ts';
import { referencePage, styleSource } from '../reference/page.ts';
import type { ContractApp } from '../validation.ts';

const tags = ['reference'];
/** One for each route: helmet writes a route's own options into it, and they would be those of all routes that share it. */
const config = () => ({ access: 'open' }) as const;

export interface ReferenceOptions {
  readonly openApi: () => OpenApiDocument;
}

export async function referenceRoutes(app: ContractApp, { openApi }: ReferenceOptions): Promise<void> {
  // Made when somebody first asks: it costs a start some 50 ms and few ask.
  let json: string | undefined;
  let page: string | undefined;

  app.get(
    '/openapi.json',
    {
      config: config(),
      schema: {
        tags,
        summary: 'Read this reference as OpenAPI 3.1',
        response: { 200: z.looseObject({ openapi: z.string() }) },
      },
    },
    async (_request, reply) => {
      json ??= JSON.stringify(openApi());
      return send(reply, 'application/json; charset=utf-8', json);
    },
  );

  app.get(
    '/docs',
    {
      config: config(),
      helmet: {
        contentSecurityPolicy: {
          useDefaults: false,
          directives: {
            defaultSrc: ["'none'"],
            styleSrc: [styleSource],
            baseUri: ["'none'"],
            formAction: ["'none'"],
            frameAncestors: ["'none'"],
          },
        },
      },
      schema: {
        tags,
        summary: 'Read this reference as a page',
        response: { 200: { content: { 'text/html': { schema: z.string() } } } },
      },
    },
    async (_request, reply) => {
      page ??= referencePage(openApi());
      return send(reply, 'text/html; charset=utf-8', page);
    },
  );
}

function send(reply: FastifyReply, type: string, text: string): FastifyReply {
  return reply.type(type).header('cache-control', 'no-cache').send(text);
}
