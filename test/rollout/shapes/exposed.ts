/** What shows rows past every policy: a view, a materialized view and a SECURITY DEFINER function, all for PUBLIC. */
import type { Shape } from '../shape.ts';

export const exposed: Shape = {
  name: 'exposed',
  schemas: ['public'],
  sql: (role) => `
    create table users (id uuid primary key, name text not null);
    create table projects (
      id uuid primary key,
      owner_id uuid not null references users (id),
      title text not null,
      touched integer not null default 0
    );
    create table tasks (
      id uuid primary key,
      project_id uuid not null references projects (id) on delete cascade,
      title text not null,
      done boolean not null default false,
      version integer not null default 1
    );
    create index on tasks (project_id);
    create view open_tasks as select id, project_id, title from tasks where not done;
    create view overview with (security_barrier = true) as
      select p.id, p.title, p.owner_id, count(t.id) as tasks from projects p left join tasks t on t.project_id = p.id
        group by p.id, p.title, p.owner_id;
    create view overview_of_overview as select owner_id, sum(tasks) as tasks from overview group by owner_id;
    create materialized view totals as select owner_id, count(*) as projects from projects group by owner_id;
    create unique index totals_owner_idx on totals (owner_id);
    create function project_ids(wanted uuid) returns setof uuid language sql security definer set search_path = public
      as 'select id from projects where owner_id = wanted or wanted is null';
    -- A trigger of the application's own, which must go on as before.
    create function touch() returns trigger language plpgsql as $$
      begin
        new.touched := coalesce(old.touched, 0) + 1;
        return new;
      end $$;
    create trigger a_touch before update of title on projects for each row execute function touch();
    -- One that any update fires: giving a row its owner must not count as a change of it.
    create function count_version() returns trigger language plpgsql as $$
      begin
        new.version := old.version + 1;
        return new;
      end $$;
    create trigger "Z_count" before update on tasks for each row execute function count_version();
    insert into users select md5('user' || n)::uuid, 'User ' || n from generate_series(1, 12) n;
    insert into projects select md5('project' || n)::uuid, md5('user' || 1 + n % 12)::uuid, 'Project ' || n from generate_series(1, 200) n;
    insert into tasks select md5('task' || n)::uuid, md5('project' || 1 + n % 200)::uuid, 'Task ' || n, n % 3 = 0 from generate_series(1, 1500) n;
    refresh materialized view totals;
    grant select on open_tasks, overview, overview_of_overview, totals to public;
    grant update (title) on open_tasks to ${role};
    grant select, insert, update, delete on users, projects, tasks to ${role};
    analyze;
  `,
  users: 'users',
  userId: 'uuid',
  tables: {
    users: { label: 'public.users', key: ['id'], owner: 't.id::text' },
    projects: { label: 'public.projects', key: ['id'], owner: 't.owner_id::text' },
    tasks: {
      label: 'public.tasks',
      key: ['id'],
      owner: '(select p.owner_id::text from public.projects p where p.id = t.project_id)',
    },
  },
  config: {},
  reads: [
    'select * from public.overview where owner_id = $1::uuid',
    'select project_ids from public.project_ids($1::uuid)',
    'select projects from public.totals where owner_id = $1::uuid',
    'select tasks from public.overview_of_overview where owner_id = $1::uuid',
  ],
  operations: [
    {
      name: 'new user',
      oldOnly: true,
      transaction: true,
      async run(hand) {
        const n = String(hand.next()).padStart(12, '0');
        const id = `ba000000-0000-4000-8000-${n}`;
        await hand.insert('users', { id, name: 'New' }, id);
        await hand.insert('projects', { id: `bb000000-0000-4000-8000-${n}`, owner_id: id, title: 'First' }, id);
      },
    },
    {
      name: 'new project and tasks',
      transaction: true,
      async run(hand) {
        const n = String(hand.next()).padStart(12, '0');
        const id = `bc000000-0000-4000-8000-${n}`;
        await hand.insert('projects', { id, owner_id: hand.user, title: 'Made' });
        await hand.insert('tasks', { id: `bd000000-0000-4000-8000-${n}`, project_id: id, title: 'Made' });
      },
    },
    {
      name: 'update through the view',
      oldOnly: true,
      async run(hand) {
        const task = hand.some('tasks', ({ done }) => done === false);
        if (!task) return;
        const title = `Seen ${hand.next()}`;
        const changed = await hand.query(
          'update public.open_tasks set title = $1 where id = $2 returning id',
          [title, task.id],
          true,
        );
        if (changed.length !== 1) throw new Error('the view no longer shows a row that is there');
        hand.note('tasks', { ...task, title, version: Number(task.version) + 1 });
      },
    },
    {
      name: 'upsert task',
      async run(hand) {
        const task = hand.some('tasks');
        if (!task) return;
        await hand.upsert('tasks', { id: task.id, project_id: task.project_id, title: `Upserted ${hand.next()}` }, [
          'id',
        ]);
      },
    },
    {
      name: 'touch a project',
      async run(hand) {
        const project = hand.some('projects');
        if (!project) return;
        const changed = await hand.update('projects', project, { title: `Touched ${hand.next()}` });
        if (changed.touched !== Number(project.touched) + 1)
          throw new Error("the application's own trigger did not fire once");
      },
    },
    {
      name: 'save task',
      async run(hand) {
        const task = hand.some('tasks');
        if (task) await hand.save('tasks', task, { done: hand.random(2) === 0 });
      },
    },
    {
      name: 're-parent task',
      async run(hand) {
        const task = hand.some('tasks');
        const project = hand.some('projects');
        if (task && project) await hand.update('tasks', task, { project_id: project.id });
      },
    },
    {
      name: 'delete task',
      async run(hand) {
        const task = hand.some('tasks');
        if (task) await hand.delete('tasks', task);
      },
    },
  ],
  twin: { table: 'projects', changes: (other) => ({ owner_id: other, touched: 0 }) },
  exposes: [
    { sql: 'select id from public.open_tasks', table: 'tasks' },
    { sql: 'select id from public.overview', table: 'projects' },
    { sql: 'select owner_id as id from public.overview_of_overview', table: 'users' },
    { sql: 'select owner_id as id from public.totals', table: 'users' },
    { sql: 'select project_ids as id from public.project_ids(null)', table: 'projects' },
  ],
};
