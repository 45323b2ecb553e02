/** Our own schema at version 2: no row of the domain says whose it is, so all are unclaimed; the accounts' rows say it. */
import { type OwnedTableName, ownedTables } from '../../../src/isolation/owned-tables.ts';
import type { Shape, ShapeTable } from '../shape.ts';

const unclaimed = `'00000000-0000-4000-8000-000000000000'`;
const domain = (name: OwnedTableName): ShapeTable => ({
  label: `public.${name}`,
  key: ['id'],
  owner: unclaimed,
  unclaimed: true,
  updatable: ownedTables.find(({ table }) => table === name)?.updatable ?? [],
});
const uuid = (kind: string, n: number) => `${kind}000000-0000-4000-8000-${String(n).padStart(12, '0')}`;

export const ownSchema: Shape = {
  name: 'own schema',
  schemas: ['public'],
  template: 'before_isolation',
  sql: (role) => `
    create extension if not exists pg_stat_statements schema public;
    insert into users (id, email, name) select md5('user' || n)::uuid, 'user' || n || '@example.com', 'User ' || n from generate_series(1, 12) n;
    insert into sessions (user_id, id, token_hash, expires_at)
      select md5('user' || 1 + n % 12)::uuid, md5('session' || n)::uuid, decode(repeat('00', 32), 'hex'), '2030-01-01' from generate_series(1, 60) n;
    insert into api_tokens (user_id, id, name, token_hash, scopes)
      select md5('user' || 1 + n % 12)::uuid, md5('token' || n)::uuid, 'Token', decode(repeat('00', 32), 'hex'), '{read}' from generate_series(1, 30) n;
    insert into user_access_log (user_id, id, actor, operation, outcome)
      select md5('user' || 1 + n % 12)::uuid, md5('log' || n)::uuid, 'session', 'login', 'ok' from generate_series(1, 200) n;
    insert into projects (id, name) select md5('project' || n)::uuid, 'Project ' || n from generate_series(1, 40) n;
    insert into agents (id, name) select md5('agent' || n)::uuid, 'Agent ' || n from generate_series(1, 20) n;
    insert into project_git_branchs (id, project_id, name, assigned_agent_id)
      select md5('branch' || n)::uuid, md5('project' || 1 + n % 40)::uuid, 'Branch ' || n, md5('agent' || 1 + n % 20)::uuid from generate_series(1, 120) n;
    insert into tasks (id, git_branch_id, title, description)
      select md5('task' || n)::uuid, md5('branch' || 1 + n % 120)::uuid, 'Task ' || n, 'What to do' from generate_series(1, 900) n;
    insert into task_subtasks (id, task_id, title) select md5('subtask' || n)::uuid, md5('task' || n)::uuid, 'Part' from generate_series(1, 600) n;
    insert into task_dependencies (id, task_id, depends_on_task_id)
      select md5('dependency' || n)::uuid, md5('task' || n)::uuid, md5('task' || n + 1)::uuid from generate_series(1, 300) n;
    insert into task_assignees (id, task_id, assignee_id, agent_id)
      select md5('assignee' || n)::uuid, md5('task' || n)::uuid, 'somebody', md5('agent' || 1 + n % 20)::uuid from generate_series(1, 300) n;
    insert into labels (id, name) select md5('label' || n)::uuid, 'Label ' || n from generate_series(1, 20) n;
    insert into task_labels (id, task_id, label_id)
      select md5('tl' || n)::uuid, md5('task' || n)::uuid, md5('label' || 1 + n % 20)::uuid from generate_series(1, 300) n;
    insert into rules (id, name, content, scope, project_id)
      select md5('rule' || n)::uuid, 'Rule', 'Do it well', 'project', md5('project' || 1 + n % 40)::uuid from generate_series(1, 60) n;
    insert into rules (id, name, content, parent_rule_id)
      select md5('child rule' || n)::uuid, 'Rule', 'Do it better', md5('rule' || n)::uuid from generate_series(1, 60) n;
    -- The global context has its user's id.
    insert into global_contexts (id) select id from users;
    insert into project_contexts (id, project_id) select id, id from projects;
    insert into branch_contexts (id, branch_id, parent_project_id) select id, id, project_id from project_git_branchs;
    insert into task_contexts_unified (id, task_id, parent_branch_id, parent_branch_context_id)
      select id, id, git_branch_id, git_branch_id from tasks where status = 'todo';
    grant select, insert, update, delete on all tables in schema public to ${role};
    analyze;
  `,
  users: 'users',
  userId: 'uuid',
  tables: {
    users: { label: 'public.users', key: ['id'], owner: 't.id::text' },
    sessions: { label: 'public.sessions', key: ['user_id', 'id'], owner: 't.user_id::text' },
    api_tokens: { label: 'public.api_tokens', key: ['user_id', 'id'], owner: 't.user_id::text' },
    user_access_log: { label: 'public.user_access_log', key: ['user_id', 'id'], owner: 't.user_id::text' },
    idempotency_keys: { label: 'public.idempotency_keys', key: ['user_id', 'id'], owner: 't.user_id::text' },
    projects: domain('projects'),
    agents: domain('agents'),
    project_git_branchs: domain('project_git_branchs'),
    tasks: domain('tasks'),
    task_subtasks: domain('task_subtasks'),
    task_dependencies: domain('task_dependencies'),
    task_assignees: domain('task_assignees'),
    labels: domain('labels'),
    task_labels: domain('task_labels'),
    rules: domain('rules'),
    global_contexts: { label: 'public.global_contexts', key: ['id'], owner: 't.id::text' },
    project_contexts: domain('project_contexts'),
    branch_contexts: domain('branch_contexts'),
    task_contexts_unified: domain('task_contexts_unified'),
  },
  config: {
    tables: {
      'public.projects': { class: 'owned' },
      'public.agents': { class: 'owned' },
      'public.labels': { class: 'owned' },
      'public.global_contexts': { class: 'owned', owner: { column: 'id', as: 'uuid' } },
    },
    ignored: ['public.ringfence_migrations'],
  },
  reads: [
    'select id, expires_at from public.sessions where user_id = $1::uuid',
    `select t.id, t.title from public.tasks t join public.project_git_branchs b on b.id = t.git_branch_id
     where $1 <> '' order by t.created_at, t.id limit 20`,
  ],
  // Whose rows nobody has claimed.
  made: [{ table: 'users', key: '["00000000-0000-4000-8000-000000000000"]' }],
  operations: [
    {
      name: 'new user',
      oldOnly: true,
      transaction: true,
      async run(hand) {
        const n = hand.next();
        const id = uuid('a0', n);
        await hand.insert('users', { id, email: `new${n}@example.com`, name: 'New' }, id);
        const token_hash = `\\x${'00'.repeat(32)}`;
        await hand.insert('sessions', { user_id: id, id, token_hash, expires_at: '2030-01-01T00:00:00+00:00' }, id);
        await hand.insert('global_contexts', { id }, id);
      },
    },
    {
      name: 'new project with a branch, tasks and contexts',
      transaction: true,
      async run(hand) {
        const n = hand.next();
        const project = { id: uuid('a1', n), name: `Made ${n}` };
        const branch = { id: uuid('a2', n), project_id: project.id, name: 'main' };
        const task = { id: uuid('a3', n), git_branch_id: branch.id, title: 'Made', description: 'What to do' };
        await hand.insert('projects', project);
        await hand.insert('project_git_branchs', branch);
        await hand.insert('tasks', task);
        await hand.insert('task_subtasks', { id: uuid('a4', n), task_id: task.id, title: 'Part' });
        await hand.insert('project_contexts', { id: project.id, project_id: project.id });
        await hand.insert('branch_contexts', { id: branch.id, branch_id: branch.id, parent_project_id: project.id });
      },
    },
    {
      name: 'upsert label',
      async run(hand) {
        const n = hand.random(30);
        await hand.upsert(
          'labels',
          { id: uuid('a5', hand.next()), name: `Label ${hand.user} ${n}`, description: 'Upserted' },
          ['name'],
        );
      },
    },
    {
      name: 'save task',
      async run(hand) {
        const task = hand.some('tasks');
        if (task) await hand.save('tasks', task, { details: `Saved ${hand.next()}` });
      },
    },
    {
      name: 'save project',
      async run(hand) {
        const project = hand.some('projects');
        if (project) await hand.save('projects', project, { description: `Saved ${hand.next()}` });
      },
    },
    {
      name: 'save session',
      // Of a session the application itself may only change that it has ended: see accountTables.
      oldOnly: true,
      async run(hand) {
        const session = hand.some('sessions');
        if (session) await hand.save('sessions', session, { user_agent: `Saved ${hand.next()}` });
      },
    },
    {
      name: 're-parent task',
      async run(hand) {
        const task = hand.some('tasks');
        const branch = hand.some('project_git_branchs');
        if (task && branch) await hand.update('tasks', task, { git_branch_id: branch.id });
      },
    },
    {
      name: 'delete subtask',
      async run(hand) {
        const subtask = hand.some('task_subtasks');
        if (subtask) await hand.delete('task_subtasks', subtask);
      },
    },
    {
      name: 'delete label, its uses go',
      async run(hand) {
        const label = hand.some('labels', ({ name }) => String(name).startsWith('Label 0'));
        if (!label) return;
        const uses = hand.all('task_labels', ({ label_id }) => label_id === label.id);
        await hand.delete('labels', label);
        for (const use of uses) hand.forget('task_labels', use);
      },
    },
  ],
  twin: { table: 'projects', changes: () => ({}) },
};
