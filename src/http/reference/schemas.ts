/** The contract's zod schemas as JSON Schema 2020-12, the dialect of OpenAPI 3.1: whole bodies and answers by name. */
import { z } from 'zod';

/** A JSON Schema. `unknown` inside: it is written out and looked through, never computed with. */
export type JsonSchema = { [key: string]: unknown };

export const schemaAddress = (name: string) => `#/components/schemas/${name}`;

/** Schemas of one direction: what a caller may send is not what comes back (defaults, coercion). */
export class NamedSchemas {
  readonly #io: 'input' | 'output';
  readonly #registry = z.registry<{ id: string }>();
  readonly #names = new Map<z.ZodType, string>();

  constructor(io: 'input' | 'output') {
    this.#io = io;
  }

  /**
   * @param wished names from the best to the one that is numbered when all are taken
   * @returns the schema's name; its own title comes before what is wished
   */
  add(schema: z.ZodType, ...wished: readonly [string, ...string[]]): string {
    const known = this.#names.get(schema);
    if (known !== undefined) return known;
    const taken = new Set(this.#names.values());
    const title = schema.meta()?.title;
    const names = [...(title === undefined ? [] : [title]), ...wished];
    const last = names.at(-1) ?? 'Schema';
    let name = names.find((candidate) => !taken.has(candidate)) ?? last;
    for (let n = 2; taken.has(name); n += 1) name = `${last}${n}`;
    this.#names.set(schema, name);
    this.#registry.add(schema, { id: name });
    return name;
  }

  get components(): JsonSchema {
    const { schemas } = z.toJSONSchema(this.#registry, { io: this.#io, unrepresentable: 'any', uri: schemaAddress });
    const { __shared: shared, ...named } = schemas;
    // What zod found to be recursive: JSON values, once for each place that has them.
    const recursive = isObject(shared?.$defs) ? shared.$defs : {};
    const unknown = Object.entries(recursive).filter(([, schema]) => !isJsonValue(schema));
    if (unknown.length > 0) throw new Error('the contract has a recursive schema besides JSON: give it a name here');
    const values = Object.values(recursive)
      .slice(0, 1)
      .map((schema) => [jsonValueName, schema] as const);
    const all = [...Object.entries(named), ...values];
    return Object.fromEntries(all.map(([name, schema]) => [name, tidy(schema, this.#io)]));
  }
}

/** One part of a request that has no name of its own: parameters. */
export function parametersOf(schema: unknown): { properties: Record<string, JsonSchema>; required: readonly string[] } {
  if (!(schema instanceof z.ZodType)) return { properties: {}, required: [] };
  const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  const tidied = Object.entries(properties).map(([name, property]) => [name, tidyObject(property, 'input')] as const);
  return { properties: Object.fromEntries(tidied), required };
}

const jsonValueName = 'JsonValue';

/** `z.json()`: text, number, true or false, null, a list or an object of the same. */
function isJsonValue(schema: unknown): boolean {
  const types =
    isObject(schema) && Array.isArray(schema.anyOf) ? schema.anyOf.map((one) => isObject(one) && one.type) : [];
  return types.join() === 'string,number,boolean,null,array,object';
}

const sharedRef = '#/components/schemas/__shared#/$defs/';

/** Leaves out what says nothing to a reader and would bind clients to what may still grow. */
function tidy(value: unknown, io: 'input' | 'output'): unknown {
  if (Array.isArray(value)) return value.map((item) => tidy(item, io));
  return isObject(value) ? tidyObject(value, io) : value;
}

function tidyObject(schema: unknown, io: 'input' | 'output'): JsonSchema {
  if (!isObject(schema)) return {};
  const kept = Object.entries(schema).filter(([key, value]) => {
    if (key === '$schema' || key === '$id' || key === '~standard') return false;
    if (key === 'propertyNames') return !(isObject(value) && Object.keys(value).join() === 'type');
    if (key === 'maximum') return value !== Number.MAX_SAFE_INTEGER;
    if (key === 'minimum') return value !== Number.MIN_SAFE_INTEGER;
    // Answers may get further members; requests with unknown ones are refused.
    if (key === 'additionalProperties') return !(value === false && io === 'output');
    return !(key === 'pattern' && schema.format === 'uuid');
  });
  return Object.fromEntries(
    kept.map(([key, value]) => {
      const isShared = key === '$ref' && typeof value === 'string' && value.startsWith(sharedRef);
      return [key, isShared ? schemaAddress(jsonValueName) : tidy(value, io)];
    }),
  );
}

export function isObject(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
