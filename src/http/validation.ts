/** Requests are parsed by the contract's zod schemas, once; a fault names the field, what was wrong, what is allowed. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyBaseLogger, FastifyInstance, FastifyTypeProvider, RawServerDefault } from 'fastify';
import { z } from 'zod';
import type { Problem } from '../errors.ts';
import { plainMessages, schemaAt } from './plain-message.ts';
import { type FieldFault, refusal } from './refusal.ts';

declare module 'fastify' {
  /** What a route tells its readers; see reference/openapi.ts. */
  interface FastifySchema {
    readonly tags?: readonly string[];
    readonly summary?: string;
    readonly description?: string;
  }
}

/** Handlers get what a schema parses, and may answer with what it describes. */
interface ContractTypes extends FastifyTypeProvider {
  readonly validator: this['schema'] extends z.ZodType ? z.output<this['schema']> : unknown;
  readonly serializer: this['schema'] extends z.ZodType ? z.input<this['schema']> : unknown;
}

/** The application as route files see it: handlers get what the contract parsed. */
export type ContractApp = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ContractTypes
>;

export function registerContract(app: FastifyInstance): void {
  app.setValidatorCompiler(({ schema, httpPart = 'request' }) => {
    if (!(schema instanceof z.ZodType)) throw new TypeError('a route schema must be a zod schema');
    const error = plainMessages(schema);
    return (given: unknown) => {
      // Fastify shows a missing body as null.
      const data = httpPart === 'body' && given === null ? undefined : given;
      const parsed = schema.safeParse(data, { error });
      return parsed.success ? { value: parsed.data } : { error: faultsOf(httpPart, schema, data, parsed.error) };
    };
  });
  // Response schemas describe; what Postgres built is not parsed again on its way out.
  app.setSerializerCompiler(() => (payload) => JSON.stringify(payload));
}

const faultsShownMax = 20;
const knownFieldsShownMax = 40;

function faultsOf(part: string, schema: z.ZodType, data: unknown, error: z.ZodError): Problem {
  const whole = part === 'querystring' ? 'query' : part;
  const faults = error.issues.flatMap((issue): FieldFault[] => {
    const field = issue.path.length > 0 ? issue.path.map(String).join('.') : whole;
    if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownField(schema, issue.path, key));
    if (part === 'querystring' && isRepeated(schema, data, issue.path)) {
      return [{ field, message: 'must be given once' }];
    }
    return [{ field, message: issue.message }];
  });
  return refusal(faults.slice(0, faultsShownMax));
}

function unknownField(schema: z.ZodType, path: readonly PropertyKey[], key: string): FieldFault {
  const field = [...path.map(String), key].join('.').slice(0, 200);
  const object = schemaAt(schema, path);
  const known = object instanceof z.ZodObject ? Object.keys(object.shape).slice(0, knownFieldsShownMax) : [];
  return { field, message: `is not known here${known.length > 0 ? `; known are ${known.join(', ')}` : ''}` };
}

/** `?limit=1&limit=2`: Fastify makes a list of it. */
function isRepeated(schema: z.ZodType, data: unknown, path: readonly PropertyKey[]): boolean {
  const [key] = path;
  if (path.length !== 1 || typeof key !== 'string' || typeof data !== 'object' || data === null) return false;
  const takesOne = schemaAt(schema, path);
  const isOne = takesOne instanceof z.ZodNumber || takesOne instanceof z.ZodString || takesOne instanceof z.ZodEnum;
  return isOne && Array.isArray(Object.getOwnPropertyDescriptor(data, key)?.value);
}
