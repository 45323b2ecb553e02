/**
 * How each method of a repository is called in the matrix: in one user's scope, about the rows of some world. A method
 * that is not in here fails the matrix, so a new one cannot be forgotten. What is in brackets after its name tells
 * several calls of one method apart.
 */
import type { ProductUserScope } from '../../src/database/isolation.ts';
import { AccessLogRepository } from '../../src/repositories/access-log.ts';
import { AgentRepository } from '../../src/repositories/agents.ts';
import { ApiTokenRepository } from '../../src/repositories/api-tokens.ts';
import { BranchRepository } from '../../src/repositories/branches.ts';
import { ContextRepository } from '../../src/repositories/contexts.ts';
import { IdempotencyKeyRepository } from '../../src/repositories/idempotency-keys.ts';
import { inboxBranch } from '../../src/repositories/inbox.ts';
import { LabelRepository } from '../../src/repositories/labels.ts';
import { OwnedDataRepository } from '../../src/repositories/owned-data.ts';
import { ProfileRepository } from '../../src/repositories/profiles.ts';
import { ProjectRepository } from '../../src/repositories/projects.ts';
import { RuleRepository } from '../../src/repositories/rules.ts';
import { inSavepoint } from '../../src/repositories/savepoint.ts';
import { SessionRepository } from '../../src/repositories/sessions.ts';
import { SubtaskRepository } from '../../src/repositories/subtasks.ts';
import { TaskAssigneeRepository } from '../../src/repositories/task-assignees.ts';
import { TaskDependencyRepository } from '../../src/repositories/task-dependencies.ts';
import { TaskLabelRepository } from '../../src/repositories/task-labels.ts';
import { TaskOverviewRepository } from '../../src/repositories/task-overview.ts';
import { TaskRepository } from '../../src/repositories/tasks.ts';
import { lockUser } from '../../src/repositories/user-lock.ts';
import type { World } from '../support/world.ts';

/** What a call can be about: ids, and the text that stands for names. */
export type Subject = World & { readonly mark: string; readonly idempotency_key: string };

/** @param about whose rows it is about; @param own those of the scope's user, where a call needs one of each */
type Call = (scope: ProductUserScope, about: Subject, own: Subject) => unknown;

export interface RepositoryMove {
  readonly call: Call;
  /** The call names nothing that could be somebody else's. */
  readonly harmless?: true;
  /** SQLSTATE with which the owner is refused; none when the owner is served. */
  readonly refused?: string;
}

const aboutRows = (call: Call): RepositoryMove => ({ call });
const harmless = (call: Call): RepositoryMove => ({ call, harmless: true });

const request = { limit: 100 };
const hash = Buffer.alloc(32);
const newTask = { title: 'new', description: 'new' };
const sort = '-created_at';

const projects: Record<string, RepositoryMove> = {
  'ProjectRepository.list': harmless((s) => new ProjectRepository(s).list(request)),
  'ProjectRepository.get': aboutRows((s, w) => new ProjectRepository(s).get(w.projects)),
  'ProjectRepository.exists': aboutRows((s, w) => new ProjectRepository(s).exists(w.projects)),
  'ProjectRepository.create': harmless((s) => new ProjectRepository(s).create({ name: 'new' })),
  'ProjectRepository.update': aboutRows((s, w) => new ProjectRepository(s).update(w.projects, { name: 'changed' })),
  'ProjectRepository.remove': aboutRows((s, w) => new ProjectRepository(s).remove(w.projects)),
};

const agents: Record<string, RepositoryMove> = {
  'AgentRepository.list': aboutRows((s, w) => new AgentRepository(s).list({ q: w.mark }, request)),
  'AgentRepository.get': aboutRows((s, w) => new AgentRepository(s).get(w.agents)),
  'AgentRepository.exists': aboutRows((s, w) => new AgentRepository(s).exists(w.agents)),
  // A name that another user has taken is free.
  'AgentRepository.create': {
    call: (s, w) => new AgentRepository(s).create({ name: w.mark }),
    refused: '23505',
  },
  'AgentRepository.register': aboutRows((s, w) => new AgentRepository(s).register(w.mark)),
  'AgentRepository.update': aboutRows((s, w) => new AgentRepository(s).update(w.agents, { role: 'changed' })),
  'AgentRepository.update (name)': {
    call: async (s, w) => {
      const repository = new AgentRepository(s);
      return repository.update(await repository.create({ name: 'new' }), { name: w.mark });
    },
    refused: '23505',
  },
  'AgentRepository.remove': aboutRows((s, w) => new AgentRepository(s).remove(w.agents)),
};

const branches: Record<string, RepositoryMove> = {
  'BranchRepository.list': aboutRows((s, w) => new BranchRepository(s).list({ project_id: w.projects }, request)),
  'BranchRepository.list (agent)': aboutRows((s, w) =>
    new BranchRepository(s).list({ assigned_agent_id: w.agents }, request),
  ),
  'BranchRepository.get': aboutRows((s, w) => new BranchRepository(s).get(w.project_git_branchs)),
  'BranchRepository.create': aboutRows((s, w) =>
    new BranchRepository(s).create({ project_id: w.projects, name: 'new' }),
  ),
  'BranchRepository.update': aboutRows((s, w) =>
    new BranchRepository(s).update(w.project_git_branchs, { name: 'changed' }),
  ),
  'BranchRepository.update (agent)': aboutRows((s, w, own) =>
    new BranchRepository(s).update(own.project_git_branchs, { assigned_agent_id: w.agents }),
  ),
  'BranchRepository.restore': aboutRows(async (s, w) => {
    await new BranchRepository(s).update(w.project_git_branchs, { status: 'archived' });
    return new BranchRepository(s).restore(w.project_git_branchs);
  }),
  'BranchRepository.remove': aboutRows((s, w) => new BranchRepository(s).remove(w.project_git_branchs)),
};

const tasks: Record<string, RepositoryMove> = {
  'TaskRepository.list': aboutRows((s, w) =>
    new TaskRepository(s).list({ ...request, sort, git_branch_id: w.project_git_branchs }),
  ),
  'TaskRepository.list (project)': aboutRows((s, w) =>
    new TaskRepository(s).list({ ...request, sort, project_id: w.projects }),
  ),
  'TaskRepository.list (label)': aboutRows((s, w) => new TaskRepository(s).list({ ...request, sort, label: [w.mark] })),
  'TaskRepository.list (assignee)': aboutRows((s, w) =>
    new TaskRepository(s).list({ ...request, sort, assignee: [w.mark] }),
  ),
  'TaskRepository.list (text)': aboutRows((s, w) => new TaskRepository(s).list({ ...request, sort, q: w.mark })),
  'TaskRepository.get': aboutRows((s, w) => new TaskRepository(s).get(w.tasks)),
  'TaskRepository.exists': aboutRows((s, w) => new TaskRepository(s).exists(w.tasks)),
  // An id that another user has taken is free.
  'TaskRepository.create': {
    call: (s, w, own) => new TaskRepository(s).create(w.tasks, { ...newTask, git_branch_id: own.project_git_branchs }),
    refused: '23505',
  },
  'TaskRepository.create (branch)': aboutRows(async (s, w, own) => {
    const repository = new TaskRepository(s);
    await repository.remove(own.second_task);
    await repository.create(own.second_task, { ...newTask, git_branch_id: w.project_git_branchs });
    return 'created';
  }),
  'TaskRepository.lock': aboutRows((s, w) => new TaskRepository(s).lock(w.tasks)),
  'TaskRepository.lockAll': aboutRows((s, w) => new TaskRepository(s).lockAll([w.tasks, w.second_task])),
  'TaskRepository.change': aboutRows(async (s, w) => {
    await new TaskRepository(s).change(w.tasks, { title: 'changed' });
    return new TaskRepository(s).lock(w.tasks);
  }),
  'TaskRepository.change (branch)': aboutRows(async (s, w, own) => {
    await new TaskRepository(s).change(own.tasks, { git_branch_id: w.project_git_branchs });
    return 'moved';
  }),
  'TaskRepository.changeAll': aboutRows(async (s, w) => {
    await new TaskRepository(s).changeAll([w.tasks, w.second_task], { title: 'changed' }, 'update');
    return new TaskRepository(s).lockAll([w.tasks, w.second_task]);
  }),
  'TaskRepository.remove': aboutRows((s, w) => new TaskRepository(s).remove(w.tasks)),

  'TaskOverviewRepository.next': aboutRows((s, w) =>
    new TaskOverviewRepository(s).next({ git_branch_id: w.project_git_branchs }),
  ),
  'TaskOverviewRepository.next (label)': aboutRows(async (s, w) => {
    // What it waits for is done with first, or it does not come next.
    await new TaskDependencyRepository(s).remove(w.tasks, w.second_task);
    return new TaskOverviewRepository(s).next({ label: [w.mark], assignee: [w.mark] });
  }),
  'TaskOverviewRepository.blocked': aboutRows((s, w) =>
    new TaskOverviewRepository(s).blocked({ project_id: w.projects }),
  ),
  'TaskOverviewRepository.counts': aboutRows((s, w) =>
    new TaskOverviewRepository(s).counts({ git_branch_id: w.project_git_branchs }),
  ),
};

const subtasks: Record<string, RepositoryMove> = {
  'SubtaskRepository.list': aboutRows((s, w) => new SubtaskRepository(s).list(w.tasks, request)),
  'SubtaskRepository.get': aboutRows((s, w) => new SubtaskRepository(s).get(w.task_subtasks)),
  'SubtaskRepository.taskOf': aboutRows((s, w) => new SubtaskRepository(s).taskOf(w.task_subtasks)),
  'SubtaskRepository.lock': aboutRows((s, w) => new SubtaskRepository(s).lock(w.task_subtasks)),
  'SubtaskRepository.create': aboutRows((s, w) =>
    new SubtaskRepository(s).create(w.tasks, { title: 'new', status: 'todo' }),
  ),
  'SubtaskRepository.change': aboutRows(async (s, w) => {
    await new SubtaskRepository(s).change(w.task_subtasks, { title: 'changed' });
    return new SubtaskRepository(s).lock(w.task_subtasks);
  }),
  'SubtaskRepository.remove': aboutRows((s, w) => new SubtaskRepository(s).remove(w.task_subtasks)),
  'SubtaskRepository.progressOf': aboutRows((s, w) => new SubtaskRepository(s).progressOf(w.tasks)),
  'SubtaskRepository.unfinishedOf': aboutRows((s, w) => new SubtaskRepository(s).unfinishedOf(w.tasks)),
};

const dependencies: Record<string, RepositoryMove> = {
  'TaskDependencyRepository.list': aboutRows((s, w) =>
    new TaskDependencyRepository(s).list(w.tasks, 'depends_on', request),
  ),
  'TaskDependencyRepository.list (dependents)': aboutRows((s, w) =>
    new TaskDependencyRepository(s).list(w.second_task, 'dependents', request),
  ),
  'TaskDependencyRepository.add': aboutRows(async (s, w, own) => {
    await new TaskDependencyRepository(s).add(w.second_task, [own.tasks]);
    return 'added';
  }),
  'TaskDependencyRepository.add (depends on)': aboutRows(async (s, w, own) => {
    await new TaskDependencyRepository(s).add(own.second_task, [w.tasks]);
    return 'added';
  }),
  'TaskDependencyRepository.remove': aboutRows((s, w) =>
    new TaskDependencyRepository(s).remove(w.tasks, w.second_task),
  ),
  'TaskDependencyRepository.unfinishedOf': aboutRows((s, w) => new TaskDependencyRepository(s).unfinishedOf(w.tasks)),
  'TaskDependencyRepository.dependentsOf': aboutRows((s, w) =>
    new TaskDependencyRepository(s).dependentsOf(w.second_task),
  ),
  'TaskDependencyRepository.releasable': aboutRows(async (s, w) => {
    await new TaskRepository(s).change(w.second_task, { status: 'blocked' });
    return new TaskDependencyRepository(s).releasable([w.second_task]);
  }),
  'TaskDependencyRepository.reaches': aboutRows((s, w) =>
    new TaskDependencyRepository(s).reaches(w.tasks, w.second_task),
  ),
  'TaskDependencyRepository.reaches (from one’s own)': aboutRows((s, w, own) =>
    new TaskDependencyRepository(s).reaches(own.tasks, w.second_task),
  ),
  'TaskDependencyRepository.edgesFrom': aboutRows((s, w) => new TaskDependencyRepository(s).edgesFrom(w.tasks)),
};

const links: Record<string, RepositoryMove> = {
  'TaskAssigneeRepository.add': aboutRows(async (s, w) => {
    await new TaskAssigneeRepository(s).add(w.tasks, [{ assignee_id: 'new' }]);
    return 'added';
  }),
  'TaskAssigneeRepository.add (agent)': aboutRows(async (s, w, own) => {
    await new TaskAssigneeRepository(s).add(own.second_task, [{ assignee_id: 'new', agent_id: w.agents }]);
    return 'added';
  }),
  'TaskAssigneeRepository.remove': aboutRows((s, w) => new TaskAssigneeRepository(s).remove(w.tasks, [w.mark])),
  'TaskAssigneeRepository.list': aboutRows((s, w) => new TaskAssigneeRepository(s).list(w.tasks)),

  'TaskLabelRepository.add': aboutRows((s, w, own) => new TaskLabelRepository(s).add(w.second_task, [own.labels])),
  'TaskLabelRepository.add (label)': aboutRows((s, w, own) =>
    new TaskLabelRepository(s).add(own.second_task, [w.labels]),
  ),
  'TaskLabelRepository.remove': aboutRows((s, w) => new TaskLabelRepository(s).remove(w.tasks, [w.mark])),
  'TaskLabelRepository.remove (label)': aboutRows((s, w, own) =>
    new TaskLabelRepository(s).remove(own.tasks, [w.mark]),
  ),

  'LabelRepository.list': harmless((s) => new LabelRepository(s).list(request)),
  'LabelRepository.get': aboutRows((s, w) => new LabelRepository(s).get(w.labels)),
  'LabelRepository.create': {
    call: (s, w) => new LabelRepository(s).create({ name: w.mark }),
    refused: '23505',
  },
  'LabelRepository.update': aboutRows((s, w) => new LabelRepository(s).update(w.labels, { name: 'changed' })),
  'LabelRepository.remove': aboutRows((s, w) => new LabelRepository(s).remove(w.labels)),
  'LabelRepository.idsFor': aboutRows((s, w, own) => new LabelRepository(s).idsFor(w.tasks, [own.mark])),
  'LabelRepository.idsFor (name)': aboutRows((s, w, own) => new LabelRepository(s).idsFor(own.tasks, [w.mark])),
};

const rule = { name: 'new', content: 'new' };
const rules: Record<string, RepositoryMove> = {
  'RuleRepository.list': aboutRows((s, w) => new RuleRepository(s).list({ project_id: w.projects }, request)),
  'RuleRepository.list (branch)': aboutRows(async (s, w) => {
    const reach = { scope: 'branch' as const, project_id: null, git_branch_id: w.project_git_branchs };
    await new RuleRepository(s).update(w.rules, reach);
    return new RuleRepository(s).list({ git_branch_id: w.project_git_branchs }, request);
  }),
  'RuleRepository.list (parent)': aboutRows(async (s, w) => {
    await new RuleRepository(s).update(w.rules, { parent_rule_id: w.rules });
    return new RuleRepository(s).list({ parent_rule_id: w.rules }, request);
  }),
  'RuleRepository.get': aboutRows((s, w) => new RuleRepository(s).get(w.rules)),
  'RuleRepository.create (project)': aboutRows((s, w) =>
    new RuleRepository(s).create({ ...rule, scope: 'project', project_id: w.projects }),
  ),
  'RuleRepository.create (branch)': aboutRows((s, w) =>
    new RuleRepository(s).create({ ...rule, scope: 'branch', git_branch_id: w.project_git_branchs }),
  ),
  'RuleRepository.create (parent)': aboutRows((s, w) =>
    new RuleRepository(s).create({ ...rule, parent_rule_id: w.rules }),
  ),
  'RuleRepository.update': aboutRows((s, w) => new RuleRepository(s).update(w.rules, { name: 'changed' })),
  'RuleRepository.update (project)': aboutRows((s, w, own) =>
    new RuleRepository(s).update(own.rules, { project_id: w.projects }),
  ),
  'RuleRepository.update (parent)': aboutRows((s, w, own) =>
    new RuleRepository(s).update(own.rules, { parent_rule_id: w.rules }),
  ),
  'RuleRepository.remove': aboutRows((s, w) => new RuleRepository(s).remove(w.rules)),
  'RuleRepository.lock': aboutRows((s, w) => new RuleRepository(s).lock(w.rules)),
  'RuleRepository.lockAll': harmless((s) => new RuleRepository(s).lockAll()),
};

/** By tier: whose id a context has, what it is made with, what of it can be changed, and its link to the tier above. */
const tiers = [
  ['global', 'global_contexts', () => ({}), { organization_id: 'changed' }, undefined],
  [
    'project',
    'projects',
    (w: Subject) => ({ project_id: w.projects }),
    { data: '{"changed":1}' },
    ['parent_global_id', 'global_contexts'],
  ],
  [
    'branch',
    'project_git_branchs',
    (w: Subject) => ({ branch_id: w.project_git_branchs }),
    { data: '{"changed":1}' },
    ['parent_project_id', 'project_contexts'],
  ],
  [
    'task',
    'tasks',
    (w: Subject) => ({ task_id: w.tasks }),
    { data: '{"changed":1}' },
    ['parent_branch_context_id', 'branch_contexts'],
  ],
] as const;

const contexts = Object.fromEntries(
  tiers.flatMap(([level, id, made, changed, parent]): [string, RepositoryMove][] => {
    const of = (s: ProductUserScope) => new ContextRepository(s, level);
    const always: [string, RepositoryMove][] = [
      ['list', harmless((s) => of(s).list(request))],
      ['get', aboutRows((s, w) => of(s).get(w[id]))],
      ['lock', aboutRows((s, w) => of(s).lock(w[id]))],
      // There is one already of the owner's.
      ['make', aboutRows((s, w) => of(s).make(w[id], made(w)))],
      ['update', aboutRows((s, w) => of(s).update(w[id], changed))],
      ['remove', aboutRows((s, w) => of(s).remove(w[id]))],
      ['exists', aboutRows((s, w) => of(s).exists(w[id]))],
    ];
    // Nothing is above the global tier, and it describes nothing.
    const linked: [string, RepositoryMove][] = parent
      ? [
          ['fillParent', aboutRows((s, w) => of(s).fillParent(w[id], parent[0], w[parent[1]]))],
          ['fillParent of one’s own', aboutRows((s, w, own) => of(s).fillParent(own[id], parent[0], w[parent[1]]))],
          ['update of one’s own', aboutRows((s, w, own) => of(s).update(own[id], { [parent[0]]: w[parent[1]] }))],
          ['chain', aboutRows((s, w) => of(s).chain(w[id]))],
        ]
      : [];
    return [...always, ...linked].map(([call, move]) => {
      const [method, ...rest] = call.split(' ');
      return [`ContextRepository.${method} (${[level, ...rest].join(' ')})`, move];
    });
  }),
);

const account: Record<string, RepositoryMove> = {
  'ProfileRepository.get': aboutRows((s, w) => new ProfileRepository(s).get(w.global_contexts)),
  'ProfileRepository.present': harmless((s) => new ProfileRepository(s).present()),
  'ProfileRepository.update': aboutRows((s, w) =>
    new ProfileRepository(s).update(w.global_contexts, { name: 'changed' }),
  ),

  'SessionRepository.list': aboutRows((s, w) => new SessionRepository(s).list(request, w.session)),
  'SessionRepository.end': aboutRows((s, w) => new SessionRepository(s).end(w.session)),
  'SessionRepository.endAll': harmless((s) => new SessionRepository(s).endAll()),

  'ApiTokenRepository.list': harmless((s) => new ApiTokenRepository(s).list(request)),
  'ApiTokenRepository.get': aboutRows((s, w) => new ApiTokenRepository(s).get(w.api_token)),
  'ApiTokenRepository.countUsable': harmless((s) => new ApiTokenRepository(s).countUsable()),
  'ApiTokenRepository.create': {
    call: (s, w) =>
      new ApiTokenRepository(s).create({ id: w.api_token, name: 'new', hash, scopes: ['read'], expiresAt: null }),
    refused: '23505',
  },
  'ApiTokenRepository.revoke': aboutRows((s, w) => new ApiTokenRepository(s).revoke(w.api_token)),

  'AccessLogRepository.list': harmless((s) => new AccessLogRepository(s).list(request)),

  'IdempotencyKeyRepository.take': aboutRows((s, w) => new IdempotencyKeyRepository(s).take(w.mark, hash)),
  'IdempotencyKeyRepository.answerOf': aboutRows((s, w) => new IdempotencyKeyRepository(s).answerOf(w.mark)),
  'IdempotencyKeyRepository.keep': aboutRows((s, w) =>
    new IdempotencyKeyRepository(s).keep(w.idempotency_key, 201, 'changed'),
  ),
};

/** Over everything that the user has. */
const whole: Record<string, RepositoryMove> = {
  inboxBranch: harmless(async (s) => {
    const { id, made } = inboxBranch(s);
    await made;
    return id;
  }),
  inSavepoint: harmless((s) => inSavepoint(s, async () => 'done')),
  lockUser: harmless((s) => lockUser(s)),
  'OwnedDataRepository.openExport': harmless((s) => new OwnedDataRepository(s).openExport()),
  'OwnedDataRepository.nextRows': harmless(async (s) => {
    await new OwnedDataRepository(s).openExport();
    const rows = await new OwnedDataRepository(s).nextRows();
    // Within a table they come in any order.
    return rows.map(({ table_name, row }) => `${table_name} ${row}`).sort();
  }),
  'OwnedDataRepository.erase': harmless((s) => new OwnedDataRepository(s).erase()),
};

export const moves: Readonly<Record<string, RepositoryMove>> = {
  ...projects,
  ...agents,
  ...branches,
  ...tasks,
  ...subtasks,
  ...dependencies,
  ...links,
  ...rules,
  ...contexts,
  ...account,
  ...whole,
};
