-- Takes the product's tables away, with everything in them.

begin;

-- Whoever runs this may have a schema of the same name in front of the search path.
set local search_path = public;

drop table
  task_contexts_unified, branch_contexts, project_contexts, global_contexts, rules, task_labels, labels,
  task_assignees, task_dependencies, task_subtasks, tasks, project_git_branchs, agents, projects;

-- Owners that an earlier way down kept, and the plan of a rollout, are of rows that are gone now.
drop schema if exists ringfence_rollout cascade;

drop table ringfence_migrations;

commit;
