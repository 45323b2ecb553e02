/** What zod found, in words: what was wrong and what is allowed. The field stands before it. */
import { z } from 'zod';

/**
 * @param root the schema of the part of the request, to look up a field's whole range: zod reports one bound alone
 * @returns an error map for `safeParse`; messages that a schema gives itself are not touched by it
 */
export function plainMessages(root: z.ZodType): z.core.$ZodErrorMap {
  return (issue) => {
    switch (issue.code) {
      case 'invalid_type':
        return issue.input === undefined ? 'is required' : mustBe(issue.expected, root, issue.path ?? []);
      case 'invalid_value':
        return `must be ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map(String).join(', ')}`;
      case 'too_small':
      case 'too_big':
        return range(root, issue.path ?? [], issue);
      case 'invalid_union':
        return union(issue.errors);
      case 'invalid_key':
        return 'has a key that is not allowed';
      case 'invalid_element':
        return 'has an item that is not allowed';
      case 'not_multiple_of':
        return `must be a multiple of ${issue.divisor}`;
      case 'invalid_format':
        return `must be a valid ${issue.format}`;
      default:
        return undefined;
    }
  };
}

const nouns: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a JSON object',
  record: 'a JSON object',
  null: 'null',
};

function mustBe(expected: string, root: z.ZodType, path: readonly PropertyKey[]): string {
  const bounds = expected === 'number' || expected === 'int' ? numberBounds(schemaAt(root, path)) : undefined;
  return `must be ${nouns[expected] ?? `a ${expected}`}${bounds ? ` ${bounds}` : ''}`;
}

interface Bound {
  readonly origin: string;
  readonly minimum?: number | bigint;
  readonly maximum?: number | bigint;
  readonly input?: unknown;
}

function range(root: z.ZodType, path: readonly PropertyKey[], bound: Bound): string {
  const limit = bound.minimum === undefined ? `at most ${bound.maximum}` : `at least ${bound.minimum}`;
  switch (bound.origin) {
    case 'string':
      return `must be ${limit} characters long`;
    case 'array':
    case 'set':
      return `must have ${limit} items`;
    case 'object':
    case 'record':
      return `must have ${limit} keys`;
    default: {
      const got = typeof bound.input === 'number' ? `, got ${bound.input}` : '';
      return `must be ${numberBounds(schemaAt(root, path)) ?? limit}${got}`;
    }
  }
}

function numberBounds(schema: z.ZodType | undefined): string | undefined {
  if (!(schema instanceof z.ZodNumber)) return undefined;
  const { minValue, maxValue } = schema;
  const bounded = (value: number | null) => value !== null && Math.abs(value) < Number.MAX_SAFE_INTEGER;
  if (bounded(minValue) && bounded(maxValue)) return `between ${minValue} and ${maxValue}`;
  if (bounded(minValue)) return `at least ${minValue}`;
  return bounded(maxValue) ? `at most ${maxValue}` : undefined;
}

function union(alternatives: readonly (readonly z.core.$ZodIssue[])[]): string {
  const whole = alternatives.flat().filter((issue) => issue.path.length === 0);
  const messages = new Set((whole.length > 0 ? whole : alternatives.flat()).map((issue) => issue.message));
  return messages.size === 0 ? 'has none of the allowed forms' : [...messages].slice(0, 5).join(', or ');
}

/** The schema of the field at a path, without what is wrapped around it; undefined where the path leads into data. */
export function schemaAt(root: z.ZodType, path: readonly PropertyKey[]): z.ZodType | undefined {
  let at: z.ZodType | undefined = unwrap(root);
  for (const key of path) {
    if (at instanceof z.ZodObject) at = asType(at.shape[String(key)]);
    else if (at instanceof z.ZodArray) at = asType(at.element);
    else at = undefined;
    if (at === undefined) return undefined;
    at = unwrap(at);
  }
  return at;
}

function unwrap(schema: z.ZodType): z.ZodType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable || schema instanceof z.ZodDefault) {
    const inner = asType(schema.unwrap());
    return inner ? unwrap(inner) : schema;
  }
  if (schema instanceof z.ZodPipe) {
    const inner = asType(schema.in);
    const outer = asType(schema.out);
    if (inner instanceof z.ZodTransform) return outer ? unwrap(outer) : schema;
    return inner ? unwrap(inner) : schema;
  }
  return schema;
}

function asType(schema: unknown): z.ZodType | undefined {
  return schema instanceof z.ZodType ? schema : undefined;
}
