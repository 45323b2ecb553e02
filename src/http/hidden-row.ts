/** After a 404: which rows did the request name? Whether they are another user's is looked into later, elsewhere. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type OwnedTableName, ownedTables } from '../isolation/owned-tables.ts';
import type { UnauthorizedAccessWatch } from '../work/unauthorized-access.ts';
import { callerIfKnown } from './authentication.ts';

/** As many tasks as one request may change. What else it names is counted in the log, and looked into no further. */
const rowsMax = 100;
const uuidForm = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Most fields are named as the columns that refer to a row: git_branch_id is a row of project_git_branchs. */
const tableOfField: ReadonlyMap<string, OwnedTableName> = new Map([
  ...ownedTables.flatMap(({ references }) => references.map(({ column, table }) => [column, table] as const)),
  ['dependencies', 'tasks'] as const,
]);

/** Members of a body whose own members refer to rows. */
const holders = new Set(['operations', 'task', 'patch', 'assignees', 'add']);

/** Of requests that are answered with 200 although a part of them was not found: these parts. */
const refusedParts = new WeakMap<FastifyRequest, readonly unknown[]>();

/** Says which parts of the body were not found, where the answer's status does not. */
export function notFoundWithin(request: FastifyRequest, parts: readonly unknown[]): void {
  refusedParts.set(request, parts);
}

export function registerHiddenRowWatch(app: FastifyInstance, watch: UnauthorizedAccessWatch): void {
  // The answer has been sent when this runs, and nothing here is waited for.
  app.addHook('onResponse', async (request, reply) => {
    const caller = callerIfKnown(request);
    const { config, url: route } = request.routeOptions;
    // Administrators see everything: what they do not find is not there.
    if (!caller || route === undefined || config.access === 'admin') return;
    const named = reply.statusCode === 404 ? [request.params, request.body] : refusedParts.get(request);
    const rows = distinct(referencesIn(named, config.entity));
    for (const row of rows.slice(0, rowsMax)) watch.look({ ...row, caller, method: request.method, route });
    const dropped = rows.length - rowsMax;
    if (dropped > 0) {
      app.log.warn(
        { req_id: request.id, user_id: caller.userId, dropped },
        'a refused request named more rows than are looked into',
      );
    }
  });
  app.addHook('onClose', () => watch.drain());
}

interface NamedRow {
  readonly entity: OwnedTableName;
  readonly id: string;
}

function distinct(rows: readonly NamedRow[]): NamedRow[] {
  return [...new Map(rows.map((found) => [`${found.entity} ${found.id}`, found])).values()];
}

/**
 * The rows that a part of a request refers to.
 *
 * @param entity the table that `id` is a row of
 */
export function referencesIn(value: unknown, entity: OwnedTableName | undefined): NamedRow[] {
  if (Array.isArray(value)) return value.flatMap((part) => referencesIn(part, entity));
  if (!isObject(value)) return [];
  return Object.entries(value).flatMap(([field, content]) => {
    if (holders.has(field)) return referencesIn(content, entity);
    const table = field === 'id' ? entity : (tableOfField.get(field) ?? tableOfField.get(field.replace(/s$/, '')));
    return table === undefined ? [] : [content].flat().flatMap((id) => row(table, id));
  });
}

function row(entity: OwnedTableName, id: unknown): NamedRow[] {
  return typeof id === 'string' && uuidForm.test(id) ? [{ entity, id: id.toLowerCase() }] : [];
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
