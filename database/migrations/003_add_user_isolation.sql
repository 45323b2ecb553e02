-- 003_add_user_isolation: Every row gets an owner, and Postgres itself enforces it.
--
-- Generated from src/isolation/owned-tables.ts and database/isolation/identity.sql by `npm run generate`; do not edit.
-- Runs through `ringfence migrate` and equally through `psql -f`. One transaction: all of it or nothing.

begin;

-- Whoever runs this may have a schema of the same name in front of the search path.
set local search_path = public;

-- A migration that waits for a lock stops everybody behind it: give up instead, nothing is changed then.

set local lock_timeout = '5s';

-- Roles ---------------------------------------------------------------------------------------------------------------
-- The application works through ringfence_app, system mode through ringfence_system. Neither owns anything, neither
-- bypasses policies. They get their passwords, and with them the right to log in, from `ringfence migrate` or the
-- server; a login of your own can be made a member instead.

do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'ringfence_app') then
    create role ringfence_app nologin noinherit nobypassrls;
  end if;
  if not exists (select from pg_catalog.pg_roles where rolname = 'ringfence_system') then
    create role ringfence_system nologin noinherit nobypassrls;
  end if;
exception
  -- Roles belong to the cluster: another database may be made ready at the same moment.
  when duplicate_object or unique_violation then null;
end
$$;

-- Identity ------------------------------------------------------------------------------------------------------------
-- The application signs who it acts for; Postgres verifies it with a key that the application's role cannot read. So a
-- statement that an attacker slips in cannot become anybody else: it can set the setting, but it cannot sign.

create schema if not exists ringfence;
revoke all on schema ringfence from public;
grant usage on schema ringfence to ringfence_app, ringfence_system;

-- HMAC-SHA256 (RFC 2104) keys, already combined with the inner and outer pad, so that the check is two calls of the
-- built-in sha256() and needs no extension. Two keys may be valid at once: that is how they are rotated.
create table if not exists ringfence.identity_keys (
  key_id text primary key check (key_id ~ '^[0-9a-f]{16}$'),
  inner_pad bytea not null check (octet_length(inner_pad) = 64),
  outer_pad bytea not null check (octet_length(outer_pad) = 64),
  created_at timestamptz not null default clock_timestamp()
);
revoke all on table ringfence.identity_keys from public, ringfence_app, ringfence_system;

-- Who the current transaction acts for, or an error: never null, never a default.
--
-- The setting ringfence.identity holds `user.expiry.pid.key.mac`: the user's UUID, the end of validity in milliseconds
-- since 1970, the backend it is good for (0 = any, behind a pooler that hides it), the key's id, and the MAC over all
-- that stands before it. A token stolen from one connection is worth nothing on another.
--
-- SQLSTATEs: RF001 no identity, RF002 not ours, RF003 expired, RF004 made for another connection.
--
-- security definer, to read the key; search_path closed and names qualified, since pg_temp is searched first otherwise
-- and a temporary table could stand in for the key's. `is distinct from`, because `<>` is null, hence not an error,
-- when a part is missing. parallel restricted: a worker has another pid. No regular expression over the token: one
-- that checked its form first took 120 of 145 µs a call, and every table of a statement makes one.
create or replace function ringfence.current_user_id() returns uuid
language plpgsql stable security definer parallel restricted
set search_path = pg_catalog, pg_temp
as $$
declare
  token constant text := pg_catalog.current_setting('ringfence.identity', true);
  part constant text[] := pg_catalog.string_to_array(token, '.');
  inner_key bytea;
  outer_key bytea;
begin
  if token is null or token = '' then
    raise exception 'no user identity is set for this transaction' using errcode = 'RF001';
  end if;
  select k.inner_pad, k.outer_pad into inner_key, outer_key
  from ringfence.identity_keys k
  where k.key_id = part[4];
  -- Without `not found` an unknown key and a missing signature are two nulls, and two nulls are not distinct.
  if not found or part[5] is distinct from pg_catalog.encode(pg_catalog.sha256(outer_key || pg_catalog.sha256(
    inner_key || pg_catalog.convert_to(pg_catalog.left(token, -65), 'UTF8')
  )), 'hex') then
    raise exception 'the user identity is not signed by a key of this database' using errcode = 'RF002';
  end if;
  -- From here on the parts are what the application signed; nothing before this line trusts their form.
  if part[2]::bigint < extract(epoch from pg_catalog.clock_timestamp()) * 1000 then
    raise exception 'the user identity has expired' using errcode = 'RF003';
  end if;
  if part[3]::bigint not in (0, pg_catalog.pg_backend_pid()) then
    raise exception 'the user identity was made for another connection' using errcode = 'RF004';
  end if;
  return part[1]::uuid;
end
$$;
revoke all on function ringfence.current_user_id() from public;
grant execute on function ringfence.current_user_id() to ringfence_app, ringfence_system;

-- What runs before anybody is known (sign-in, token checks, registration) becomes ringfence_accounts, which alone reads
-- password and token hashes and reaches no owned table. It never logs in: ringfence_system becomes it, by SET ROLE only.

do $$
begin
  if not exists (select from pg_roles where rolname = 'ringfence_accounts') then
    create role ringfence_accounts nologin noinherit nobypassrls;
  end if;
  -- Who runs this a second time may not have the right to grant it.
  if not exists (
    select from pg_auth_members
    where roleid = 'ringfence_accounts'::regrole and member = 'ringfence_system'::regrole
  ) then
    -- From Postgres 16 on it is the membership that inherits or not; before, it is the role (noinherit).
    execute 'grant ringfence_accounts to ringfence_system'
      || case when current_setting('server_version_num')::int >= 160000 then ' with inherit false, set true' else '' end;
  end if;
  -- A temporary table or a function in pg_temp could shadow what a careless search_path resolves.
  execute format('revoke temporary, create on database %I from public', current_database());
  execute format('grant connect on database %I to ringfence_app, ringfence_system', current_database());
end
$$;

revoke create on schema public from public;
grant usage on schema public to ringfence_app, ringfence_system, ringfence_accounts;

-- The owner of rows that nobody has claimed. Nobody can sign in as this user: no password, no outside identity, and a
-- status that is refused everywhere.
do $$
begin
  -- The second time policies are on, and bind whoever runs this as well.
  if not exists (select from ringfence_migrations where version = 3) then
    insert into users (id, email, name, status)
    values ('00000000-0000-4000-8000-000000000000', 'quarantine@ringfence.invalid', 'Unclaimed rows', 'quarantine')
    on conflict do nothing;
  end if;
end
$$;

-- Owners --------------------------------------------------------------------------------------------------------------

-- A constant default is metadata only (20 ms on 2 M rows) and closes at once: what nobody has claimed belongs to a

-- user who cannot sign in. A second run finds the column and changes no owner.

alter table projects add column if not exists user_id uuid not null default '00000000-0000-4000-8000-000000000000';

alter table agents add column if not exists user_id uuid not null default '00000000-0000-4000-8000-000000000000';

alter table project_git_branchs add column if not exists user_id uuid not null default '00000000-0000-4000-8000-000000000000';

alter table tasks add column if not exists user_id uuid not null default '00000000-0000-4000-8000-000000000000';

alter table task_subtasks add column if not exists user_id uuid not null default '00000000-0000-4000-8000-000000000000';

alter table task_dependencies add column if not exists user_id uuid not null default '00000000-0000-4000-8000-000000000000';

alter table task_assignees add column if not exists user_id uuid not null default '00000000-0000-4000-8000-000000000000';

alter table labels add column if not exists user_id uuid not null default '00000000-0000-4000-8000-000000000000';

alter table task_labels add column if not exists user_id uuid not null default '00000000-0000-4000-8000-000000000000';

alter table rules add column if not exists user_id uuid not null default '00000000-0000-4000-8000-000000000000';

alter table global_contexts add column if not exists user_id uuid not null default '00000000-0000-4000-8000-000000000000';

alter table project_contexts add column if not exists user_id uuid not null default '00000000-0000-4000-8000-000000000000';

alter table branch_contexts add column if not exists user_id uuid not null default '00000000-0000-4000-8000-000000000000';

alter table task_contexts_unified add column if not exists user_id uuid not null default '00000000-0000-4000-8000-000000000000';

do $$
begin
  if to_regclass('user_id_backup') is not null then
    update projects t set user_id = b.user_id
      from user_id_backup b
      where b.table_name = 'projects' and b.id = t.id and t.user_id = '00000000-0000-4000-8000-000000000000';
    update agents t set user_id = b.user_id
      from user_id_backup b
      where b.table_name = 'agents' and b.id = t.id and t.user_id = '00000000-0000-4000-8000-000000000000';
    update project_git_branchs t set user_id = b.user_id
      from user_id_backup b
      where b.table_name = 'project_git_branchs' and b.id = t.id and t.user_id = '00000000-0000-4000-8000-000000000000';
    update tasks t set user_id = b.user_id
      from user_id_backup b
      where b.table_name = 'tasks' and b.id = t.id and t.user_id = '00000000-0000-4000-8000-000000000000';
    update task_subtasks t set user_id = b.user_id
      from user_id_backup b
      where b.table_name = 'task_subtasks' and b.id = t.id and t.user_id = '00000000-0000-4000-8000-000000000000';
    update task_dependencies t set user_id = b.user_id
      from user_id_backup b
      where b.table_name = 'task_dependencies' and b.id = t.id and t.user_id = '00000000-0000-4000-8000-000000000000';
    update task_assignees t set user_id = b.user_id
      from user_id_backup b
      where b.table_name = 'task_assignees' and b.id = t.id and t.user_id = '00000000-0000-4000-8000-000000000000';
    update labels t set user_id = b.user_id
      from user_id_backup b
      where b.table_name = 'labels' and b.id = t.id and t.user_id = '00000000-0000-4000-8000-000000000000';
    update task_labels t set user_id = b.user_id
      from user_id_backup b
      where b.table_name = 'task_labels' and b.id = t.id and t.user_id = '00000000-0000-4000-8000-000000000000';
    update rules t set user_id = b.user_id
      from user_id_backup b
      where b.table_name = 'rules' and b.id = t.id and t.user_id = '00000000-0000-4000-8000-000000000000';
    update global_contexts t set user_id = b.user_id
      from user_id_backup b
      where b.table_name = 'global_contexts' and b.id = t.id and t.user_id = '00000000-0000-4000-8000-000000000000';
    update project_contexts t set user_id = b.user_id
      from user_id_backup b
      where b.table_name = 'project_contexts' and b.id = t.id and t.user_id = '00000000-0000-4000-8000-000000000000';
    update branch_contexts t set user_id = b.user_id
      from user_id_backup b
      where b.table_name = 'branch_contexts' and b.id = t.id and t.user_id = '00000000-0000-4000-8000-000000000000';
    update task_contexts_unified t set user_id = b.user_id
      from user_id_backup b
      where b.table_name = 'task_contexts_unified' and b.id = t.id and t.user_id = '00000000-0000-4000-8000-000000000000';
    update project_git_branchs t set user_id = p.user_id
      from projects p
      where p.id = t.project_id and t.user_id = '00000000-0000-4000-8000-000000000000' and p.user_id <> t.user_id;
    update tasks t set user_id = p.user_id
      from project_git_branchs p
      where p.id = t.git_branch_id and t.user_id = '00000000-0000-4000-8000-000000000000' and p.user_id <> t.user_id;
    update task_subtasks t set user_id = p.user_id
      from tasks p
      where p.id = t.task_id and t.user_id = '00000000-0000-4000-8000-000000000000' and p.user_id <> t.user_id;
    update task_dependencies t set user_id = p.user_id
      from tasks p
      where p.id = t.task_id and t.user_id = '00000000-0000-4000-8000-000000000000' and p.user_id <> t.user_id;
    update task_dependencies t set user_id = p.user_id
      from tasks p
      where p.id = t.depends_on_task_id and t.user_id = '00000000-0000-4000-8000-000000000000' and p.user_id <> t.user_id;
    update task_assignees t set user_id = p.user_id
      from tasks p
      where p.id = t.task_id and t.user_id = '00000000-0000-4000-8000-000000000000' and p.user_id <> t.user_id;
    update task_labels t set user_id = p.user_id
      from tasks p
      where p.id = t.task_id and t.user_id = '00000000-0000-4000-8000-000000000000' and p.user_id <> t.user_id;
    update task_labels t set user_id = p.user_id
      from labels p
      where p.id = t.label_id and t.user_id = '00000000-0000-4000-8000-000000000000' and p.user_id <> t.user_id;
    update rules t set user_id = p.user_id
      from projects p
      where p.id = t.project_id and t.user_id = '00000000-0000-4000-8000-000000000000' and p.user_id <> t.user_id;
    update rules t set user_id = p.user_id
      from project_git_branchs p
      where p.id = t.git_branch_id and t.user_id = '00000000-0000-4000-8000-000000000000' and p.user_id <> t.user_id;
    update project_contexts t set user_id = p.user_id
      from projects p
      where p.id = t.project_id and t.user_id = '00000000-0000-4000-8000-000000000000' and p.user_id <> t.user_id;
    update branch_contexts t set user_id = p.user_id
      from project_git_branchs p
      where p.id = t.branch_id and t.user_id = '00000000-0000-4000-8000-000000000000' and p.user_id <> t.user_id;
    update task_contexts_unified t set user_id = p.user_id
      from tasks p
      where p.id = t.task_id and t.user_id = '00000000-0000-4000-8000-000000000000' and p.user_id <> t.user_id;
    drop table user_id_backup;
  end if;
end
$$;

do $$
declare
  mixed text;
begin
  select string_agg(format('%s of row %s', m.reference, m.id), ', ') into mixed
  from (
    select 'project_git_branchs.project_id' as reference, t.id from project_git_branchs t
      join projects p on p.id = t.project_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'project_git_branchs.assigned_agent_id' as reference, t.id from project_git_branchs t
      join agents p on p.id = t.assigned_agent_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'tasks.git_branch_id' as reference, t.id from tasks t
      join project_git_branchs p on p.id = t.git_branch_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'task_subtasks.task_id' as reference, t.id from task_subtasks t
      join tasks p on p.id = t.task_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'task_dependencies.task_id' as reference, t.id from task_dependencies t
      join tasks p on p.id = t.task_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'task_dependencies.depends_on_task_id' as reference, t.id from task_dependencies t
      join tasks p on p.id = t.depends_on_task_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'task_assignees.task_id' as reference, t.id from task_assignees t
      join tasks p on p.id = t.task_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'task_assignees.agent_id' as reference, t.id from task_assignees t
      join agents p on p.id = t.agent_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'task_labels.task_id' as reference, t.id from task_labels t
      join tasks p on p.id = t.task_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'task_labels.label_id' as reference, t.id from task_labels t
      join labels p on p.id = t.label_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'rules.project_id' as reference, t.id from rules t
      join projects p on p.id = t.project_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'rules.git_branch_id' as reference, t.id from rules t
      join project_git_branchs p on p.id = t.git_branch_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'rules.parent_rule_id' as reference, t.id from rules t
      join rules p on p.id = t.parent_rule_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'project_contexts.project_id' as reference, t.id from project_contexts t
      join projects p on p.id = t.project_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'project_contexts.parent_global_id' as reference, t.id from project_contexts t
      join global_contexts p on p.id = t.parent_global_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'branch_contexts.branch_id' as reference, t.id from branch_contexts t
      join project_git_branchs p on p.id = t.branch_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'branch_contexts.parent_project_id' as reference, t.id from branch_contexts t
      join project_contexts p on p.id = t.parent_project_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'task_contexts_unified.task_id' as reference, t.id from task_contexts_unified t
      join tasks p on p.id = t.task_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'task_contexts_unified.parent_branch_id' as reference, t.id from task_contexts_unified t
      join project_git_branchs p on p.id = t.parent_branch_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    union all
    select 'task_contexts_unified.parent_branch_context_id' as reference, t.id from task_contexts_unified t
      join branch_contexts p on p.id = t.parent_branch_context_id and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)
    limit 20
  ) m;
  if mixed is not null then
    raise exception 'rows refer to rows of another user: %', mixed
      using errcode = 'RF011', hint = 'Remove these references or give both ends one owner, then run this again.';
  end if;
end
$$;

-- Keys ----------------------------------------------------------------------------------------------------------------

-- Ownership is structural: a row can only refer to rows of its own user, equal ids of two users do not collide,

-- nothing cascades or locks across users. References first, since they hold the old primary keys.

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'project_git_branchs'::regclass and c.conname = 'fk_project_git_branchs_project_id' and a.attname = 'user_id'
  ) then
    alter table project_git_branchs drop constraint if exists fk_project_git_branchs_project_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'project_git_branchs'::regclass and c.conname = 'fk_project_git_branchs_assigned_agent_id' and a.attname = 'user_id'
  ) then
    alter table project_git_branchs drop constraint if exists fk_project_git_branchs_assigned_agent_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'tasks'::regclass and c.conname = 'fk_tasks_git_branch_id' and a.attname = 'user_id'
  ) then
    alter table tasks drop constraint if exists fk_tasks_git_branch_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_subtasks'::regclass and c.conname = 'fk_task_subtasks_task_id' and a.attname = 'user_id'
  ) then
    alter table task_subtasks drop constraint if exists fk_task_subtasks_task_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_dependencies'::regclass and c.conname = 'fk_task_dependencies_task_id' and a.attname = 'user_id'
  ) then
    alter table task_dependencies drop constraint if exists fk_task_dependencies_task_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_dependencies'::regclass and c.conname = 'fk_task_dependencies_depends_on_task_id' and a.attname = 'user_id'
  ) then
    alter table task_dependencies drop constraint if exists fk_task_dependencies_depends_on_task_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_assignees'::regclass and c.conname = 'fk_task_assignees_task_id' and a.attname = 'user_id'
  ) then
    alter table task_assignees drop constraint if exists fk_task_assignees_task_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_assignees'::regclass and c.conname = 'fk_task_assignees_agent_id' and a.attname = 'user_id'
  ) then
    alter table task_assignees drop constraint if exists fk_task_assignees_agent_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_labels'::regclass and c.conname = 'fk_task_labels_task_id' and a.attname = 'user_id'
  ) then
    alter table task_labels drop constraint if exists fk_task_labels_task_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_labels'::regclass and c.conname = 'fk_task_labels_label_id' and a.attname = 'user_id'
  ) then
    alter table task_labels drop constraint if exists fk_task_labels_label_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'rules'::regclass and c.conname = 'fk_rules_project_id' and a.attname = 'user_id'
  ) then
    alter table rules drop constraint if exists fk_rules_project_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'rules'::regclass and c.conname = 'fk_rules_git_branch_id' and a.attname = 'user_id'
  ) then
    alter table rules drop constraint if exists fk_rules_git_branch_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'rules'::regclass and c.conname = 'fk_rules_parent_rule_id' and a.attname = 'user_id'
  ) then
    alter table rules drop constraint if exists fk_rules_parent_rule_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'project_contexts'::regclass and c.conname = 'fk_project_contexts_project_id' and a.attname = 'user_id'
  ) then
    alter table project_contexts drop constraint if exists fk_project_contexts_project_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'project_contexts'::regclass and c.conname = 'fk_project_contexts_parent_global_id' and a.attname = 'user_id'
  ) then
    alter table project_contexts drop constraint if exists fk_project_contexts_parent_global_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'branch_contexts'::regclass and c.conname = 'fk_branch_contexts_branch_id' and a.attname = 'user_id'
  ) then
    alter table branch_contexts drop constraint if exists fk_branch_contexts_branch_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'branch_contexts'::regclass and c.conname = 'fk_branch_contexts_parent_project_id' and a.attname = 'user_id'
  ) then
    alter table branch_contexts drop constraint if exists fk_branch_contexts_parent_project_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_contexts_unified'::regclass and c.conname = 'fk_task_contexts_unified_task_id' and a.attname = 'user_id'
  ) then
    alter table task_contexts_unified drop constraint if exists fk_task_contexts_unified_task_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_contexts_unified'::regclass and c.conname = 'fk_task_contexts_unified_parent_branch_id' and a.attname = 'user_id'
  ) then
    alter table task_contexts_unified drop constraint if exists fk_task_contexts_unified_parent_branch_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_contexts_unified'::regclass and c.conname = 'fk_task_contexts_unified_parent_branch_context_id' and a.attname = 'user_id'
  ) then
    alter table task_contexts_unified drop constraint if exists fk_task_contexts_unified_parent_branch_context_id;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'projects'::regclass and c.conname = 'projects_pkey' and a.attname = 'user_id'
  ) then
    alter table projects drop constraint projects_pkey, add constraint projects_pkey primary key (user_id, id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'agents'::regclass and c.conname = 'agents_pkey' and a.attname = 'user_id'
  ) then
    alter table agents drop constraint agents_pkey, add constraint agents_pkey primary key (user_id, id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'agents'::regclass and c.conname = 'uq_agents_name' and a.attname = 'user_id'
  ) then
    alter table agents drop constraint uq_agents_name, add constraint uq_agents_name unique (user_id, name);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'project_git_branchs'::regclass and c.conname = 'project_git_branchs_pkey' and a.attname = 'user_id'
  ) then
    alter table project_git_branchs drop constraint project_git_branchs_pkey, add constraint project_git_branchs_pkey primary key (user_id, id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'project_git_branchs'::regclass and c.conname = 'uq_project_git_branchs_name' and a.attname = 'user_id'
  ) then
    alter table project_git_branchs drop constraint uq_project_git_branchs_name, add constraint uq_project_git_branchs_name unique (user_id, project_id, name);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'tasks'::regclass and c.conname = 'tasks_pkey' and a.attname = 'user_id'
  ) then
    alter table tasks drop constraint tasks_pkey, add constraint tasks_pkey primary key (user_id, id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_subtasks'::regclass and c.conname = 'task_subtasks_pkey' and a.attname = 'user_id'
  ) then
    alter table task_subtasks drop constraint task_subtasks_pkey, add constraint task_subtasks_pkey primary key (user_id, id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_dependencies'::regclass and c.conname = 'task_dependencies_pkey' and a.attname = 'user_id'
  ) then
    alter table task_dependencies drop constraint task_dependencies_pkey, add constraint task_dependencies_pkey primary key (user_id, id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_dependencies'::regclass and c.conname = 'uq_task_dependencies_pair' and a.attname = 'user_id'
  ) then
    alter table task_dependencies drop constraint uq_task_dependencies_pair, add constraint uq_task_dependencies_pair unique (user_id, task_id, depends_on_task_id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_assignees'::regclass and c.conname = 'task_assignees_pkey' and a.attname = 'user_id'
  ) then
    alter table task_assignees drop constraint task_assignees_pkey, add constraint task_assignees_pkey primary key (user_id, id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_assignees'::regclass and c.conname = 'uq_task_assignees_pair' and a.attname = 'user_id'
  ) then
    alter table task_assignees drop constraint uq_task_assignees_pair, add constraint uq_task_assignees_pair unique (user_id, task_id, assignee_id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'labels'::regclass and c.conname = 'labels_pkey' and a.attname = 'user_id'
  ) then
    alter table labels drop constraint labels_pkey, add constraint labels_pkey primary key (user_id, id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'labels'::regclass and c.conname = 'uq_labels_name' and a.attname = 'user_id'
  ) then
    alter table labels drop constraint uq_labels_name, add constraint uq_labels_name unique (user_id, name);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_labels'::regclass and c.conname = 'task_labels_pkey' and a.attname = 'user_id'
  ) then
    alter table task_labels drop constraint task_labels_pkey, add constraint task_labels_pkey primary key (user_id, id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_labels'::regclass and c.conname = 'uq_task_labels_pair' and a.attname = 'user_id'
  ) then
    alter table task_labels drop constraint uq_task_labels_pair, add constraint uq_task_labels_pair unique (user_id, task_id, label_id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'rules'::regclass and c.conname = 'rules_pkey' and a.attname = 'user_id'
  ) then
    alter table rules drop constraint rules_pkey, add constraint rules_pkey primary key (user_id, id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'global_contexts'::regclass and c.conname = 'global_contexts_pkey' and a.attname = 'user_id'
  ) then
    alter table global_contexts drop constraint global_contexts_pkey, add constraint global_contexts_pkey primary key (user_id, id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'project_contexts'::regclass and c.conname = 'project_contexts_pkey' and a.attname = 'user_id'
  ) then
    alter table project_contexts drop constraint project_contexts_pkey, add constraint project_contexts_pkey primary key (user_id, id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'project_contexts'::regclass and c.conname = 'uq_project_contexts_project_id' and a.attname = 'user_id'
  ) then
    alter table project_contexts drop constraint uq_project_contexts_project_id, add constraint uq_project_contexts_project_id unique (user_id, project_id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'branch_contexts'::regclass and c.conname = 'branch_contexts_pkey' and a.attname = 'user_id'
  ) then
    alter table branch_contexts drop constraint branch_contexts_pkey, add constraint branch_contexts_pkey primary key (user_id, id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'branch_contexts'::regclass and c.conname = 'uq_branch_contexts_branch_id' and a.attname = 'user_id'
  ) then
    alter table branch_contexts drop constraint uq_branch_contexts_branch_id, add constraint uq_branch_contexts_branch_id unique (user_id, branch_id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_contexts_unified'::regclass and c.conname = 'task_contexts_unified_pkey' and a.attname = 'user_id'
  ) then
    alter table task_contexts_unified drop constraint task_contexts_unified_pkey, add constraint task_contexts_unified_pkey primary key (user_id, id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_contexts_unified'::regclass and c.conname = 'uq_task_contexts_unified_task_id' and a.attname = 'user_id'
  ) then
    alter table task_contexts_unified drop constraint uq_task_contexts_unified_task_id, add constraint uq_task_contexts_unified_task_id unique (user_id, task_id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'projects'::regclass and c.conname = 'fk_projects_user_id' and a.attname = 'user_id'
  ) then
    alter table projects add constraint fk_projects_user_id foreign key (user_id) references users (id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'agents'::regclass and c.conname = 'fk_agents_user_id' and a.attname = 'user_id'
  ) then
    alter table agents add constraint fk_agents_user_id foreign key (user_id) references users (id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'project_git_branchs'::regclass and c.conname = 'fk_project_git_branchs_project_id' and a.attname = 'user_id'
  ) then
    alter table project_git_branchs add constraint fk_project_git_branchs_project_id
      foreign key (user_id, project_id) references projects (user_id, id) on delete cascade;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'project_git_branchs'::regclass and c.conname = 'fk_project_git_branchs_assigned_agent_id' and a.attname = 'user_id'
  ) then
    alter table project_git_branchs add constraint fk_project_git_branchs_assigned_agent_id
      foreign key (user_id, assigned_agent_id) references agents (user_id, id) on delete set null (assigned_agent_id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'tasks'::regclass and c.conname = 'fk_tasks_git_branch_id' and a.attname = 'user_id'
  ) then
    alter table tasks add constraint fk_tasks_git_branch_id
      foreign key (user_id, git_branch_id) references project_git_branchs (user_id, id) on delete cascade;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_subtasks'::regclass and c.conname = 'fk_task_subtasks_task_id' and a.attname = 'user_id'
  ) then
    alter table task_subtasks add constraint fk_task_subtasks_task_id
      foreign key (user_id, task_id) references tasks (user_id, id) on delete cascade;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_dependencies'::regclass and c.conname = 'fk_task_dependencies_task_id' and a.attname = 'user_id'
  ) then
    alter table task_dependencies add constraint fk_task_dependencies_task_id
      foreign key (user_id, task_id) references tasks (user_id, id) on delete cascade;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_dependencies'::regclass and c.conname = 'fk_task_dependencies_depends_on_task_id' and a.attname = 'user_id'
  ) then
    alter table task_dependencies add constraint fk_task_dependencies_depends_on_task_id
      foreign key (user_id, depends_on_task_id) references tasks (user_id, id) on delete cascade;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_assignees'::regclass and c.conname = 'fk_task_assignees_task_id' and a.attname = 'user_id'
  ) then
    alter table task_assignees add constraint fk_task_assignees_task_id
      foreign key (user_id, task_id) references tasks (user_id, id) on delete cascade;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_assignees'::regclass and c.conname = 'fk_task_assignees_agent_id' and a.attname = 'user_id'
  ) then
    alter table task_assignees add constraint fk_task_assignees_agent_id
      foreign key (user_id, agent_id) references agents (user_id, id) on delete set null (agent_id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'labels'::regclass and c.conname = 'fk_labels_user_id' and a.attname = 'user_id'
  ) then
    alter table labels add constraint fk_labels_user_id foreign key (user_id) references users (id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_labels'::regclass and c.conname = 'fk_task_labels_task_id' and a.attname = 'user_id'
  ) then
    alter table task_labels add constraint fk_task_labels_task_id
      foreign key (user_id, task_id) references tasks (user_id, id) on delete cascade;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_labels'::regclass and c.conname = 'fk_task_labels_label_id' and a.attname = 'user_id'
  ) then
    alter table task_labels add constraint fk_task_labels_label_id
      foreign key (user_id, label_id) references labels (user_id, id) on delete cascade;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'rules'::regclass and c.conname = 'fk_rules_project_id' and a.attname = 'user_id'
  ) then
    alter table rules add constraint fk_rules_project_id
      foreign key (user_id, project_id) references projects (user_id, id) on delete cascade;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'rules'::regclass and c.conname = 'fk_rules_git_branch_id' and a.attname = 'user_id'
  ) then
    alter table rules add constraint fk_rules_git_branch_id
      foreign key (user_id, git_branch_id) references project_git_branchs (user_id, id) on delete cascade;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'rules'::regclass and c.conname = 'fk_rules_parent_rule_id' and a.attname = 'user_id'
  ) then
    alter table rules add constraint fk_rules_parent_rule_id
      foreign key (user_id, parent_rule_id) references rules (user_id, id) on delete set null (parent_rule_id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'global_contexts'::regclass and c.conname = 'fk_global_contexts_user_id' and a.attname = 'user_id'
  ) then
    alter table global_contexts add constraint fk_global_contexts_user_id foreign key (user_id) references users (id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'project_contexts'::regclass and c.conname = 'fk_project_contexts_project_id' and a.attname = 'user_id'
  ) then
    alter table project_contexts add constraint fk_project_contexts_project_id
      foreign key (user_id, project_id) references projects (user_id, id) on delete cascade;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'project_contexts'::regclass and c.conname = 'fk_project_contexts_parent_global_id' and a.attname = 'user_id'
  ) then
    alter table project_contexts add constraint fk_project_contexts_parent_global_id
      foreign key (user_id, parent_global_id) references global_contexts (user_id, id) on delete set null (parent_global_id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'branch_contexts'::regclass and c.conname = 'fk_branch_contexts_branch_id' and a.attname = 'user_id'
  ) then
    alter table branch_contexts add constraint fk_branch_contexts_branch_id
      foreign key (user_id, branch_id) references project_git_branchs (user_id, id) on delete cascade;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'branch_contexts'::regclass and c.conname = 'fk_branch_contexts_parent_project_id' and a.attname = 'user_id'
  ) then
    alter table branch_contexts add constraint fk_branch_contexts_parent_project_id
      foreign key (user_id, parent_project_id) references project_contexts (user_id, id) on delete set null (parent_project_id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_contexts_unified'::regclass and c.conname = 'fk_task_contexts_unified_task_id' and a.attname = 'user_id'
  ) then
    alter table task_contexts_unified add constraint fk_task_contexts_unified_task_id
      foreign key (user_id, task_id) references tasks (user_id, id) on delete cascade;
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_contexts_unified'::regclass and c.conname = 'fk_task_contexts_unified_parent_branch_id' and a.attname = 'user_id'
  ) then
    alter table task_contexts_unified add constraint fk_task_contexts_unified_parent_branch_id
      foreign key (user_id, parent_branch_id) references project_git_branchs (user_id, id) on delete set null (parent_branch_id);
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = 'task_contexts_unified'::regclass and c.conname = 'fk_task_contexts_unified_parent_branch_context_id' and a.attname = 'user_id'
  ) then
    alter table task_contexts_unified add constraint fk_task_contexts_unified_parent_branch_context_id
      foreign key (user_id, parent_branch_context_id) references branch_contexts (user_id, id) on delete set null (parent_branch_context_id);
  end if;
end
$$;

-- Indexes -------------------------------------------------------------------------------------------------------------

create index if not exists idx_projects_user_id on projects (user_id);

create index if not exists idx_projects_user_id_created_at on projects (user_id, created_at, id);

create index if not exists idx_projects_id on projects (id) where id::text <> '';

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_projects_created_at') and indpred is not null
  ) then
    drop index if exists idx_projects_created_at;
    create index idx_projects_created_at on projects (created_at, id) where id::text <> '';
  end if;
end
$$;

create index if not exists idx_agents_user_id on agents (user_id);

create index if not exists idx_agents_id on agents (id) where id::text <> '';

create index if not exists idx_project_git_branchs_user_id on project_git_branchs (user_id);

create index if not exists idx_project_git_branchs_user_id_assigned_agent_id on project_git_branchs (user_id, assigned_agent_id);

create index if not exists idx_project_git_branchs_id on project_git_branchs (id) where id::text <> '';

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_project_git_branchs_project_id') and indpred is not null
  ) then
    drop index if exists idx_project_git_branchs_project_id;
    create index idx_project_git_branchs_project_id on project_git_branchs (project_id) where id::text <> '';
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_project_git_branchs_assigned_agent_id') and indpred is not null
  ) then
    drop index if exists idx_project_git_branchs_assigned_agent_id;
    create index idx_project_git_branchs_assigned_agent_id on project_git_branchs (assigned_agent_id) where id::text <> '';
  end if;
end
$$;

create index if not exists idx_tasks_user_id on tasks (user_id);

create index if not exists idx_tasks_user_id_git_branch_id on tasks (user_id, git_branch_id);

create index if not exists idx_tasks_user_id_created_at on tasks (user_id, created_at, id);

create index if not exists idx_tasks_id on tasks (id) where id::text <> '';

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_tasks_created_at') and indpred is not null
  ) then
    drop index if exists idx_tasks_created_at;
    create index idx_tasks_created_at on tasks (created_at, id) where id::text <> '';
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_tasks_git_branch_id') and indpred is not null
  ) then
    drop index if exists idx_tasks_git_branch_id;
    create index idx_tasks_git_branch_id on tasks (git_branch_id) where id::text <> '';
  end if;
end
$$;

create index if not exists idx_task_subtasks_user_id on task_subtasks (user_id);

create index if not exists idx_task_subtasks_user_id_task_id on task_subtasks (user_id, task_id);

create index if not exists idx_task_subtasks_id on task_subtasks (id) where id::text <> '';

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_task_subtasks_task_id') and indpred is not null
  ) then
    drop index if exists idx_task_subtasks_task_id;
    create index idx_task_subtasks_task_id on task_subtasks (task_id) where id::text <> '';
  end if;
end
$$;

create index if not exists idx_task_dependencies_user_id on task_dependencies (user_id);

create index if not exists idx_task_dependencies_user_id_depends_on_task_id on task_dependencies (user_id, depends_on_task_id);

create index if not exists idx_task_dependencies_id on task_dependencies (id) where id::text <> '';

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_task_dependencies_task_id') and indpred is not null
  ) then
    drop index if exists idx_task_dependencies_task_id;
    create index idx_task_dependencies_task_id on task_dependencies (task_id) where id::text <> '';
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_task_dependencies_depends_on_task_id') and indpred is not null
  ) then
    drop index if exists idx_task_dependencies_depends_on_task_id;
    create index idx_task_dependencies_depends_on_task_id on task_dependencies (depends_on_task_id) where id::text <> '';
  end if;
end
$$;

create index if not exists idx_task_assignees_user_id on task_assignees (user_id);

create index if not exists idx_task_assignees_user_id_agent_id on task_assignees (user_id, agent_id);

create index if not exists idx_task_assignees_id on task_assignees (id) where id::text <> '';

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_task_assignees_task_id') and indpred is not null
  ) then
    drop index if exists idx_task_assignees_task_id;
    create index idx_task_assignees_task_id on task_assignees (task_id) where id::text <> '';
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_task_assignees_agent_id') and indpred is not null
  ) then
    drop index if exists idx_task_assignees_agent_id;
    create index idx_task_assignees_agent_id on task_assignees (agent_id) where id::text <> '';
  end if;
end
$$;

create index if not exists idx_labels_user_id on labels (user_id);

create index if not exists idx_labels_id on labels (id) where id::text <> '';

create index if not exists idx_task_labels_user_id on task_labels (user_id);

create index if not exists idx_task_labels_user_id_label_id on task_labels (user_id, label_id);

create index if not exists idx_task_labels_id on task_labels (id) where id::text <> '';

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_task_labels_task_id') and indpred is not null
  ) then
    drop index if exists idx_task_labels_task_id;
    create index idx_task_labels_task_id on task_labels (task_id) where id::text <> '';
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_task_labels_label_id') and indpred is not null
  ) then
    drop index if exists idx_task_labels_label_id;
    create index idx_task_labels_label_id on task_labels (label_id) where id::text <> '';
  end if;
end
$$;

create index if not exists idx_rules_user_id on rules (user_id);

create index if not exists idx_rules_user_id_project_id on rules (user_id, project_id);

create index if not exists idx_rules_user_id_git_branch_id on rules (user_id, git_branch_id);

create index if not exists idx_rules_user_id_parent_rule_id on rules (user_id, parent_rule_id);

create index if not exists idx_rules_id on rules (id) where id::text <> '';

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_rules_project_id') and indpred is not null
  ) then
    drop index if exists idx_rules_project_id;
    create index idx_rules_project_id on rules (project_id) where id::text <> '';
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_rules_git_branch_id') and indpred is not null
  ) then
    drop index if exists idx_rules_git_branch_id;
    create index idx_rules_git_branch_id on rules (git_branch_id) where id::text <> '';
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_rules_parent_rule_id') and indpred is not null
  ) then
    drop index if exists idx_rules_parent_rule_id;
    create index idx_rules_parent_rule_id on rules (parent_rule_id) where id::text <> '';
  end if;
end
$$;

create index if not exists idx_global_contexts_user_id on global_contexts (user_id);

create index if not exists idx_global_contexts_id on global_contexts (id) where id::text <> '';

create index if not exists idx_project_contexts_user_id on project_contexts (user_id);

create index if not exists idx_project_contexts_user_id_parent_global_id on project_contexts (user_id, parent_global_id);

create index if not exists idx_project_contexts_id on project_contexts (id) where id::text <> '';

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_project_contexts_project_id') and indpred is not null
  ) then
    drop index if exists idx_project_contexts_project_id;
    create index idx_project_contexts_project_id on project_contexts (project_id) where id::text <> '';
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_project_contexts_parent_global_id') and indpred is not null
  ) then
    drop index if exists idx_project_contexts_parent_global_id;
    create index idx_project_contexts_parent_global_id on project_contexts (parent_global_id) where id::text <> '';
  end if;
end
$$;

create index if not exists idx_branch_contexts_user_id on branch_contexts (user_id);

create index if not exists idx_branch_contexts_user_id_parent_project_id on branch_contexts (user_id, parent_project_id);

create index if not exists idx_branch_contexts_id on branch_contexts (id) where id::text <> '';

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_branch_contexts_branch_id') and indpred is not null
  ) then
    drop index if exists idx_branch_contexts_branch_id;
    create index idx_branch_contexts_branch_id on branch_contexts (branch_id) where id::text <> '';
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_branch_contexts_parent_project_id') and indpred is not null
  ) then
    drop index if exists idx_branch_contexts_parent_project_id;
    create index idx_branch_contexts_parent_project_id on branch_contexts (parent_project_id) where id::text <> '';
  end if;
end
$$;

create index if not exists idx_task_contexts_unified_user_id on task_contexts_unified (user_id);

create index if not exists idx_task_contexts_unified_user_id_parent_branch_id on task_contexts_unified (user_id, parent_branch_id);

create index if not exists idx_task_contexts_unified_user_id_parent_branch_context_id on task_contexts_unified (user_id, parent_branch_context_id);

create index if not exists idx_task_contexts_unified_id on task_contexts_unified (id) where id::text <> '';

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_task_contexts_unified_task_id') and indpred is not null
  ) then
    drop index if exists idx_task_contexts_unified_task_id;
    create index idx_task_contexts_unified_task_id on task_contexts_unified (task_id) where id::text <> '';
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_task_contexts_unified_parent_branch_id') and indpred is not null
  ) then
    drop index if exists idx_task_contexts_unified_parent_branch_id;
    create index idx_task_contexts_unified_parent_branch_id on task_contexts_unified (parent_branch_id) where id::text <> '';
  end if;
end
$$;

do $$
begin
  if not exists (
    select from pg_index where indexrelid = to_regclass('idx_task_contexts_unified_parent_branch_context_id') and indpred is not null
  ) then
    drop index if exists idx_task_contexts_unified_parent_branch_context_id;
    create index idx_task_contexts_unified_parent_branch_context_id on task_contexts_unified (parent_branch_context_id) where id::text <> '';
  end if;
end
$$;

-- Policies ------------------------------------------------------------------------------------------------------------

alter table projects alter column user_id set default ringfence.current_user_id();
alter table projects enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'projects'::regclass and polname = 'user_isolation') then
    create policy user_isolation on projects using (user_id = (select ringfence.current_user_id())) with check (user_id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'projects'::regclass and polname = 'system_mode') then
    create policy system_mode on projects to ringfence_system using (true) with check (true);
  end if;
end
$$;

alter table agents alter column user_id set default ringfence.current_user_id();
alter table agents enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'agents'::regclass and polname = 'user_isolation') then
    create policy user_isolation on agents using (user_id = (select ringfence.current_user_id())) with check (user_id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'agents'::regclass and polname = 'system_mode') then
    create policy system_mode on agents to ringfence_system using (true) with check (true);
  end if;
end
$$;

alter table project_git_branchs alter column user_id set default ringfence.current_user_id();
alter table project_git_branchs enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'project_git_branchs'::regclass and polname = 'user_isolation') then
    create policy user_isolation on project_git_branchs using (user_id = (select ringfence.current_user_id())) with check (user_id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'project_git_branchs'::regclass and polname = 'system_mode') then
    create policy system_mode on project_git_branchs to ringfence_system using (true) with check (true);
  end if;
end
$$;

alter table tasks alter column user_id set default ringfence.current_user_id();
alter table tasks enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'tasks'::regclass and polname = 'user_isolation') then
    create policy user_isolation on tasks using (user_id = (select ringfence.current_user_id())) with check (user_id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'tasks'::regclass and polname = 'system_mode') then
    create policy system_mode on tasks to ringfence_system using (true) with check (true);
  end if;
end
$$;

alter table task_subtasks alter column user_id set default ringfence.current_user_id();
alter table task_subtasks enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'task_subtasks'::regclass and polname = 'user_isolation') then
    create policy user_isolation on task_subtasks using (user_id = (select ringfence.current_user_id())) with check (user_id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'task_subtasks'::regclass and polname = 'system_mode') then
    create policy system_mode on task_subtasks to ringfence_system using (true) with check (true);
  end if;
end
$$;

alter table task_dependencies alter column user_id set default ringfence.current_user_id();
alter table task_dependencies enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'task_dependencies'::regclass and polname = 'user_isolation') then
    create policy user_isolation on task_dependencies using (user_id = (select ringfence.current_user_id())) with check (user_id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'task_dependencies'::regclass and polname = 'system_mode') then
    create policy system_mode on task_dependencies to ringfence_system using (true) with check (true);
  end if;
end
$$;

alter table task_assignees alter column user_id set default ringfence.current_user_id();
alter table task_assignees enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'task_assignees'::regclass and polname = 'user_isolation') then
    create policy user_isolation on task_assignees using (user_id = (select ringfence.current_user_id())) with check (user_id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'task_assignees'::regclass and polname = 'system_mode') then
    create policy system_mode on task_assignees to ringfence_system using (true) with check (true);
  end if;
end
$$;

alter table labels alter column user_id set default ringfence.current_user_id();
alter table labels enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'labels'::regclass and polname = 'user_isolation') then
    create policy user_isolation on labels using (user_id = (select ringfence.current_user_id())) with check (user_id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'labels'::regclass and polname = 'system_mode') then
    create policy system_mode on labels to ringfence_system using (true) with check (true);
  end if;
end
$$;

alter table task_labels alter column user_id set default ringfence.current_user_id();
alter table task_labels enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'task_labels'::regclass and polname = 'user_isolation') then
    create policy user_isolation on task_labels using (user_id = (select ringfence.current_user_id())) with check (user_id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'task_labels'::regclass and polname = 'system_mode') then
    create policy system_mode on task_labels to ringfence_system using (true) with check (true);
  end if;
end
$$;

alter table rules alter column user_id set default ringfence.current_user_id();
alter table rules enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'rules'::regclass and polname = 'user_isolation') then
    create policy user_isolation on rules using (user_id = (select ringfence.current_user_id())) with check (user_id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'rules'::regclass and polname = 'system_mode') then
    create policy system_mode on rules to ringfence_system using (true) with check (true);
  end if;
end
$$;

alter table global_contexts alter column user_id set default ringfence.current_user_id();
alter table global_contexts enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'global_contexts'::regclass and polname = 'user_isolation') then
    create policy user_isolation on global_contexts using (user_id = (select ringfence.current_user_id())) with check (user_id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'global_contexts'::regclass and polname = 'system_mode') then
    create policy system_mode on global_contexts to ringfence_system using (true) with check (true);
  end if;
end
$$;

alter table project_contexts alter column user_id set default ringfence.current_user_id();
alter table project_contexts enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'project_contexts'::regclass and polname = 'user_isolation') then
    create policy user_isolation on project_contexts using (user_id = (select ringfence.current_user_id())) with check (user_id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'project_contexts'::regclass and polname = 'system_mode') then
    create policy system_mode on project_contexts to ringfence_system using (true) with check (true);
  end if;
end
$$;

alter table branch_contexts alter column user_id set default ringfence.current_user_id();
alter table branch_contexts enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'branch_contexts'::regclass and polname = 'user_isolation') then
    create policy user_isolation on branch_contexts using (user_id = (select ringfence.current_user_id())) with check (user_id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'branch_contexts'::regclass and polname = 'system_mode') then
    create policy system_mode on branch_contexts to ringfence_system using (true) with check (true);
  end if;
end
$$;

alter table task_contexts_unified alter column user_id set default ringfence.current_user_id();
alter table task_contexts_unified enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'task_contexts_unified'::regclass and polname = 'user_isolation') then
    create policy user_isolation on task_contexts_unified using (user_id = (select ringfence.current_user_id())) with check (user_id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'task_contexts_unified'::regclass and polname = 'system_mode') then
    create policy system_mode on task_contexts_unified to ringfence_system using (true) with check (true);
  end if;
end
$$;

alter table users enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'users'::regclass and polname = 'user_isolation') then
    create policy user_isolation on users using (id = (select ringfence.current_user_id())) with check (id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'users'::regclass and polname = 'system_mode') then
    create policy system_mode on users to ringfence_system using (true) with check (true);
  end if;
end
$$;

alter table sessions alter column user_id set default ringfence.current_user_id();
alter table sessions enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'sessions'::regclass and polname = 'user_isolation') then
    create policy user_isolation on sessions using (user_id = (select ringfence.current_user_id())) with check (user_id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'sessions'::regclass and polname = 'system_mode') then
    create policy system_mode on sessions to ringfence_system using (true) with check (true);
  end if;
end
$$;

alter table api_tokens alter column user_id set default ringfence.current_user_id();
alter table api_tokens enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'api_tokens'::regclass and polname = 'user_isolation') then
    create policy user_isolation on api_tokens using (user_id = (select ringfence.current_user_id())) with check (user_id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'api_tokens'::regclass and polname = 'system_mode') then
    create policy system_mode on api_tokens to ringfence_system using (true) with check (true);
  end if;
end
$$;

alter table user_access_log alter column user_id set default ringfence.current_user_id();
alter table user_access_log enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'user_access_log'::regclass and polname = 'user_isolation') then
    create policy user_isolation on user_access_log using (user_id = (select ringfence.current_user_id())) with check (user_id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'user_access_log'::regclass and polname = 'system_mode') then
    create policy system_mode on user_access_log to ringfence_system using (true) with check (true);
  end if;
end
$$;

alter table idempotency_keys alter column user_id set default ringfence.current_user_id();
alter table idempotency_keys enable row level security, force row level security;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'idempotency_keys'::regclass and polname = 'user_isolation') then
    create policy user_isolation on idempotency_keys using (user_id = (select ringfence.current_user_id())) with check (user_id = (select ringfence.current_user_id()));
  end if;
end
$$;
do $$
begin
  if not exists (select from pg_policy where polrelid = 'idempotency_keys'::regclass and polname = 'system_mode') then
    create policy system_mode on idempotency_keys to ringfence_system using (true) with check (true);
  end if;
end
$$;

do $$
begin
  if not exists (select from pg_policy where polrelid = 'users'::regclass and polname = 'accounts_mode') then
    create policy accounts_mode on users to ringfence_accounts using (true) with check (true);
  end if;
end
$$;

do $$
begin
  if not exists (select from pg_policy where polrelid = 'sessions'::regclass and polname = 'accounts_mode') then
    create policy accounts_mode on sessions to ringfence_accounts using (true) with check (true);
  end if;
end
$$;

do $$
begin
  if not exists (select from pg_policy where polrelid = 'api_tokens'::regclass and polname = 'accounts_mode') then
    create policy accounts_mode on api_tokens to ringfence_accounts using (true) with check (true);
  end if;
end
$$;

do $$
begin
  if not exists (select from pg_policy where polrelid = 'user_access_log'::regclass and polname = 'accounts_mode') then
    create policy accounts_mode on user_access_log to ringfence_accounts using (true) with check (true);
  end if;
end
$$;

do $$
begin
  if not exists (select from pg_policy where polrelid = 'user_access_log'::regclass and polname = 'no_system_outcome') then
    create policy no_system_outcome on user_access_log as restrictive for insert to ringfence_app, ringfence_accounts with check (outcome <> 'system');
  end if;
end
$$;

-- Grants --------------------------------------------------------------------------------------------------------------

revoke all on table projects from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select, insert, delete, update (name, description, status, metadata, version, updated_at) on table projects to ringfence_app;
grant select, insert, update, delete on table projects to ringfence_system;

revoke all on table agents from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select, insert, delete, update (name, description, role, capabilities, status, availability_score, last_active_at, metadata, version, updated_at) on table agents to ringfence_app;
grant select, insert, update, delete on table agents to ringfence_system;

revoke all on table project_git_branchs from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select, insert, delete, update (name, description, assigned_agent_id, priority, status, metadata, version, updated_at) on table project_git_branchs to ringfence_app;
grant select, insert, update, delete on table project_git_branchs to ringfence_system;

revoke all on table tasks from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select, insert, delete, update (git_branch_id, title, description, details, status, archived_from, priority, estimated_effort, due_date, completed_at, completion_summary, testing_notes, context_id, progress_percentage, version, updated_at) on table tasks to ringfence_app;
grant select, insert, update, delete on table tasks to ringfence_system;

revoke all on table task_subtasks from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select, insert, delete, update (title, description, status, priority, assignees, estimated_effort, progress_percentage, progress_notes, blockers, completion_summary, impact_on_parent, insights_found, completed_at, version, updated_at) on table task_subtasks to ringfence_app;
grant select, insert, update, delete on table task_subtasks to ringfence_system;

revoke all on table task_dependencies from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select, insert, delete on table task_dependencies to ringfence_app;
grant select, insert, update, delete on table task_dependencies to ringfence_system;

revoke all on table task_assignees from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select, insert, delete on table task_assignees to ringfence_app;
grant select, insert, update, delete on table task_assignees to ringfence_system;

revoke all on table labels from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select, insert, delete, update (name, color, description, version, updated_at) on table labels to ringfence_app;
grant select, insert, update, delete on table labels to ringfence_system;

revoke all on table task_labels from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select, insert, delete on table task_labels to ringfence_app;
grant select, insert, update, delete on table task_labels to ringfence_system;

revoke all on table rules from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select, insert, delete, update (name, content, parent_rule_id, scope, project_id, git_branch_id, priority, enabled, version, updated_at) on table rules to ringfence_app;
grant select, insert, update, delete on table rules to ringfence_system;

revoke all on table global_contexts from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select, insert, delete, update (organization_id, organization_standards, security_policies, compliance_requirements, shared_resources, reusable_patterns, global_preferences, delegation_rules, nested_structure, version, updated_at) on table global_contexts to ringfence_app;
grant select, insert, update, delete on table global_contexts to ringfence_system;

revoke all on table project_contexts from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select, insert, delete, update (parent_global_id, data, project_info, team_preferences, technology_stack, project_workflow, local_standards, project_settings, technical_specifications, global_overrides, delegation_rules, inheritance_disabled, version, updated_at) on table project_contexts to ringfence_app;
grant select, insert, update, delete on table project_contexts to ringfence_system;

revoke all on table branch_contexts from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select, insert, delete, update (parent_project_id, data, branch_info, branch_workflow, feature_flags, discovered_patterns, branch_decisions, active_patterns, local_overrides, delegation_rules, inheritance_disabled, version, updated_at) on table branch_contexts to ringfence_app;
grant select, insert, update, delete on table branch_contexts to ringfence_system;

revoke all on table task_contexts_unified from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select, insert, delete, update (parent_branch_id, parent_branch_context_id, data, task_data, execution_context, discovered_patterns, implementation_notes, test_results, blockers, local_decisions, delegation_queue, local_overrides, delegation_triggers, inheritance_disabled, force_local_only, version, updated_at) on table task_contexts_unified to ringfence_app;
grant select, insert, update, delete on table task_contexts_unified to ringfence_system;

revoke all on table users from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select (id, email, name, roles, status, tokens_valid_after, external_issuer, last_login_at, version, created_at, updated_at), update (name, version, updated_at), delete on table users to ringfence_app;
grant select (id, email, name, roles, status, tokens_valid_after, external_issuer, last_login_at, failed_login_attempts, locked_until, version, created_at, updated_at), update (name, version, updated_at), delete on table users to ringfence_system;
grant select (id, email, name, password_hash, external_issuer, external_subject, roles, status, tokens_valid_after, last_login_at, failed_login_attempts, locked_until, version, created_at, updated_at), insert (id, email, name, password_hash, external_issuer, external_subject), update (password_hash, roles, tokens_valid_after, last_login_at, failed_login_attempts, locked_until, version, updated_at) on table users to ringfence_accounts;

revoke all on table sessions from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select (user_id, id, rotated_at, expires_at, revoked_at, revoked_reason, user_agent, created_at), update (revoked_at, revoked_reason) on table sessions to ringfence_app;
grant select (user_id, id, rotated_at, expires_at, revoked_at, revoked_reason, user_agent, created_at), update (revoked_at, revoked_reason) on table sessions to ringfence_system;
grant select (user_id, id, token_hash, previous_token_hash, rotated_at, expires_at, revoked_at), insert (user_id, id, token_hash, expires_at, user_agent), update (token_hash, previous_token_hash, rotated_at, expires_at, revoked_at, revoked_reason) on table sessions to ringfence_accounts;

revoke all on table api_tokens from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select (user_id, id, name, scopes, expires_at, revoked_at, last_used_at, usage_count, created_at), insert, update (revoked_at) on table api_tokens to ringfence_app;
grant select (user_id, id, name, scopes, expires_at, revoked_at, last_used_at, usage_count, created_at), insert (user_id, id, name, token_hash, scopes, expires_at), update (revoked_at) on table api_tokens to ringfence_system;
grant select (user_id, id, token_hash, scopes, expires_at, revoked_at, last_used_at, usage_count), update (last_used_at, usage_count) on table api_tokens to ringfence_accounts;

revoke all on table user_access_log from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select, insert on table user_access_log to ringfence_app;
grant select, insert on table user_access_log to ringfence_system;
grant insert (user_id, id, actor, operation, entity_type, outcome, reason, request_id) on table user_access_log to ringfence_accounts;

revoke all on table idempotency_keys from public, ringfence_app, ringfence_system, ringfence_accounts;
grant select, insert, update (response_status, response_body), delete on table idempotency_keys to ringfence_app;
grant select, insert, update (response_status, response_body), delete on table idempotency_keys to ringfence_system;

revoke all on table ringfence_migrations from public;

grant select on table ringfence_migrations to ringfence_app, ringfence_system, ringfence_accounts;

insert into ringfence_migrations (version, name) values (3, '003_add_user_isolation') on conflict do nothing;

commit;

