/** After a 404: which rows did the request name? Whether they are another user's is looked into later, elsewhere. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type OwnedTableName, ownedTables } from '../isolation/owned-tables.ts';
import type { UnauthorizedAccessWatch } from '../work/unauthorized-access.ts';
import { callerIfKnown } from './authentication.ts';

/** A request that names more rows than this is answered like any other and looked into no further. */
const rowsMax = 20;
const uuidForm = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Fields are named as the columns that refer to a row: git_branch_id is a row of project_git_branchs. */
const tableOfField = new Map<string, OwnedTableName>(
  ownedTables.flatMap(({ references }) => references.map(({ column, table }) => [column, table] as const)),
);

export function registerHiddenRowWatch(app: FastifyInstance, watch: UnauthorizedAccessWatch): void {
  // The answer has been sent when this runs, and nothing here is waited for.
  app.addHook('onResponse', async (request, reply) => {
    const caller = callerIfKnown(request);
    const { config, url: route } = request.routeOptions;
    // Administrators see everything: what they do not find is not there.
    if (reply.statusCode !== 404 || !caller || route === undefined || config.access === 'admin') return;
    for (const row of rowsNamed(request)) watch.look({ ...row, caller, method: request.method, route });
  });
  app.addHook('onClose', () => watch.drain());
}

interface NamedRow {
  readonly entity: OwnedTableName;
  readonly id: string;
}

/** The row of the path, and every row that the path or the body refers to. */
function rowsNamed(request: FastifyRequest): NamedRow[] {
  const { params, body } = request;
  const path = new Map<string, unknown>(isObject(params) ? Object.entries(params) : []);
  const { entity } = request.routeOptions.config;
  const rows = [...(entity ? row(entity, path.get('id')) : []), ...references(params), ...references(body)];
  const seen = new Map(rows.map((found) => [`${found.entity} ${found.id}`, found]));
  return [...seen.values()].slice(0, rowsMax);
}

function references(value: unknown): NamedRow[] {
  if (!isObject(value)) return [];
  return Object.entries(value).flatMap(([field, content]) => {
    const entity = tableOfField.get(field) ?? tableOfField.get(field.replace(/s$/, ''));
    if (!entity) return [];
    return Array.isArray(content) ? content.slice(0, rowsMax).flatMap((id) => row(entity, id)) : row(entity, content);
  });
}

function row(entity: OwnedTableName, id: unknown): NamedRow[] {
  return typeof id === 'string' && uuidForm.test(id) ? [{ entity, id: id.toLowerCase() }] : [];
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
