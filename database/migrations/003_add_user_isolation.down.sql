-- 003_add_user_isolation.down: Back to the schema before isolation; who owns what is kept in user_id_backup.
--
-- Generated from src/isolation/owned-tables.ts and database/isolation/identity.sql by `npm run generate`; do not edit.
-- Runs through `ringfence migrate` and equally through `psql -f`. One transaction: all of it or nothing.

begin;

-- Whoever runs this may have a schema of the same name in front of the search path.
set local search_path = public;

set local lock_timeout = '5s';

-- Policies bind the tables' owner as well: lift them first, or the owners could not be read.

alter table projects no force row level security, disable row level security;
drop policy user_isolation on projects;
drop policy system_mode on projects;
alter table projects alter column user_id drop default;

alter table agents no force row level security, disable row level security;
drop policy user_isolation on agents;
drop policy system_mode on agents;
alter table agents alter column user_id drop default;

alter table project_git_branchs no force row level security, disable row level security;
drop policy user_isolation on project_git_branchs;
drop policy system_mode on project_git_branchs;
alter table project_git_branchs alter column user_id drop default;

alter table tasks no force row level security, disable row level security;
drop policy user_isolation on tasks;
drop policy system_mode on tasks;
alter table tasks alter column user_id drop default;

alter table task_subtasks no force row level security, disable row level security;
drop policy user_isolation on task_subtasks;
drop policy system_mode on task_subtasks;
alter table task_subtasks alter column user_id drop default;

alter table task_dependencies no force row level security, disable row level security;
drop policy user_isolation on task_dependencies;
drop policy system_mode on task_dependencies;
alter table task_dependencies alter column user_id drop default;

alter table task_assignees no force row level security, disable row level security;
drop policy user_isolation on task_assignees;
drop policy system_mode on task_assignees;
alter table task_assignees alter column user_id drop default;

alter table labels no force row level security, disable row level security;
drop policy user_isolation on labels;
drop policy system_mode on labels;
alter table labels alter column user_id drop default;

alter table task_labels no force row level security, disable row level security;
drop policy user_isolation on task_labels;
drop policy system_mode on task_labels;
alter table task_labels alter column user_id drop default;

alter table rules no force row level security, disable row level security;
drop policy user_isolation on rules;
drop policy system_mode on rules;
alter table rules alter column user_id drop default;

alter table global_contexts no force row level security, disable row level security;
drop policy user_isolation on global_contexts;
drop policy system_mode on global_contexts;
alter table global_contexts alter column user_id drop default;

alter table project_contexts no force row level security, disable row level security;
drop policy user_isolation on project_contexts;
drop policy system_mode on project_contexts;
alter table project_contexts alter column user_id drop default;

alter table branch_contexts no force row level security, disable row level security;
drop policy user_isolation on branch_contexts;
drop policy system_mode on branch_contexts;
alter table branch_contexts alter column user_id drop default;

alter table task_contexts_unified no force row level security, disable row level security;
drop policy user_isolation on task_contexts_unified;
drop policy system_mode on task_contexts_unified;
alter table task_contexts_unified alter column user_id drop default;

drop policy accounts_mode on users;

drop policy accounts_mode on sessions;

drop policy accounts_mode on api_tokens;

drop policy accounts_mode on user_access_log;

drop policy no_system_outcome on user_access_log;

alter table users no force row level security, disable row level security;
drop policy user_isolation on users;
drop policy system_mode on users;

alter table sessions no force row level security, disable row level security;
drop policy user_isolation on sessions;
drop policy system_mode on sessions;
alter table sessions alter column user_id drop default;

alter table api_tokens no force row level security, disable row level security;
drop policy user_isolation on api_tokens;
drop policy system_mode on api_tokens;
alter table api_tokens alter column user_id drop default;

alter table user_access_log no force row level security, disable row level security;
drop policy user_isolation on user_access_log;
drop policy system_mode on user_access_log;
alter table user_access_log alter column user_id drop default;

alter table idempotency_keys no force row level security, disable row level security;
drop policy user_isolation on idempotency_keys;
drop policy system_mode on idempotency_keys;
alter table idempotency_keys alter column user_id drop default;

do $$
declare
  collisions text;
begin
  select string_agg(format('%s: %s', c.table_name, c.id), ', ') into collisions
  from (
    select 'projects' as table_name, id from projects group by id having count(*) > 1
    union all
    select 'agents' as table_name, id from agents group by id having count(*) > 1
    union all
    select 'project_git_branchs' as table_name, id from project_git_branchs group by id having count(*) > 1
    union all
    select 'tasks' as table_name, id from tasks group by id having count(*) > 1
    union all
    select 'task_subtasks' as table_name, id from task_subtasks group by id having count(*) > 1
    union all
    select 'task_dependencies' as table_name, id from task_dependencies group by id having count(*) > 1
    union all
    select 'task_assignees' as table_name, id from task_assignees group by id having count(*) > 1
    union all
    select 'labels' as table_name, id from labels group by id having count(*) > 1
    union all
    select 'task_labels' as table_name, id from task_labels group by id having count(*) > 1
    union all
    select 'rules' as table_name, id from rules group by id having count(*) > 1
    union all
    select 'global_contexts' as table_name, id from global_contexts group by id having count(*) > 1
    union all
    select 'project_contexts' as table_name, id from project_contexts group by id having count(*) > 1
    union all
    select 'branch_contexts' as table_name, id from branch_contexts group by id having count(*) > 1
    union all
    select 'task_contexts_unified' as table_name, id from task_contexts_unified group by id having count(*) > 1
    union all
    select 'agents (name)', min(id::text)::uuid from agents group by name having count(*) > 1
    union all
    select 'project_git_branchs (project_id, name)', min(id::text)::uuid from project_git_branchs group by project_id, name having count(*) > 1
    union all
    select 'task_dependencies (task_id, depends_on_task_id)', min(id::text)::uuid from task_dependencies group by task_id, depends_on_task_id having count(*) > 1
    union all
    select 'task_assignees (task_id, assignee_id)', min(id::text)::uuid from task_assignees group by task_id, assignee_id having count(*) > 1
    union all
    select 'labels (name)', min(id::text)::uuid from labels group by name having count(*) > 1
    union all
    select 'task_labels (task_id, label_id)', min(id::text)::uuid from task_labels group by task_id, label_id having count(*) > 1
    union all
    select 'project_contexts (project_id)', min(id::text)::uuid from project_contexts group by project_id having count(*) > 1
    union all
    select 'branch_contexts (branch_id)', min(id::text)::uuid from branch_contexts group by branch_id having count(*) > 1
    union all
    select 'task_contexts_unified (task_id)', min(id::text)::uuid from task_contexts_unified group by task_id having count(*) > 1
    limit 20
  ) c;
  if collisions is not null then
    raise exception 'rows of different users have the same key, which the schema before isolation cannot hold: %',
      collisions
      using errcode = 'RF012', hint = 'Rename or remove one of each, then run this again.';
  end if;
end
$$;

create table user_id_backup (
  table_name text not null,
  id uuid not null,
  user_id uuid not null,
  saved_at timestamptz not null default now(),
  primary key (table_name, id)
);
revoke all on table user_id_backup from public;
insert into user_id_backup (table_name, id, user_id)
select 'projects', id, user_id from projects where user_id <> '00000000-0000-4000-8000-000000000000'
union all
select 'agents', id, user_id from agents where user_id <> '00000000-0000-4000-8000-000000000000'
union all
select 'project_git_branchs', id, user_id from project_git_branchs where user_id <> '00000000-0000-4000-8000-000000000000'
union all
select 'tasks', id, user_id from tasks where user_id <> '00000000-0000-4000-8000-000000000000'
union all
select 'task_subtasks', id, user_id from task_subtasks where user_id <> '00000000-0000-4000-8000-000000000000'
union all
select 'task_dependencies', id, user_id from task_dependencies where user_id <> '00000000-0000-4000-8000-000000000000'
union all
select 'task_assignees', id, user_id from task_assignees where user_id <> '00000000-0000-4000-8000-000000000000'
union all
select 'labels', id, user_id from labels where user_id <> '00000000-0000-4000-8000-000000000000'
union all
select 'task_labels', id, user_id from task_labels where user_id <> '00000000-0000-4000-8000-000000000000'
union all
select 'rules', id, user_id from rules where user_id <> '00000000-0000-4000-8000-000000000000'
union all
select 'global_contexts', id, user_id from global_contexts where user_id <> '00000000-0000-4000-8000-000000000000'
union all
select 'project_contexts', id, user_id from project_contexts where user_id <> '00000000-0000-4000-8000-000000000000'
union all
select 'branch_contexts', id, user_id from branch_contexts where user_id <> '00000000-0000-4000-8000-000000000000'
union all
select 'task_contexts_unified', id, user_id from task_contexts_unified where user_id <> '00000000-0000-4000-8000-000000000000';

alter table task_contexts_unified drop constraint fk_task_contexts_unified_task_id, drop constraint fk_task_contexts_unified_parent_branch_id, drop constraint fk_task_contexts_unified_parent_branch_context_id;

alter table branch_contexts drop constraint fk_branch_contexts_branch_id, drop constraint fk_branch_contexts_parent_project_id;

alter table project_contexts drop constraint fk_project_contexts_project_id, drop constraint fk_project_contexts_parent_global_id;

alter table global_contexts drop constraint fk_global_contexts_user_id;

alter table rules drop constraint fk_rules_project_id, drop constraint fk_rules_git_branch_id, drop constraint fk_rules_parent_rule_id;

alter table task_labels drop constraint fk_task_labels_task_id, drop constraint fk_task_labels_label_id;

alter table labels drop constraint fk_labels_user_id;

alter table task_assignees drop constraint fk_task_assignees_task_id, drop constraint fk_task_assignees_agent_id;

alter table task_dependencies drop constraint fk_task_dependencies_task_id, drop constraint fk_task_dependencies_depends_on_task_id;

alter table task_subtasks drop constraint fk_task_subtasks_task_id;

alter table tasks drop constraint fk_tasks_git_branch_id;

alter table project_git_branchs drop constraint fk_project_git_branchs_project_id, drop constraint fk_project_git_branchs_assigned_agent_id;

alter table agents drop constraint fk_agents_user_id;

alter table projects drop constraint fk_projects_user_id;

alter table task_contexts_unified drop constraint task_contexts_unified_pkey, add constraint task_contexts_unified_pkey primary key (id), drop constraint uq_task_contexts_unified_task_id, add constraint uq_task_contexts_unified_task_id unique (task_id);
drop index idx_task_contexts_unified_id;
drop index idx_task_contexts_unified_task_id;
drop index idx_task_contexts_unified_parent_branch_id;
create index idx_task_contexts_unified_parent_branch_id on task_contexts_unified (parent_branch_id);
drop index idx_task_contexts_unified_parent_branch_context_id;
create index idx_task_contexts_unified_parent_branch_context_id on task_contexts_unified (parent_branch_context_id);

alter table branch_contexts drop constraint branch_contexts_pkey, add constraint branch_contexts_pkey primary key (id), drop constraint uq_branch_contexts_branch_id, add constraint uq_branch_contexts_branch_id unique (branch_id);
drop index idx_branch_contexts_id;
drop index idx_branch_contexts_branch_id;
drop index idx_branch_contexts_parent_project_id;
create index idx_branch_contexts_parent_project_id on branch_contexts (parent_project_id);

alter table project_contexts drop constraint project_contexts_pkey, add constraint project_contexts_pkey primary key (id), drop constraint uq_project_contexts_project_id, add constraint uq_project_contexts_project_id unique (project_id);
drop index idx_project_contexts_id;
drop index idx_project_contexts_project_id;
drop index idx_project_contexts_parent_global_id;
create index idx_project_contexts_parent_global_id on project_contexts (parent_global_id);

alter table global_contexts drop constraint global_contexts_pkey, add constraint global_contexts_pkey primary key (id);
drop index idx_global_contexts_id;

alter table rules drop constraint rules_pkey, add constraint rules_pkey primary key (id);
drop index idx_rules_id;
drop index idx_rules_project_id;
create index idx_rules_project_id on rules (project_id);
drop index idx_rules_git_branch_id;
create index idx_rules_git_branch_id on rules (git_branch_id);
drop index idx_rules_parent_rule_id;
create index idx_rules_parent_rule_id on rules (parent_rule_id);

alter table task_labels drop constraint task_labels_pkey, add constraint task_labels_pkey primary key (id), drop constraint uq_task_labels_pair, add constraint uq_task_labels_pair unique (task_id, label_id);
drop index idx_task_labels_id;
drop index idx_task_labels_task_id;
drop index idx_task_labels_label_id;
create index idx_task_labels_label_id on task_labels (label_id);

alter table labels drop constraint labels_pkey, add constraint labels_pkey primary key (id), drop constraint uq_labels_name, add constraint uq_labels_name unique (name);
drop index idx_labels_id;

alter table task_assignees drop constraint task_assignees_pkey, add constraint task_assignees_pkey primary key (id), drop constraint uq_task_assignees_pair, add constraint uq_task_assignees_pair unique (task_id, assignee_id);
drop index idx_task_assignees_id;
drop index idx_task_assignees_task_id;
drop index idx_task_assignees_agent_id;
create index idx_task_assignees_agent_id on task_assignees (agent_id);

alter table task_dependencies drop constraint task_dependencies_pkey, add constraint task_dependencies_pkey primary key (id), drop constraint uq_task_dependencies_pair, add constraint uq_task_dependencies_pair unique (task_id, depends_on_task_id);
drop index idx_task_dependencies_id;
drop index idx_task_dependencies_task_id;
drop index idx_task_dependencies_depends_on_task_id;
create index idx_task_dependencies_depends_on_task_id on task_dependencies (depends_on_task_id);

alter table task_subtasks drop constraint task_subtasks_pkey, add constraint task_subtasks_pkey primary key (id);
drop index idx_task_subtasks_id;
drop index idx_task_subtasks_task_id;
create index idx_task_subtasks_task_id on task_subtasks (task_id);

alter table tasks drop constraint tasks_pkey, add constraint tasks_pkey primary key (id);
drop index idx_tasks_id;
drop index idx_tasks_created_at;
create index idx_tasks_created_at on tasks (created_at, id);
drop index idx_tasks_git_branch_id;
create index idx_tasks_git_branch_id on tasks (git_branch_id);

alter table project_git_branchs drop constraint project_git_branchs_pkey, add constraint project_git_branchs_pkey primary key (id), drop constraint uq_project_git_branchs_name, add constraint uq_project_git_branchs_name unique (project_id, name);
drop index idx_project_git_branchs_id;
drop index idx_project_git_branchs_project_id;
drop index idx_project_git_branchs_assigned_agent_id;
create index idx_project_git_branchs_assigned_agent_id on project_git_branchs (assigned_agent_id);

alter table agents drop constraint agents_pkey, add constraint agents_pkey primary key (id), drop constraint uq_agents_name, add constraint uq_agents_name unique (name);
drop index idx_agents_id;

alter table projects drop constraint projects_pkey, add constraint projects_pkey primary key (id);
drop index idx_projects_id;
drop index idx_projects_created_at;
create index idx_projects_created_at on projects (created_at, id);

alter table project_git_branchs add constraint fk_project_git_branchs_project_id foreign key (project_id) references projects (id) on delete cascade;

alter table project_git_branchs add constraint fk_project_git_branchs_assigned_agent_id foreign key (assigned_agent_id) references agents (id) on delete set null;

alter table tasks add constraint fk_tasks_git_branch_id foreign key (git_branch_id) references project_git_branchs (id) on delete cascade;

alter table task_subtasks add constraint fk_task_subtasks_task_id foreign key (task_id) references tasks (id) on delete cascade;

alter table task_dependencies add constraint fk_task_dependencies_task_id foreign key (task_id) references tasks (id) on delete cascade;

alter table task_dependencies add constraint fk_task_dependencies_depends_on_task_id foreign key (depends_on_task_id) references tasks (id) on delete cascade;

alter table task_assignees add constraint fk_task_assignees_task_id foreign key (task_id) references tasks (id) on delete cascade;

alter table task_assignees add constraint fk_task_assignees_agent_id foreign key (agent_id) references agents (id) on delete set null;

alter table task_labels add constraint fk_task_labels_task_id foreign key (task_id) references tasks (id) on delete cascade;

alter table task_labels add constraint fk_task_labels_label_id foreign key (label_id) references labels (id) on delete cascade;

alter table rules add constraint fk_rules_project_id foreign key (project_id) references projects (id) on delete cascade;

alter table rules add constraint fk_rules_git_branch_id foreign key (git_branch_id) references project_git_branchs (id) on delete cascade;

alter table rules add constraint fk_rules_parent_rule_id foreign key (parent_rule_id) references rules (id) on delete set null;

alter table project_contexts add constraint fk_project_contexts_project_id foreign key (project_id) references projects (id) on delete cascade;

alter table project_contexts add constraint fk_project_contexts_parent_global_id foreign key (parent_global_id) references global_contexts (id) on delete set null;

alter table branch_contexts add constraint fk_branch_contexts_branch_id foreign key (branch_id) references project_git_branchs (id) on delete cascade;

alter table branch_contexts add constraint fk_branch_contexts_parent_project_id foreign key (parent_project_id) references project_contexts (id) on delete set null;

alter table task_contexts_unified add constraint fk_task_contexts_unified_task_id foreign key (task_id) references tasks (id) on delete cascade;

alter table task_contexts_unified add constraint fk_task_contexts_unified_parent_branch_id foreign key (parent_branch_id) references project_git_branchs (id) on delete set null;

alter table task_contexts_unified add constraint fk_task_contexts_unified_parent_branch_context_id foreign key (parent_branch_context_id) references branch_contexts (id) on delete set null;

alter table projects drop column user_id;

alter table agents drop column user_id;

alter table project_git_branchs drop column user_id;

alter table tasks drop column user_id;

alter table task_subtasks drop column user_id;

alter table task_dependencies drop column user_id;

alter table task_assignees drop column user_id;

alter table labels drop column user_id;

alter table task_labels drop column user_id;

alter table rules drop column user_id;

alter table global_contexts drop column user_id;

alter table project_contexts drop column user_id;

alter table branch_contexts drop column user_id;

alter table task_contexts_unified drop column user_id;

revoke all on table projects from ringfence_app, ringfence_system, ringfence_accounts;

revoke all on table agents from ringfence_app, ringfence_system, ringfence_accounts;

revoke all on table project_git_branchs from ringfence_app, ringfence_system, ringfence_accounts;

revoke all on table tasks from ringfence_app, ringfence_system, ringfence_accounts;

revoke all on table task_subtasks from ringfence_app, ringfence_system, ringfence_accounts;

revoke all on table task_dependencies from ringfence_app, ringfence_system, ringfence_accounts;

revoke all on table task_assignees from ringfence_app, ringfence_system, ringfence_accounts;

revoke all on table labels from ringfence_app, ringfence_system, ringfence_accounts;

revoke all on table task_labels from ringfence_app, ringfence_system, ringfence_accounts;

revoke all on table rules from ringfence_app, ringfence_system, ringfence_accounts;

revoke all on table global_contexts from ringfence_app, ringfence_system, ringfence_accounts;

revoke all on table project_contexts from ringfence_app, ringfence_system, ringfence_accounts;

revoke all on table branch_contexts from ringfence_app, ringfence_system, ringfence_accounts;

revoke all on table task_contexts_unified from ringfence_app, ringfence_system, ringfence_accounts;

revoke all on table users from ringfence_app, ringfence_system, ringfence_accounts;

revoke all on table sessions from ringfence_app, ringfence_system, ringfence_accounts;

revoke all on table api_tokens from ringfence_app, ringfence_system, ringfence_accounts;

revoke all on table user_access_log from ringfence_app, ringfence_system, ringfence_accounts;

revoke all on table idempotency_keys from ringfence_app, ringfence_system, ringfence_accounts;

-- The roles belong to the cluster, not to this database, and stay.

revoke all on table ringfence_migrations from ringfence_app, ringfence_system, ringfence_accounts;

revoke usage on schema public from ringfence_app, ringfence_system, ringfence_accounts;

drop schema ringfence cascade;

delete from users where id = '00000000-0000-4000-8000-000000000000';

delete from ringfence_migrations where version = 3;

commit;

