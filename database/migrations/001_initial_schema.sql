-- The schema before isolation: nothing here says whose a row is. 003_add_user_isolation.sql adds that, and so it has
-- a real legacy schema to act on. Table names are the deployment guide's, to the letter.
--
-- Runs through `ringfence migrate up` and equally through `psql -f`.

begin;

-- Whoever runs this may have a schema of the same name in front of the search path.
set local search_path = public;

create table if not exists ringfence_migrations (
  version integer primary key,
  name text not null,
  applied_at timestamptz not null default now()
);

create table projects (
  id uuid primary key,
  name text not null check (char_length(name) between 1 and 200),
  description text not null default '' check (char_length(description) <= 2000),
  status text not null default 'active' check (status in ('active', 'archived')),
  metadata jsonb not null default '{}',
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create index idx_projects_created_at on projects (created_at, id);

create table agents (
  id uuid primary key,
  name text not null check (char_length(name) between 1 and 200),
  description text not null default '' check (char_length(description) <= 2000),
  role text not null default 'assistant' check (char_length(role) between 1 and 100),
  capabilities text[] not null default '{}',
  status text not null default 'available' check (status in ('available', 'busy', 'offline', 'retired')),
  availability_score double precision not null default 1 check (availability_score between 0 and 1),
  last_active_at timestamptz,
  metadata jsonb not null default '{}',
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint uq_agents_name unique (name)
);

-- A branch is a work stream of a project. The spelling of the table's name is the guide's.
create table project_git_branchs (
  id uuid primary key,
  project_id uuid not null,
  name text not null check (char_length(name) between 1 and 200),
  description text not null default '' check (char_length(description) <= 2000),
  assigned_agent_id uuid,
  priority text not null default 'medium' check (priority in ('low', 'medium', 'high', 'urgent', 'critical')),
  status text not null default 'todo' check (
    status in ('todo', 'in_progress', 'blocked', 'review', 'testing', 'done', 'cancelled', 'archived')
  ),
  metadata jsonb not null default '{}',
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint uq_project_git_branchs_name unique (project_id, name),
  constraint fk_project_git_branchs_project_id foreign key (project_id) references projects (id) on delete cascade,
  constraint fk_project_git_branchs_assigned_agent_id foreign key (assigned_agent_id) references agents (id)
    on delete set null
);

create index idx_project_git_branchs_assigned_agent_id on project_git_branchs (assigned_agent_id);

create table tasks (
  id uuid primary key,
  git_branch_id uuid not null,
  title text not null check (char_length(title) between 1 and 200),
  description text not null check (char_length(description) between 1 and 2000),
  details text not null default '' check (char_length(details) <= 20000),
  status text not null default 'todo' check (
    status in ('todo', 'in_progress', 'blocked', 'review', 'testing', 'done', 'cancelled', 'archived')
  ),
  -- The status an archived task came from, so that it can be restored.
  archived_from text check (archived_from in ('done', 'cancelled')),
  priority text not null default 'medium' check (priority in ('low', 'medium', 'high', 'urgent', 'critical')),
  priority_rank smallint not null generated always as (
    case priority when 'low' then 1 when 'medium' then 2 when 'high' then 3 when 'urgent' then 4 else 5 end
  ) stored,
  estimated_effort text not null default '' check (char_length(estimated_effort) <= 100),
  due_date timestamptz,
  completed_at timestamptz,
  completion_summary text not null default '' check (char_length(completion_summary) <= 20000),
  testing_notes text not null default '' check (char_length(testing_notes) <= 20000),
  context_id uuid,
  progress_percentage smallint not null default 0 check (progress_percentage between 0 and 100),
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint ck_tasks_archived_from check ((status = 'archived') = (archived_from is not null)),
  constraint fk_tasks_git_branch_id foreign key (git_branch_id) references project_git_branchs (id) on delete cascade
);

create index idx_tasks_git_branch_id on tasks (git_branch_id);
create index idx_tasks_created_at on tasks (created_at, id);

create table task_subtasks (
  id uuid primary key,
  task_id uuid not null,
  title text not null check (char_length(title) between 1 and 200),
  description text not null default '' check (char_length(description) <= 2000),
  status text not null default 'todo' check (status in ('todo', 'in_progress', 'done')),
  priority text not null default 'medium' check (priority in ('low', 'medium', 'high', 'urgent', 'critical')),
  assignees text[] not null default '{}',
  estimated_effort text not null default '' check (char_length(estimated_effort) <= 100),
  progress_percentage smallint not null default 0 check (progress_percentage between 0 and 100),
  progress_notes text not null default '' check (char_length(progress_notes) <= 20000),
  blockers text not null default '' check (char_length(blockers) <= 20000),
  completion_summary text not null default '' check (char_length(completion_summary) <= 20000),
  impact_on_parent text not null default '' check (char_length(impact_on_parent) <= 20000),
  insights_found text[] not null default '{}',
  completed_at timestamptz,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  -- 0 is todo, 1 to 99 is in progress, 100 is done: one fact, never two that disagree.
  constraint ck_task_subtasks_progress check (
    status = case when progress_percentage = 0 then 'todo' when progress_percentage = 100 then 'done' else 'in_progress' end
  ),
  constraint fk_task_subtasks_task_id foreign key (task_id) references tasks (id) on delete cascade
);

create index idx_task_subtasks_task_id on task_subtasks (task_id);

create table task_dependencies (
  id uuid primary key,
  task_id uuid not null,
  depends_on_task_id uuid not null,
  dependency_type text not null default 'blocks' check (dependency_type = 'blocks'),
  created_at timestamptz not null default now(),
  constraint ck_task_dependencies_not_self check (task_id <> depends_on_task_id),
  constraint uq_task_dependencies_pair unique (task_id, depends_on_task_id),
  constraint fk_task_dependencies_task_id foreign key (task_id) references tasks (id) on delete cascade,
  constraint fk_task_dependencies_depends_on_task_id foreign key (depends_on_task_id) references tasks (id)
    on delete cascade
);

create index idx_task_dependencies_depends_on_task_id on task_dependencies (depends_on_task_id);

create table task_assignees (
  id uuid primary key,
  task_id uuid not null,
  assignee_id text not null check (char_length(assignee_id) between 1 and 200),
  agent_id uuid,
  role text not null default 'contributor' check (char_length(role) between 1 and 100),
  assigned_at timestamptz not null default now(),
  constraint uq_task_assignees_pair unique (task_id, assignee_id),
  constraint fk_task_assignees_task_id foreign key (task_id) references tasks (id) on delete cascade,
  constraint fk_task_assignees_agent_id foreign key (agent_id) references agents (id) on delete set null
);

create index idx_task_assignees_agent_id on task_assignees (agent_id);

create table labels (
  id uuid primary key,
  name text not null check (char_length(name) between 1 and 100),
  color text not null default '#0066cc' check (color ~ '^#[0-9a-f]{6}$'),
  description text not null default '' check (char_length(description) <= 2000),
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint uq_labels_name unique (name)
);

create table task_labels (
  id uuid primary key,
  task_id uuid not null,
  label_id uuid not null,
  applied_at timestamptz not null default now(),
  constraint uq_task_labels_pair unique (task_id, label_id),
  constraint fk_task_labels_task_id foreign key (task_id) references tasks (id) on delete cascade,
  constraint fk_task_labels_label_id foreign key (label_id) references labels (id) on delete cascade
);

create index idx_task_labels_label_id on task_labels (label_id);

create table rules (
  id uuid primary key,
  name text not null check (char_length(name) between 1 and 200),
  content text not null check (char_length(content) between 1 and 100000),
  parent_rule_id uuid,
  scope text not null default 'user' check (scope in ('user', 'project', 'branch')),
  project_id uuid,
  git_branch_id uuid,
  priority integer not null default 0 check (priority between -1000 and 1000),
  enabled boolean not null default true,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint ck_rules_scope check (
    (scope = 'project') = (project_id is not null) and (scope = 'branch') = (git_branch_id is not null)
  ),
  constraint fk_rules_parent_rule_id foreign key (parent_rule_id) references rules (id) on delete set null,
  constraint fk_rules_project_id foreign key (project_id) references projects (id) on delete cascade,
  constraint fk_rules_git_branch_id foreign key (git_branch_id) references project_git_branchs (id) on delete cascade
);

create index idx_rules_parent_rule_id on rules (parent_rule_id);
create index idx_rules_project_id on rules (project_id);
create index idx_rules_git_branch_id on rules (git_branch_id);

-- Four tiers of context, from the widest to the narrowest. A context has the id of what it describes; the global one
-- has its user's.
create table global_contexts (
  id uuid primary key,
  organization_id text not null default '' check (char_length(organization_id) <= 200),
  organization_standards jsonb not null default '{}',
  security_policies jsonb not null default '{}',
  compliance_requirements jsonb not null default '{}',
  shared_resources jsonb not null default '{}',
  reusable_patterns jsonb not null default '{}',
  global_preferences jsonb not null default '{}',
  delegation_rules jsonb not null default '{}',
  nested_structure jsonb not null default '{}',
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table project_contexts (
  id uuid primary key,
  project_id uuid not null,
  parent_global_id uuid,
  data jsonb not null default '{}',
  project_info jsonb not null default '{}',
  team_preferences jsonb not null default '{}',
  technology_stack jsonb not null default '{}',
  project_workflow jsonb not null default '{}',
  local_standards jsonb not null default '{}',
  project_settings jsonb not null default '{}',
  technical_specifications jsonb not null default '{}',
  global_overrides jsonb not null default '{}',
  delegation_rules jsonb not null default '{}',
  inheritance_disabled boolean not null default false,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint uq_project_contexts_project_id unique (project_id),
  constraint fk_project_contexts_project_id foreign key (project_id) references projects (id) on delete cascade,
  constraint fk_project_contexts_parent_global_id foreign key (parent_global_id) references global_contexts (id)
    on delete set null
);

create index idx_project_contexts_parent_global_id on project_contexts (parent_global_id);

create table branch_contexts (
  id uuid primary key,
  branch_id uuid not null,
  parent_project_id uuid,
  data jsonb not null default '{}',
  branch_info jsonb not null default '{}',
  branch_workflow jsonb not null default '{}',
  feature_flags jsonb not null default '{}',
  discovered_patterns jsonb not null default '{}',
  branch_decisions jsonb not null default '{}',
  active_patterns jsonb not null default '{}',
  local_overrides jsonb not null default '{}',
  delegation_rules jsonb not null default '{}',
  inheritance_disabled boolean not null default false,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint uq_branch_contexts_branch_id unique (branch_id),
  constraint fk_branch_contexts_branch_id foreign key (branch_id) references project_git_branchs (id)
    on delete cascade,
  constraint fk_branch_contexts_parent_project_id foreign key (parent_project_id) references project_contexts (id)
    on delete set null
);

create index idx_branch_contexts_parent_project_id on branch_contexts (parent_project_id);

create table task_contexts_unified (
  id uuid primary key,
  task_id uuid not null,
  parent_branch_id uuid,
  parent_branch_context_id uuid,
  data jsonb not null default '{}',
  task_data jsonb not null default '{}',
  execution_context jsonb not null default '{}',
  discovered_patterns jsonb not null default '{}',
  implementation_notes jsonb not null default '{}',
  test_results jsonb not null default '{}',
  blockers jsonb not null default '{}',
  local_decisions jsonb not null default '{}',
  delegation_queue jsonb not null default '{}',
  local_overrides jsonb not null default '{}',
  delegation_triggers jsonb not null default '{}',
  inheritance_disabled boolean not null default false,
  force_local_only boolean not null default false,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint uq_task_contexts_unified_task_id unique (task_id),
  constraint fk_task_contexts_unified_task_id foreign key (task_id) references tasks (id) on delete cascade,
  constraint fk_task_contexts_unified_parent_branch_id foreign key (parent_branch_id)
    references project_git_branchs (id) on delete set null,
  constraint fk_task_contexts_unified_parent_branch_context_id foreign key (parent_branch_context_id)
    references branch_contexts (id) on delete set null
);

create index idx_task_contexts_unified_parent_branch_id on task_contexts_unified (parent_branch_id);
create index idx_task_contexts_unified_parent_branch_context_id on task_contexts_unified (parent_branch_context_id);

insert into ringfence_migrations (version, name) values (1, '001_initial_schema');

commit;
