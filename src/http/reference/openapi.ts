/**
 * The OpenAPI 3.1 document, made from the routes as they are registered: what has no route is not in it, and a route
 * cannot be left out. Source: OpenAPI Specification 3.1.1.
 */
import type { FastifyInstance, RouteOptions } from 'fastify';
import { z } from 'zod';
import { problemKinds } from '../../errors.ts';
import { version } from '../../version.ts';
import type { AccessClass } from '../access-class.ts';
import { itemName, operationId, resourceName } from './names.ts';
import { type JsonSchema, NamedSchemas, parametersOf, schemaAddress } from './schemas.ts';

export interface OpenApiDocument {
  readonly openapi: '3.1.1';
  readonly info: JsonSchema;
  readonly servers: readonly JsonSchema[];
  readonly tags: readonly { readonly name: string }[];
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: {
    readonly schemas: JsonSchema;
    readonly parameters: JsonSchema;
    readonly headers: JsonSchema;
    readonly responses: Record<string, JsonSchema>;
    readonly securitySchemes: JsonSchema;
  };
}

export interface Operation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly description?: string;
  readonly security: readonly JsonSchema[];
  readonly parameters: readonly JsonSchema[];
  readonly requestBody?: JsonSchema;
  readonly responses: Record<string, JsonSchema>;
}

/** @returns the document of all routes that are registered after this call; made when it is first asked for */
export function collectOpenApi(app: FastifyInstance): () => OpenApiDocument {
  const routes: RouteOptions[] = [];
  app.addHook('onRoute', (route) => {
    routes.push({ ...route });
  });
  let document: OpenApiDocument | undefined;
  return () => {
    document ??= documentOf(routes);
    return document;
  };
}

const description = `Every row belongs to one user. What is another user's answers exactly like what does not exist: 404.

Lists answer \`{items, next_cursor}\`; pass \`next_cursor\` as \`?cursor=\` for the next page. A single resource carries its version as \`ETag\`; send it as \`If-Match\` to change only what you have seen. Creations may carry an \`Idempotency-Key\`. Errors are RFC 9457 problem documents.`;

function documentOf(routes: readonly RouteOptions[]): OpenApiDocument {
  const inputs = new NamedSchemas('input');
  const outputs = new NamedSchemas('output');
  const problemName = outputs.add(problemDocument, 'Problem');
  const paths: Record<string, Record<string, Operation>> = {};
  for (const route of routes) {
    for (const method of [route.method].flat().filter((name) => name !== 'HEAD' && name !== 'OPTIONS')) {
      const path = route.url.replaceAll(/:(\w+)/g, '{$1}');
      paths[path] = { ...paths[path], [method.toLowerCase()]: operationOf(route, method, inputs, outputs) };
    }
  }
  const tags = Object.values(paths).flatMap((path) => Object.values(path).flatMap((operation) => operation.tags));
  return {
    openapi: '3.1.1',
    info: { title: 'ringfence', version, description, license: { name: 'MIT', identifier: 'MIT' } },
    servers: [{ url: '/' }],
    tags: [...new Set(tags)].map((name) => ({ name })),
    paths,
    components: {
      schemas: { ...inputs.components, ...outputs.components },
      parameters,
      headers,
      responses: problemResponses(problemName),
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: 'An access token from `POST /api/auth/login`, or a personal API token.',
        },
      },
    },
  };
}

function operationOf(route: RouteOptions, method: string, inputs: NamedSchemas, outputs: NamedSchemas): Operation {
  const { schema = {}, config, url } = route;
  const access = config?.access ?? 'open';
  const answers = answersOf(schema.response, method, url, outputs);
  const name = { method, url, isList: answers.isList, creates: '201' in answers.responses };
  const id = operationId(name);
  const headerNames = [
    ...(method === 'POST' && name.creates && access === 'write' ? ['IdempotencyKey'] : []),
    ...(answers.hasVersion && (method === 'PATCH' || method === 'PUT') ? ['IfMatch'] : []),
  ];
  const parts = [schema.params, schema.querystring, schema.headers, schema.body].some((part) => part !== undefined);
  return {
    operationId: id,
    tags: [...(schema.tags ?? ['other'])],
    summary: schema.summary ?? '',
    ...(schema.description === undefined ? {} : { description: schema.description }),
    security: access === 'open' ? [] : [{ bearer: [access] }],
    parameters: [
      ...parameterList(schema.params, 'path'),
      ...parameterList(schema.querystring, 'query'),
      ...parameterList(schema.headers, 'header'),
      ...headerNames.map((header) => ({ $ref: `#/components/parameters/${header}` })),
    ],
    ...(schema.body instanceof z.ZodType ? { requestBody: bodyOf(schema.body, id, inputs) } : {}),
    responses: {
      ...answers.responses,
      ...refusals(access, {
        parts: parts || headerNames.length > 0,
        id: url.includes(':'),
        body: schema.body !== undefined,
        changes: method !== 'GET',
        headerNames,
      }),
    },
  };
}

interface Answers {
  readonly responses: Record<string, JsonSchema>;
  readonly isList: boolean;
  readonly hasVersion: boolean;
}

function answersOf(declared: unknown, method: string, url: string, outputs: NamedSchemas): Answers {
  const responses: Record<string, JsonSchema> = {};
  let isList = false;
  let hasVersion = false;
  for (const [status, answer] of Object.entries(declared ?? {})) {
    const { type, schema } = typed(answer);
    if (schema === undefined) {
      responses[status] = { description: statusText(status) };
      continue;
    }
    isList ||= pageItem(schema) !== undefined;
    const versioned = schema instanceof z.ZodObject && 'version' in schema.shape && !url.startsWith('/admin/');
    hasVersion ||= versioned;
    const named = schema instanceof z.ZodObject;
    responses[status] = {
      description: schema.description ?? statusText(status),
      ...(versioned ? { headers: { ETag: { $ref: '#/components/headers/ETag' } } } : {}),
      content: {
        [type]: { schema: named ? { $ref: schemaAddress(nameOf(schema, url, outputs)) } : { type: 'string' } },
      },
    };
  }
  const usual = method === 'GET' ? '200' : '204';
  if (Object.keys(responses).length === 0) responses[usual] = { description: statusText(usual) };
  return { responses, isList, hasVersion };
}

/** A schema alone is JSON; `{ content: { type: { schema } } }` is something else. */
function typed(answer: unknown): { type: string; schema: z.ZodType | undefined } {
  if (answer instanceof z.ZodType) return { type: 'application/json', schema: answer };
  const content = z.object({ content: z.record(z.string(), z.object({ schema: z.unknown() })) }).safeParse(answer);
  const [first] = Object.entries(content.data?.content ?? {});
  const schema = first?.[1].schema;
  return { type: first?.[0] ?? 'application/json', schema: schema instanceof z.ZodType ? schema : undefined };
}

function nameOf(schema: z.ZodType, url: string, outputs: NamedSchemas): string {
  const item = pageItem(schema);
  if (item === undefined) return outputs.add(schema, resourceName(url));
  const fullName = `${resourceName(url)}Item`;
  const name = outputs.add(item, itemName(url) ?? fullName, fullName);
  return outputs.add(schema, `${name}Page`);
}

function pageItem(schema: z.ZodType): z.ZodType | undefined {
  if (!(schema instanceof z.ZodObject) || !('next_cursor' in schema.shape)) return undefined;
  const { items } = schema.shape;
  return items instanceof z.ZodArray && items.element instanceof z.ZodType ? items.element : undefined;
}

function bodyOf(body: z.ZodType, id: string, inputs: NamedSchemas): JsonSchema {
  const name = inputs.add(body, `${id.charAt(0).toUpperCase()}${id.slice(1)}Body`);
  return {
    required: !body.safeParse(undefined).success,
    content: { 'application/json': { schema: { $ref: schemaAddress(name) } } },
  };
}

function parameterList(schema: unknown, place: 'path' | 'query' | 'header'): JsonSchema[] {
  const { properties, required } = parametersOf(schema);
  return Object.entries(properties).map(([name, { description, ...property }]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    ...(description === undefined ? {} : { description }),
    schema: property,
  }));
}

interface Refusable {
  readonly parts: boolean;
  readonly id: boolean;
  readonly body: boolean;
  readonly changes: boolean;
  readonly headerNames: readonly string[];
}

/** Every status that the operation can be refused with by what it takes; `default` for the rest, 5xx among them. */
function refusals(access: AccessClass, takes: Refusable): Record<string, JsonSchema> {
  const statuses = [
    ...(takes.parts ? [400] : []),
    ...(access === 'open' ? [] : [401, 403]),
    ...(takes.id || (takes.body && access !== 'open') ? [404] : []),
    ...(takes.changes && access !== 'open' ? [409] : []),
    ...(takes.headerNames.includes('IfMatch') ? [412] : []),
    ...(takes.body ? [413, 415] : []),
    ...(takes.headerNames.includes('IdempotencyKey') ? [422] : []),
  ];
  const entries = statuses.map((status) => [String(status), { $ref: `#/components/responses/Problem${status}` }]);
  return { ...Object.fromEntries(entries), default: { $ref: '#/components/responses/Problem' } };
}

/** RFC 9457 §3, with this product's members. */
const problemDocument = z.looseObject({
  type: z.string().describe('A URI that names the kind of problem: urn:ringfence:problem: and the code.'),
  title: z.string(),
  status: z.int(),
  detail: z.string().describe('Which field, what was wrong, what is allowed.'),
  code: z.string().describe('The kind of problem, for programs.'),
  retryable: z.boolean().describe('Whether the same request may succeed later.'),
  request_id: z.string().describe('Finds the request in the log; also in the header X-Request-Id.'),
  errors: z
    .array(z.object({ field: z.string(), message: z.string() }))
    .optional()
    .describe('Each field that was refused.'),
});

function problemResponses(problemName: string): Record<string, JsonSchema> {
  const content = { 'application/problem+json': { schema: { $ref: schemaAddress(problemName) } } };
  const kinds = Object.entries(problemKinds).filter(([code]) => code !== 'usage_error');
  const responses = [400, 401, 403, 404, 409, 412, 413, 415, 422].map((status) => {
    const codes = kinds
      .filter(([, kind]) => kind.status === status)
      .map(([code, { title }]) => `\`${code}\` (${title})`)
      .join(', ');
    return [`Problem${status}`, { description: `Refused: ${codes}.`, content }];
  });
  return { ...Object.fromEntries(responses), Problem: { description: 'Any other problem.', content } };
}

const parameters = {
  IfMatch: {
    name: 'If-Match',
    in: 'header',
    required: false,
    description:
      'The ETag that was read. When the resource is at another version, nothing is changed and 412 is answered.',
    schema: { type: 'string', examples: ['"3"'] },
  },
  IdempotencyKey: {
    name: 'Idempotency-Key',
    in: 'header',
    required: false,
    description: 'For 24 hours the same key with the same request creates once and gets the first answer again.',
    schema: { type: 'string', minLength: 1, maxLength: 255 },
  },
};

const headers = {
  ETag: { description: 'The version of the resource, for If-Match.', schema: { type: 'string', examples: ['"3"'] } },
};

function statusText(status: string): string {
  return { '200': 'The answer.', '201': 'It was made.', '204': 'Done.' }[status] ?? `Status ${status}.`;
}
