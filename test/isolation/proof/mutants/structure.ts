/** Defects of keys, references, defaults and indexes. */
import { inDatabase, type Mutant, suite } from './mutant.ts';

const { closure, forging, plans, repositories, walls } = suite;

/** Projects by their id alone, and what refers to them. */
const projectsById = `
  alter table projects drop constraint projects_pkey cascade;
  alter table projects add constraint projects_pkey primary key (id);
  alter table project_git_branchs add constraint fk_project_git_branchs_project_id
    foreign key (project_id) references projects (id) on delete cascade;
  alter table rules add constraint fk_rules_project_id foreign key (project_id) references projects (id) on delete cascade`;

export const structureMutants: readonly Mutant[] = [
  inDatabase('I5', 'a primary key without the owner', forging, projectsById),
  inDatabase('I5', 'a unique name without the owner', closure, 'create unique index on agents (name)'),
  inDatabase(
    'I5',
    'keys of repeated requests unique over all users',
    [closure, 'src/http/creation.test.ts'],
    `alter table idempotency_keys drop constraint uq_idempotency_keys_key;
     alter table idempotency_keys add constraint uq_idempotency_keys_key unique (key)`,
  ),
  inDatabase(
    'I5',
    'a reference without the owner',
    walls,
    `create unique index on labels (id);
     alter table task_labels drop constraint fk_task_labels_label_id;
     alter table task_labels add constraint fk_task_labels_label_id
       foreign key (label_id) references labels (id) on delete cascade`,
  ),
  inDatabase('I5', 'a reference dropped', walls, 'alter table task_subtasks drop constraint fk_task_subtasks_task_id'),
  inDatabase(
    'I5',
    'a removal that empties the owner of what referred to it',
    closure,
    `alter table rules drop constraint fk_rules_parent_rule_id;
     alter table rules add constraint fk_rules_parent_rule_id
       foreign key (user_id, parent_rule_id) references rules (user_id, id) on delete set null`,
  ),
  inDatabase(
    'I5',
    'a removal that cascades into other users’ rows',
    closure,
    `create unique index on tasks (id);
     alter table task_subtasks drop constraint fk_task_subtasks_task_id;
     alter table task_subtasks add constraint fk_task_subtasks_task_id
       foreign key (task_id) references tasks (id) on delete cascade`,
  ),
  inDatabase(
    'I8',
    'statistics of everybody’s titles',
    'test/isolation/statistics.test.ts',
    'alter table tasks alter column title set statistics 100',
  ),
  inDatabase(
    'I8',
    'an index on titles, partial on what a user may say',
    closure,
    'create index on tasks (title) where title is not null',
  ),
  inDatabase('I8', 'an index on the time of everybody’s access', closure, 'create index on user_access_log (at)'),
  inDatabase('I5', 'an owner without a default', forging, 'alter table projects alter column user_id drop default'),
  inDatabase(
    'I5',
    'rows are the quarantine’s by default',
    forging,
    `alter table projects alter column user_id set default '00000000-0000-4000-8000-000000000000'`,
  ),
  inDatabase(
    'I5',
    'an owner that may be null',
    closure,
    'alter table task_labels drop constraint task_labels_pkey, alter column user_id drop not null; create unique index on task_labels (user_id, id)',
  ),
  inDatabase(
    'I5',
    'a trigger that reaches other users’ rows',
    [closure],
    `create function reach_across() returns trigger language plpgsql security definer as
       $$ begin update labels set description = 'touched' where name = new.name and id <> new.id; return new; end $$;
     create trigger reach_across after insert on labels for each row execute function reach_across()`,
  ),
  inDatabase('I8', 'an index on the id alone that answers users', closure, 'create index on tasks (id)'),
  inDatabase(
    'I10',
    'the index of a user’s list without its owner',
    plans,
    'drop index idx_tasks_user_id_created_at; create index idx_tasks_user_id_created_at on tasks (created_at, id)',
  ),
  inDatabase(
    'I10',
    'a trigger on an owned table',
    closure,
    `create function touch() returns trigger language plpgsql as $$ begin new.updated_at := now(); return new; end $$;
     create trigger touch before update on projects for each row execute function touch()`,
  ),
  inDatabase(
    'I5',
    'what users have one of is unique over all of them',
    [closure, repositories],
    'create unique index on global_contexts ((true))',
  ),
];
