/** The requests that are disturbed. */
import { moves } from '../../route-moves.ts';
import type { Actor, Call } from './stage.ts';

export interface Disturbed {
  /** A route, as the matrix names it. */
  readonly name: string;
  /** Also at the short size. */
  readonly short?: true;
  readonly headers?: Record<string, string>;
  /** What its body has besides. */
  readonly besides?: Record<string, unknown>;
  /**
   * The status of the same request when it was done already and only its answer was lost; `same` when it is answered as
   * at first. Nothing when it may not be sent again then.
   */
  readonly again?: number | 'same';
}

const keyed = { headers: { 'idempotency-key': 'disturbed' }, again: 'same' } as const;

export const requests: readonly Disturbed[] = [
  { name: 'GET /api/tasks', short: true, again: 'same' },
  { name: 'GET /api/tasks/{id}', again: 'same' },
  { name: 'GET /api/tasks/next', again: 'same' },
  { name: 'GET /api/user/export', short: true, again: 'same' },
  { name: 'POST /api/tasks', short: true, ...keyed },
  { name: 'POST /api/projects', ...keyed },
  { name: 'PATCH /api/tasks/{id}', short: true, headers: { 'if-match': '"1"' }, again: 412 },
  { name: 'PATCH /api/tasks/{id}/labels' },
  { name: 'PUT /api/contexts/task/{id}' },
  // One by one, each operation is answered for itself: with 200 for the whole, and what could not be done inside.
  { name: 'POST /api/tasks/bulk', besides: { atomic: true }, ...keyed },
  { name: 'DELETE /api/tasks/{id}', short: true, again: 404 },
  { name: 'DELETE /api/projects/{id}', again: 404 },
];

export function callOf({ name, headers, besides }: Disturbed, { planted }: Actor): Call {
  const [method = '', path = ''] = name.split(' ');
  const move = moves[name];
  if (!move) throw new Error(`there is no route ${name}`);
  const ids = move.path?.(planted) ?? {};
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, id: string) => ids[id] ?? '');
  const body = move.body?.(planted);
  return {
    method,
    target: move.query ? `${filled}?${move.query(planted)}` : filled,
    body: body === undefined ? undefined : JSON.stringify({ ...body, ...besides }),
    ...(headers ? { headers } : {}),
  };
}

/** What the next requests of a user are. */
export const probes: readonly Disturbed[] = [{ name: 'GET /api/tasks' }, { name: 'GET /api/projects' }];
