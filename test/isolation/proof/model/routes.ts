/**
 * How each route is asked: one generator for every route of the server. Which routes there are is read from
 * /openapi.json; one without a generator, and a generator without its route, is a fault of the proof.
 */
import type { Choice } from './choice.ts';
import { names, passwords } from './choice.ts';
import type { Kind } from './knowledge.ts';

export interface Parts {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whose token goes along; the session's unless said. */
  readonly as?: 'session' | 'other-session' | 'nobody';
}

export interface RouteModel {
  /** How often it is asked, relative to the others. */
  readonly weight: number;
  /** What the ids in its answers are ids of. */
  readonly kind?: Kind;
  readonly make: (choice: Choice) => Parts;
}

const long = '2150-01-01 00:00:00+00';
const statuses = [
  'todo',
  'in_progress',
  'blocked',
  'review',
  'testing',
  'done',
  'cancelled',
  'archived',
  'unknown',
] as const;
const priorities = ['low', 'medium', 'high', 'urgent', 'critical', 'none'] as const;
const levels = { project: 'projects', branch: 'branches', task: 'tasks' } as const;

/** A list by moments, newest first. */
const list =
  (filters: (c: Choice) => Record<string, unknown> = () => ({}), sort = '-created_at', key = long) =>
  (c: Choice): Parts => ({ query: { ...texts(filters(c)), ...c.page(sort, key) } });

function texts(fields: Record<string, unknown>): Record<string, string | readonly string[]> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, Array.isArray(value) ? value.map(String) : String(value)]),
  );
}

const read =
  (kind: Kind) =>
  (c: Choice): Parts => ({ params: { id: c.id(kind) } });
const change =
  (kind: Kind, body: (c: Choice) => unknown) =>
  (c: Choice): Parts => ({ params: { id: c.id(kind) }, body: body(c), headers: c.ifMatch() });
const create =
  (body: (c: Choice) => unknown) =>
  (c: Choice): Parts => ({ body: body(c), headers: c.idempotencyKey() });

const projectFields = (c: Choice) => ({
  name: () => c.name(),
  description: () => c.name(),
  metadata: () => c.json(),
});
const agentFields = (c: Choice) => ({
  name: () => c.name(),
  description: () => c.name(),
  role: () => c.name(),
  capabilities: () => [c.name(), 'typing'],
  status: () => c.draw.pick(['available', 'busy', 'offline', 'retired', 'gone']),
  availability_score: () => c.draw.pick([0, 0.5, 1, 2]),
  metadata: () => c.json(),
});
const branchFields = (c: Choice) => ({
  name: () => c.name(),
  description: () => c.name(),
  priority: () => c.draw.pick(priorities),
  metadata: () => c.json(),
});
const assignee = (c: Choice) => ({
  assignee_id: c.name(),
  ...(c.draw.chance(50) ? { agent_id: c.id('agents') } : {}),
  ...(c.draw.chance(20) ? { role: c.name() } : {}),
});
const taskFields = (c: Choice) => ({
  title: () => c.name(),
  description: () => c.name(),
  details: () => c.name(),
  priority: () => c.draw.pick(priorities),
  estimated_effort: () => c.draw.pick(['quick', '2 days', '']),
  due_date: () => c.draw.pick([c.date(), null]),
  git_branch_id: () => c.id('branches'),
});
const taskCreate = (c: Choice) => ({
  title: c.name(),
  description: c.name(),
  ...c.some({
    ...taskFields(c),
    labels: () => [c.name()],
    assignees: () => [assignee(c)],
    dependencies: () => [c.id('tasks')],
  }),
});
const taskPatch = (c: Choice) =>
  c.atLeastOne({
    ...taskFields(c),
    status: () => c.draw.pick(statuses),
    progress_percentage: () => c.draw.pick([0, 50, 100, 101]),
  });
const subtaskFields = (c: Choice) => ({
  title: () => c.name(),
  description: () => c.name(),
  priority: () => c.draw.pick(priorities),
  estimated_effort: () => c.draw.pick(['quick', '']),
  assignees: () => [c.name()],
  progress_percentage: () => c.draw.pick([0, 30, 100]),
});
const ruleFields = (c: Choice) => ({
  name: () => c.name(),
  content: () => c.name(),
  parent_rule_id: () => c.draw.pick([c.id('rules'), null]),
  priority: () => c.draw.pick([0, 5, -1000, 1001]),
  enabled: () => c.draw.pick([true, false]),
});
const reach = (c: Choice) =>
  c.draw.pick<() => Record<string, unknown>>([
    () => ({}),
    () => ({ scope: 'project', project_id: c.id('projects') }),
    () => ({ scope: 'branch', git_branch_id: c.id('branches') }),
    () => ({ scope: 'user', project_id: c.id('projects') }),
  ])();
const place = (c: Choice) => ({ git_branch_id: () => c.id('branches'), project_id: () => c.id('projects') });
const taskFilters = (c: Choice) => ({
  ...place(c),
  status: () => c.draw.pick<unknown>(['todo', 'todo,done', ['todo', 'blocked'], 'unknown']),
  priority: () => c.draw.pick(['medium', 'low,high', 'none']),
  assignee: () => c.draw.pick<unknown>([c.name(), [c.name(), c.name()]]),
  label: () => c.name(),
  due_before: () => c.date(),
  due_after: () => c.date(),
  q: () => c.draw.pick(['a', 'alph', '%', '_', '\\', 'ß', "'"]),
  sort: () => c.draw.pick(['created_at', '-updated_at', 'due_date', '-due_date', 'priority', '-title', 'title', 'x']),
});
const bulkOperation = (c: Choice) => {
  const version = c.draw.chance(20) ? { version: c.draw.pick([1, 2, 3]) } : {};
  return c.draw.pick<() => unknown>([
    () => ({ op: 'create', task: taskCreate(c) }),
    () => ({ op: 'update', id: c.id('tasks'), patch: taskPatch(c), ...version }),
    () => ({ op: 'delete', id: c.id('tasks'), ...version }),
  ])();
};
const tooLong = (c: Choice) => ({ completion_summary: c.name() });
const contextBody = (c: Choice) =>
  c.atLeastOne({
    data: () => c.json(),
    delegation_rules: () => c.json(),
    extra: () => c.draw.pick<unknown>([1, null, 'x']),
  });

const contexts = Object.fromEntries(
  Object.entries(levels).flatMap(([level, kind]): [string, RouteModel][] => [
    [`GET /api/contexts/${level}`, { weight: 2, make: list() }],
    [`GET /api/contexts/${level}/{id}`, { weight: 3, make: read(kind) }],
    [`PUT /api/contexts/${level}/{id}`, { weight: 3, make: change(kind, contextBody) }],
    [`PATCH /api/contexts/${level}/{id}`, { weight: 3, make: change(kind, contextBody) }],
    [`DELETE /api/contexts/${level}/{id}`, { weight: 1, make: read(kind) }],
  ]),
);
const globalId = (c: Choice) => c.draw.pick(['me', c.own('accounts'), c.foreign('accounts'), c.guessed(), 'you']);
const globalBody = (c: Choice) =>
  c.atLeastOne({ organization_id: () => c.name(), security_policies: () => c.json(), extra: () => c.json() });

export const routeModels: Readonly<Record<string, RouteModel>> = {
  'GET /api/projects': { weight: 8, kind: 'projects', make: list() },
  'POST /api/projects': {
    weight: 12,
    kind: 'projects',
    make: create((c) => ({ name: c.name(), ...c.some({ description: () => c.name(), metadata: () => c.json() }) })),
  },
  'GET /api/projects/{id}': { weight: 6, kind: 'projects', make: read('projects') },
  'PATCH /api/projects/{id}': {
    weight: 5,
    kind: 'projects',
    make: change('projects', (c) =>
      c.atLeastOne({ ...projectFields(c), status: () => c.draw.pick(['active', 'archived', 'x']) }),
    ),
  },
  'DELETE /api/projects/{id}': { weight: 2, make: read('projects') },
  'GET /api/projects/{id}/branches': {
    weight: 5,
    kind: 'branches',
    make: (c) => ({ ...read('projects')(c), query: c.page('-created_at', long) }),
  },

  'GET /api/branches': {
    weight: 6,
    kind: 'branches',
    make: list((c) =>
      c.some({
        project_id: () => c.id('projects'),
        status: () => c.draw.pick(statuses),
        priority: () => c.draw.pick(priorities),
        assigned_agent_id: () => c.id('agents'),
      }),
    ),
  },
  'POST /api/branches': {
    weight: 12,
    kind: 'branches',
    make: create((c) => ({ project_id: c.id('projects'), name: c.name(), ...c.some({ metadata: () => c.json() }) })),
  },
  'GET /api/branches/{id}': { weight: 5, kind: 'branches', make: read('branches') },
  'PATCH /api/branches/{id}': {
    weight: 5,
    kind: 'branches',
    make: change('branches', (c) => c.atLeastOne({ ...branchFields(c), status: () => c.draw.pick(statuses) })),
  },
  'DELETE /api/branches/{id}': { weight: 2, make: read('branches') },
  'POST /api/branches/{id}/assign-agent': {
    weight: 4,
    kind: 'branches',
    make: change('branches', (c) =>
      c.draw.pick<() => unknown>([
        () => ({ agent_id: c.id('agents') }),
        () => ({ agent_name: c.name() }),
        () => ({}),
      ])(),
    ),
  },
  'POST /api/branches/{id}/unassign-agent': {
    weight: 2,
    kind: 'branches',
    make: change('branches', () => undefined),
  },
  'POST /api/branches/{id}/archive': { weight: 2, kind: 'branches', make: change('branches', () => undefined) },
  'POST /api/branches/{id}/restore': { weight: 2, kind: 'branches', make: change('branches', () => undefined) },

  ...contexts,
  'GET /api/contexts/global': { weight: 1, make: list() },
  'GET /api/contexts/global/{id}': { weight: 2, make: (c) => ({ params: { id: globalId(c) } }) },
  'PUT /api/contexts/global/{id}': {
    weight: 2,
    make: (c) => ({ params: { id: globalId(c) }, body: globalBody(c), headers: c.ifMatch() }),
  },
  'PATCH /api/contexts/global/{id}': {
    weight: 2,
    make: (c) => ({ params: { id: globalId(c) }, body: globalBody(c), headers: c.ifMatch() }),
  },
  'DELETE /api/contexts/global/{id}': { weight: 1, make: (c) => ({ params: { id: globalId(c) } }) },

  'GET /api/agents': {
    weight: 5,
    kind: 'agents',
    make: list((c) =>
      c.some({
        status: () => c.draw.pick(['available', 'busy', 'gone']),
        role: () => c.name(),
        q: () => c.draw.pick(['a', '%']),
      }),
    ),
  },
  'POST /api/agents': {
    weight: 7,
    kind: 'agents',
    make: create((c) => ({ ...c.some(agentFields(c)), name: c.name() })),
  },
  'GET /api/agents/{id}': { weight: 4, kind: 'agents', make: read('agents') },
  'PATCH /api/agents/{id}': {
    weight: 4,
    kind: 'agents',
    make: change('agents', (c) => c.atLeastOne({ ...agentFields(c), last_active_at: () => c.date() })),
  },
  'DELETE /api/agents/{id}': { weight: 2, make: read('agents') },

  'GET /api/rules': {
    weight: 5,
    kind: 'rules',
    make: list((c) =>
      c.some({
        scope: () => c.draw.pick(['user', 'project', 'branch', 'x']),
        project_id: () => c.id('projects'),
        git_branch_id: () => c.id('branches'),
        parent_rule_id: () => c.id('rules'),
        enabled: () => c.draw.pick(['true', 'false', '1']),
      }),
    ),
  },
  'POST /api/rules': {
    weight: 8,
    kind: 'rules',
    make: create((c) => ({ ...c.some(ruleFields(c)), name: c.name(), content: c.name(), ...reach(c) })),
  },
  'GET /api/rules/{id}': { weight: 4, kind: 'rules', make: read('rules') },
  'PATCH /api/rules/{id}': {
    weight: 5,
    kind: 'rules',
    make: change('rules', (c) => ({ ...c.atLeastOne(ruleFields(c)), ...reach(c) })),
  },
  'DELETE /api/rules/{id}': { weight: 2, make: read('rules') },

  'GET /api/tasks': { weight: 22, kind: 'tasks', make: list((c) => c.some(taskFilters(c))) },
  'POST /api/tasks': { weight: 24, kind: 'tasks', make: create(taskCreate) },
  'GET /api/tasks/next': {
    weight: 4,
    make: (c) => ({
      query: texts(c.some({ ...place(c), assignee: () => c.name(), label: () => c.name() })),
    }),
  },
  'GET /api/tasks/stats': { weight: 5, make: (c) => ({ query: texts(c.some(place(c))) }) },
  'POST /api/tasks/bulk': {
    weight: 5,
    kind: 'tasks',
    make: create((c) => ({
      operations: Array.from({ length: 1 + c.draw.below(3) }, () => bulkOperation(c)),
      ...c.some({ atomic: () => c.draw.pick([true, false]) }),
    })),
  },
  'GET /api/tasks/{id}': { weight: 10, kind: 'tasks', make: read('tasks') },
  'PATCH /api/tasks/{id}': { weight: 14, kind: 'tasks', make: change('tasks', taskPatch) },
  'DELETE /api/tasks/{id}': {
    weight: 4,
    make: (c) => ({ params: { id: c.id('tasks') }, headers: c.ifMatch() }),
  },
  'POST /api/tasks/{id}/complete': {
    weight: 5,
    kind: 'tasks',
    make: change('tasks', (c) => ({ ...tooLong(c), ...c.some({ testing_notes: () => c.name() }) })),
  },
  'POST /api/tasks/{id}/reopen': { weight: 2, kind: 'tasks', make: change('tasks', (c) => ({ reason: c.name() })) },
  'POST /api/tasks/{id}/archive': { weight: 2, kind: 'tasks', make: change('tasks', () => undefined) },
  'POST /api/tasks/{id}/restore': { weight: 2, kind: 'tasks', make: change('tasks', () => undefined) },
  'PATCH /api/tasks/{id}/labels': {
    weight: 5,
    kind: 'tasks',
    make: change('tasks', (c) => c.atLeastOne({ add: () => [c.name()], remove: () => [c.name()] })),
  },
  'PATCH /api/tasks/{id}/assignees': {
    weight: 5,
    kind: 'tasks',
    make: change('tasks', (c) => c.atLeastOne({ add: () => [assignee(c)], remove: () => [c.name()] })),
  },
  'GET /api/tasks/{id}/dependencies': {
    weight: 3,
    make: (c) => ({
      ...read('tasks')(c),
      query: {
        ...texts(c.some({ direction: () => c.draw.pick(['depends_on', 'dependents', 'x']) })),
        ...c.page('created_at', long),
      },
    }),
  },
  'POST /api/tasks/{id}/dependencies': {
    weight: 8,
    make: (c) => ({
      params: { id: c.id('tasks') },
      body: { depends_on_task_id: c.id('tasks') },
      headers: { ...c.ifMatch(), ...c.idempotencyKey() },
    }),
  },
  'DELETE /api/tasks/{id}/dependencies/{depends_on_task_id}': {
    weight: 3,
    make: (c) => ({ params: { id: c.id('tasks'), depends_on_task_id: c.id('tasks') }, headers: c.ifMatch() }),
  },
  'GET /api/tasks/{id}/subtasks': {
    weight: 4,
    kind: 'subtasks',
    make: (c) => ({ ...read('tasks')(c), query: c.page('created_at', long) }),
  },
  'POST /api/tasks/{id}/subtasks': {
    weight: 8,
    kind: 'subtasks',
    make: (c) => ({
      params: { id: c.id('tasks') },
      body: { ...c.some(subtaskFields(c)), title: c.name() },
      headers: c.idempotencyKey(),
    }),
  },
  'GET /api/subtasks/{id}': { weight: 3, kind: 'subtasks', make: read('subtasks') },
  'PATCH /api/subtasks/{id}': {
    weight: 5,
    kind: 'subtasks',
    make: change('subtasks', (c) =>
      c.atLeastOne({
        ...subtaskFields(c),
        status: () => c.draw.pick(['todo', 'in_progress', 'done']),
        blockers: () => c.name(),
        insights_found: () => [c.name()],
      }),
    ),
  },
  'DELETE /api/subtasks/{id}': {
    weight: 2,
    make: (c) => ({ params: { id: c.id('subtasks') }, headers: c.ifMatch() }),
  },
  'POST /api/subtasks/{id}/complete': { weight: 3, kind: 'subtasks', make: change('subtasks', tooLong) },

  'GET /api/labels': { weight: 5, kind: 'labels', make: list(undefined, 'name', 'beta') },
  'POST /api/labels': {
    weight: 8,
    kind: 'labels',
    make: create((c) => ({
      name: c.name(),
      ...c.some({ color: () => c.draw.pick(['#00FF00', 'red']), description: () => c.name() }),
    })),
  },
  'GET /api/labels/{id}': { weight: 3, kind: 'labels', make: read('labels') },
  'PATCH /api/labels/{id}': {
    weight: 4,
    kind: 'labels',
    make: change('labels', (c) => c.atLeastOne({ name: () => c.name(), color: () => '#123abc' })),
  },
  'DELETE /api/labels/{id}': { weight: 2, make: read('labels') },

  'GET /api/user/profile': { weight: 3, kind: 'accounts', make: () => ({}) },
  'PATCH /api/user/profile': {
    weight: 3,
    make: (c) => ({ body: c.atLeastOne({ name: () => c.name() }), headers: c.ifMatch() }),
  },
  'GET /api/user/sessions': { weight: 3, kind: 'sessions', make: list() },
  'DELETE /api/user/sessions/{id}': { weight: 2, make: read('sessions') },
  'GET /api/user/access-log': { weight: 6, make: list(undefined, '-at', long) },
  'GET /api/user/export': { weight: 3, make: () => ({}) },
  'GET /api/user/tokens': { weight: 3, kind: 'tokens', make: list() },
  'POST /api/user/tokens': {
    weight: 3,
    kind: 'tokens',
    make: (c) => ({
      body: {
        name: c.name(),
        ...c.some({
          scopes: () => c.draw.pick([['read'], ['read', 'write'], ['admin'], []]),
          expires_at: () => c.draw.pick(['2150-01-01T00:00:00Z', '2001-01-01T00:00:00Z', null]),
        }),
      },
      headers: c.draw.chance(5) ? { 'idempotency-key': 'key-1' } : {},
    }),
  },
  'DELETE /api/user/tokens/{id}': { weight: 2, make: read('tokens') },
  'DELETE /api/user': {
    weight: 0.2,
    make: (c) => ({ body: c.draw.pick<unknown>([undefined, { password: c.draw.pick(passwords) }]) }),
  },
  'POST /api/auth/logout': {
    weight: 1,
    make: (c) => ({
      as: 'other-session',
      query: c.draw.chance(10) ? { all: c.draw.pick(['true', 'false', 'x']) } : {},
    }),
  },
  'POST /api/auth/change-password': {
    weight: 0.4,
    make: (c) => ({
      body: { current_password: c.draw.pick(passwords), new_password: c.draw.pick([...passwords, 'short']) },
    }),
  },

  'POST /api/auth/login': {
    weight: 0.7,
    make: (c) => ({
      as: 'nobody',
      body: {
        // Never another user's who takes part: failed attempts lock the account, and that is meant to be so.
        email: c.draw.pick([c.me.email, c.me.email.toUpperCase(), 'bystander@example.test', 'nobody@example.test']),
        password: c.draw.pick([...passwords, 'no such pass phrase']),
      },
    }),
  },
  'POST /api/auth/refresh': {
    weight: 2,
    make: (c) => ({
      as: 'nobody',
      body: { refresh_token: c.draw.chance(85) ? c.secret('refresh') : c.draw.pick(['rfr_x', c.secret('api')]) },
    }),
  },
  'POST /api/auth/register': {
    weight: 0.4,
    make: (c) => ({
      as: 'nobody',
      body: {
        // Of one's own: which addresses are taken is what everybody shares.
        email: c.draw.pick([`second-${c.me.email}`, c.me.email, 'no address']),
        password: c.draw.pick([...passwords, 'short']),
        name: c.draw.pick(names),
      },
    }),
  },
  'GET /health': { weight: 0.5, make: () => ({ as: 'nobody' }) },
  'GET /health/live': { weight: 0.5, make: () => ({}) },
  'GET /health/ready': { weight: 0.5, make: () => ({}) },
  'GET /openapi.json': { weight: 0.2, make: () => ({}) },
  'GET /docs': { weight: 0.2, make: () => ({ as: 'nobody' }) },
};

/** Administration is refused to every user of the model, whatever it names. */
export const refusedAdministration: RouteModel = {
  weight: 0.15,
  make: (c) => ({
    params: { id: c.foreign('tasks') },
    query: c.draw.chance(50) ? { user_id: c.foreign('accounts') } : {},
  }),
};
