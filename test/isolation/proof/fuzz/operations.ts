/** What can be called, as the server itself tells it. Nothing is listed by hand: a new route is fuzzed from its first day. */
import { systemNames } from '../../../../src/repositories/system-rows.ts';
import type { World } from '../../../support/world.ts';

export type Schema = { readonly [key: string]: unknown };

export interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly required: boolean;
  readonly schema: Schema;
}

export interface Operation {
  /** `PATCH /api/tasks/{id}` */
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly access: 'open' | 'read' | 'write' | 'admin';
  readonly parameters: readonly Parameter[];
  readonly body: Schema | undefined;
}

export interface Api {
  readonly operations: readonly Operation[];
  /** Follows a `$ref`. */
  resolve(schema: unknown): Schema;
}

export async function readApi(url: string): Promise<Api> {
  const document: unknown = await (await fetch(`${url}/openapi.json`)).json();
  const root = objectOf(document);
  const resolve = (schema: unknown): Schema => {
    const { $ref, ...rest } = objectOf(schema);
    if (typeof $ref !== 'string') return rest;
    const target = $ref
      .slice(2)
      .split('/')
      .reduce<unknown>((at, part) => objectOf(at)[part], root);
    if (target === undefined) throw new Error(`openapi.json: nothing at ${$ref}`);
    return resolve(target);
  };
  const operations = Object.entries(objectOf(root.paths)).flatMap(([path, methods]) =>
    Object.entries(objectOf(methods)).map(([method, operation]) =>
      operationOf(path, method.toUpperCase(), objectOf(operation), resolve),
    ),
  );
  return { operations, resolve };
}

function operationOf(path: string, method: string, operation: Schema, resolve: Api['resolve']): Operation {
  const security = listOf(operation.security).map((one) => listOf(objectOf(one).bearer)[0]);
  const body = objectOf(objectOf(objectOf(operation.requestBody).content)['application/json']).schema;
  return {
    name: `${method} ${path}`,
    method,
    path,
    access: accessOf(security[0]),
    parameters: listOf(operation.parameters).map((one) => {
      const { name, in: place, required, schema } = resolve(one);
      return { name: String(name), in: placeOf(place), required: required === true, schema: objectOf(schema) };
    }),
    body: body === undefined ? undefined : objectOf(body),
  };
}

function accessOf(scope: unknown): Operation['access'] {
  return scope === 'read' || scope === 'write' || scope === 'admin' ? scope : 'open';
}

function placeOf(place: unknown): Parameter['in'] {
  if (place === 'path' || place === 'query' || place === 'header') return place;
  throw new Error(`openapi.json: a parameter in ${String(place)}, of which the fuzzer knows nothing`);
}

export function objectOf(value: unknown): Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Which row an id stands for: by the path it is in, by the name of the field otherwise. */
const byPath: readonly (readonly [RegExp, keyof World])[] = [
  // The first task waits for the second, which can be finished.
  [/^\/api\/tasks\/\{id\}\/(complete|reopen|archive|restore)/, 'second_task'],
  [/^\/api\/contexts\/global/, 'global_contexts'],
  [/^\/api\/(contexts\/project|projects)\//, 'projects'],
  [/^\/api\/(contexts\/branch|branches)\//, 'project_git_branchs'],
  [/^\/api\/(contexts\/task|tasks)\//, 'tasks'],
  [/^\/api\/subtasks\//, 'task_subtasks'],
  [/^\/api\/agents\//, 'agents'],
  [/^\/api\/rules\//, 'rules'],
  [/^\/api\/labels\//, 'labels'],
  [/^\/api\/user\/sessions\//, 'session'],
  [/^\/api\/user\/tokens\//, 'api_token'],
  ...Object.entries(systemNames).map(
    ([table, name]) => [new RegExp(`^/admin/system/${name}/`), tableOf(table)] as const,
  ),
];

const byField: readonly (readonly [RegExp, keyof World])[] = [
  [/^depends_on|^dependenc/, 'second_task'],
  [/branch/, 'project_git_branchs'],
  [/project/, 'projects'],
  [/task|parent_id/, 'tasks'],
  [/agent/, 'agents'],
  [/rule/, 'rules'],
  [/label/, 'labels'],
];

function tableOf(name: string): keyof World {
  const found = (Object.keys(systemNames) as (keyof typeof systemNames)[]).find((table) => table === name);
  if (!found) throw new Error(`no table is called ${name}`);
  return found;
}

export function rowFor({ path }: Operation, field: string): keyof World {
  const inPath = field === 'id' ? byPath.find(([form]) => form.test(path)) : undefined;
  return (inPath ?? byField.find(([form]) => form.test(field)))?.[1] ?? 'tasks';
}
