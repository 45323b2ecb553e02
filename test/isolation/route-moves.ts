/**
 * How each route is called in the matrix: with the ids of some world. A route that is not in here fails the matrix, so a
 * new one cannot be forgotten.
 */
import type { World } from '../support/world.ts';

export interface Move {
  /** Ids for the path's parameters, taken from the world that the call is about. */
  readonly path?: (world: World) => Record<string, string>;
  readonly body?: (world: World) => unknown;
  readonly query?: (world: World) => string;
  /** What the owner gets on a fresh world; 2xx unless said. */
  readonly owner?: number;
  /** The call names nothing that could be somebody else's. */
  readonly harmless?: true;
}

const id =
  (table: keyof World): NonNullable<Move['path']> =>
  (world) => ({ id: world[table] });
const fixed = (value: unknown) => () => value;
const harmless: Move = { harmless: true };

const contexts = Object.fromEntries(
  (
    [
      ['global', 'global_contexts', {}],
      ['project', 'projects', { data: { a: 1 } }],
      ['branch', 'project_git_branchs', { data: { a: 1 } }],
      ['task', 'tasks', { data: { a: 1 } }],
    ] as const
  ).flatMap(([level, table, body]): [string, Move][] => [
    [`GET /api/contexts/${level}`, harmless],
    [`GET /api/contexts/${level}/{id}`, { path: id(table) }],
    [`PUT /api/contexts/${level}/{id}`, { path: id(table), body: fixed(body) }],
    [`PATCH /api/contexts/${level}/{id}`, { path: id(table), body: fixed({ extra: 1 }) }],
    [`DELETE /api/contexts/${level}/{id}`, { path: id(table) }],
  ]),
);

export const moves: Readonly<Record<string, Move>> = {
  'GET /api/projects': harmless,
  'POST /api/projects': { harmless: true, body: fixed({ name: 'new' }) },
  'GET /api/projects/{id}': { path: id('projects') },
  'PATCH /api/projects/{id}': { path: id('projects'), body: fixed({ name: 'changed' }) },
  'DELETE /api/projects/{id}': { path: id('projects') },
  'GET /api/projects/{id}/branches': { path: id('projects') },

  'GET /api/branches': { query: (w) => `project_id=${w.projects}` },
  'POST /api/branches': { body: (w) => ({ project_id: w.projects, name: 'new' }) },
  'GET /api/branches/{id}': { path: id('project_git_branchs') },
  'PATCH /api/branches/{id}': { path: id('project_git_branchs'), body: fixed({ name: 'changed' }) },
  'DELETE /api/branches/{id}': { path: id('project_git_branchs') },
  'POST /api/branches/{id}/assign-agent': {
    path: id('project_git_branchs'),
    body: (w) => ({ agent_id: w.agents }),
  },
  'POST /api/branches/{id}/unassign-agent': { path: id('project_git_branchs') },
  'POST /api/branches/{id}/archive': { path: id('project_git_branchs') },
  'POST /api/branches/{id}/restore': { path: id('project_git_branchs'), owner: 409 },

  ...contexts,

  'GET /api/agents': harmless,
  'POST /api/agents': { harmless: true, body: fixed({ name: 'new' }) },
  'GET /api/agents/{id}': { path: id('agents') },
  'PATCH /api/agents/{id}': { path: id('agents'), body: fixed({ role: 'changed' }) },
  'DELETE /api/agents/{id}': { path: id('agents') },

  'GET /api/rules': { query: (w) => `project_id=${w.projects}` },
  'POST /api/rules': {
    body: (w) => ({ name: 'new', content: 'c', scope: 'project', project_id: w.projects, parent_rule_id: w.rules }),
  },
  'GET /api/rules/{id}': { path: id('rules') },
  'PATCH /api/rules/{id}': { path: id('rules'), body: fixed({ name: 'changed' }) },
  'DELETE /api/rules/{id}': { path: id('rules') },

  'GET /api/tasks': { query: (w) => `git_branch_id=${w.project_git_branchs}&project_id=${w.projects}` },
  'POST /api/tasks': {
    body: (w) => ({
      title: 'new',
      description: 'new',
      git_branch_id: w.project_git_branchs,
      dependencies: [w.tasks],
    }),
  },
  'GET /api/tasks/next': { query: (w) => `git_branch_id=${w.project_git_branchs}` },
  'GET /api/tasks/stats': { query: (w) => `git_branch_id=${w.project_git_branchs}` },
  'POST /api/tasks/bulk': {
    body: (w) => ({
      operations: [
        { op: 'update', id: w.tasks, patch: { title: 'changed' } },
        { op: 'delete', id: w.tasks },
      ],
    }),
  },
  'GET /api/tasks/{id}': { path: id('tasks') },
  'PATCH /api/tasks/{id}': {
    path: id('tasks'),
    body: (w) => ({ title: 'changed', git_branch_id: w.project_git_branchs }),
  },
  'DELETE /api/tasks/{id}': { path: id('tasks') },
  // The planted task depends on another one that is not done.
  'POST /api/tasks/{id}/complete': { path: id('tasks'), body: fixed({ completion_summary: 'done' }), owner: 409 },
  'POST /api/tasks/{id}/reopen': { path: id('tasks'), body: fixed({ reason: 'again' }), owner: 409 },
  'POST /api/tasks/{id}/archive': { path: id('tasks'), owner: 409 },
  'POST /api/tasks/{id}/restore': { path: id('tasks'), owner: 409 },
  'PATCH /api/tasks/{id}/labels': { path: id('tasks'), body: fixed({ add: ['new'], remove: ['canary'] }) },
  'PATCH /api/tasks/{id}/assignees': {
    path: id('tasks'),
    body: (w) => ({ add: [{ assignee_id: 'new', agent_id: w.agents }], remove: ['canary'] }),
  },
  'GET /api/tasks/{id}/dependencies': { path: id('tasks') },
  // It would depend on itself.
  'POST /api/tasks/{id}/dependencies': {
    path: id('tasks'),
    body: (w) => ({ depends_on_task_id: w.second_task }),
    owner: 409,
  },
  'DELETE /api/tasks/{id}/dependencies/{depends_on_task_id}': {
    path: (w) => ({ id: w.tasks, depends_on_task_id: w.second_task }),
  },
  'GET /api/tasks/{id}/subtasks': { path: id('tasks') },
  'POST /api/tasks/{id}/subtasks': { path: id('tasks'), body: fixed({ title: 'new' }) },
  'GET /api/subtasks/{id}': { path: id('task_subtasks') },
  'PATCH /api/subtasks/{id}': { path: id('task_subtasks'), body: fixed({ progress_percentage: 50 }) },
  'DELETE /api/subtasks/{id}': { path: id('task_subtasks') },
  'POST /api/subtasks/{id}/complete': { path: id('task_subtasks'), body: fixed({ completion_summary: 'done' }) },

  'GET /api/labels': harmless,
  'POST /api/labels': { harmless: true, body: fixed({ name: 'new' }) },
  'GET /api/labels/{id}': { path: id('labels') },
  'PATCH /api/labels/{id}': { path: id('labels'), body: fixed({ name: 'changed' }) },
  'DELETE /api/labels/{id}': { path: id('labels') },

  'GET /api/user/profile': harmless,
  'PATCH /api/user/profile': { harmless: true, body: fixed({ name: 'changed' }) },
  'GET /api/user/sessions': harmless,
  'DELETE /api/user/sessions/{id}': { path: id('session') },
  'GET /api/user/access-log': harmless,
  'GET /api/user/export': harmless,
  'GET /api/user/tokens': harmless,
  'POST /api/user/tokens': { harmless: true, body: fixed({ name: 'new', scopes: ['read'] }) },
  'DELETE /api/user/tokens/{id}': { path: id('api_token') },
  'DELETE /api/user': { harmless: true, body: fixed({}) },
  'POST /api/auth/logout': harmless,
  // The planted user has no password.
  'POST /api/auth/change-password': {
    harmless: true,
    body: fixed({ current_password: 'not it at all', new_password: 'a new pass phrase' }),
    owner: 409,
  },
};
