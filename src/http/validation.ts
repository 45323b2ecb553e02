/** Requests are parsed by the contract's zod schemas, once; a fault names the field, what was wrong, what is allowed. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import { serializerCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { problem } from '../errors.ts';

/** The application as route files see it: handlers get what the contract parsed. */
export type ContractApp = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;

export function registerContract(app: FastifyInstance): void {
  app.setValidatorCompiler(({ schema, httpPart }) => {
    if (!(schema instanceof z.ZodType)) throw new TypeError('a route schema must be a zod schema');
    return (data) => {
      const parsed = schema.safeParse(data);
      if (parsed.success) return { value: parsed.data };
      return { error: refusal(httpPart ?? 'request', parsed.error) };
    };
  });
  app.setSerializerCompiler(serializerCompiler);
}

const faultsShownMax = 20;

function refusal(part: string, error: z.ZodError) {
  const faults = error.issues.slice(0, faultsShownMax).map((issue) => ({
    field: issue.path.length > 0 ? issue.path.join('.') : part === 'querystring' ? 'query' : part,
    message: issue.message,
  }));
  const detail = faults.map((fault) => `${fault.field}: ${fault.message}`).join('; ');
  return problem('validation_failed', detail, { errors: faults });
}
