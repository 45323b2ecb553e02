/** Ids are text made by the application (`usr_…`), also the users'; a look-up table; a unique name across all users. */
import type { Shape } from '../shape.ts';

export const textKeys: Shape = {
  name: 'text keys',
  schemas: ['public'],
  sql: (role) => `
    create table statuses (code text primary key, label text not null);
    create table users (id text primary key, email text not null unique, name text not null);
    create table projects (
      id text primary key check (id like 'prj\\_%'),
      owner_id text not null references users (id) on delete cascade,
      slug text not null,
      title text not null default 'untitled',
      constraint projects_slug_key unique (slug)
    );
    create index projects_owner_id_idx on projects (owner_id);
    create table tasks (
      id text primary key,
      project_id text not null constraint tasks_project_fk references projects (id) on delete cascade,
      status text not null default 'open' references statuses (code),
      title text not null,
      position integer not null default 0,
      done_at timestamptz
    );
    create index on tasks (project_id, position);
    create index tasks_open_idx on tasks (project_id) where status = 'open';
    create table notes (
      id text primary key,
      task_id text references tasks (id) on delete set null,
      author_id text not null references users (id),
      body text not null,
      words integer generated always as (cardinality(regexp_split_to_array(body, '\\s+'))) stored
    );
    create index on notes (task_id);
    insert into statuses values ('open', 'Open'), ('done', 'Done'), ('gone', 'Gone');
    insert into users select 'usr_' || n, 'user' || n || '@example.com', 'User ' || n from generate_series(1, 24) n;
    insert into projects select 'prj_' || n, 'usr_' || 1 + n % 24, 'slug-' || n, 'Project ' || n from generate_series(1, 120) n;
    insert into tasks select 'tsk_' || md5(n::text), 'prj_' || 1 + n % 120, (array['open', 'done', 'gone'])[1 + n % 3], 'Task ' || n, n
      from generate_series(1, 1500) n;
    insert into notes select 'nte_' || n, t.id, p.owner_id, 'A note of ' || n || ' words'
      from generate_series(1, 900) n join tasks t on t.id = 'tsk_' || md5((1 + n % 1500)::text) join projects p on p.id = t.project_id;
    grant select on statuses to ${role};
    grant select, insert, update, delete on users, projects, tasks, notes to ${role};
    analyze;
  `,
  users: 'users',
  userId: { derivedFrom: 'public.users' },
  tables: {
    statuses: { label: 'public.statuses', key: ['code'], owner: null },
    users: { label: 'public.users', key: ['id'], owner: 't.id' },
    projects: { label: 'public.projects', key: ['id'], owner: 't.owner_id' },
    tasks: {
      label: 'public.tasks',
      key: ['id'],
      owner: '(select p.owner_id from public.projects p where p.id = t.project_id)',
    },
    notes: { label: 'public.notes', key: ['id'], owner: 't.author_id' },
  },
  config: { shared: ['public.statuses'] },
  reads: [
    `select t.id, t.title from public.tasks t join public.projects p on p.id = t.project_id where p.owner_id = $1 order by t.position limit 20`,
    `select count(*) from public.notes where author_id = $1`,
  ],
  operations: [
    {
      name: 'new user',
      oldOnly: true,
      transaction: true,
      async run(hand) {
        const id = `usr_new_${hand.next()}`;
        await hand.insert('users', { id, email: `${id}@example.com`, name: 'New' }, id);
        const project = { id: `prj_${id}`, owner_id: id, slug: `slug-${id}`, title: 'First' };
        await hand.insert('projects', project, id);
        const task = { id: `tsk_${id}`, project_id: project.id, title: 'First task' };
        await hand.insert('tasks', task, id);
      },
    },
    {
      name: 'new project',
      async run(hand) {
        const n = hand.next();
        await hand.insert('projects', { id: `prj_w${n}`, owner_id: hand.user, slug: `w-${n}`, title: 'Made' });
      },
    },
    {
      name: 'new task and note',
      transaction: true,
      async run(hand) {
        const project = hand.some('projects');
        if (!project) return;
        const n = hand.next();
        const task = await hand.insert('tasks', {
          id: `tsk_w${n}`,
          project_id: project.id,
          title: 'Made',
          position: n,
        });
        await hand.insert('notes', { id: `nte_w${n}`, task_id: task.id, author_id: hand.user, body: 'two words' });
      },
    },
    {
      name: 'upsert task',
      async run(hand) {
        const task = hand.some('tasks');
        if (!task) return;
        const { id, project_id } = task;
        await hand.upsert('tasks', { id, project_id, title: `Upserted ${hand.next()}`, position: 1 }, ['id']);
      },
    },
    {
      name: 'upsert project by slug',
      async run(hand) {
        const project = hand.some('projects');
        if (!project) return;
        const { slug } = project;
        await hand.upsert('projects', { id: project.id, owner_id: hand.user, slug, title: `Slug ${hand.next()}` }, [
          'slug',
        ]);
      },
    },
    {
      name: 'save task',
      async run(hand) {
        const task = hand.some('tasks');
        if (task)
          await hand.save('tasks', task, { title: `Saved ${hand.next()}`, done_at: '2026-01-02T03:04:05+00:00' });
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
      name: 'give project away',
      oldOnly: true,
      async run(hand) {
        const project = hand.some('projects');
        if (!project) return;
        const tasks = hand.all('tasks', (task) => task.project_id === project.id);
        // The composite reference of a note to its task needs both to be of one user: such a project stays.
        if (hand.all('notes', (note) => tasks.some((task) => task.id === note.task_id)).length > 0) return;
        await hand.update('projects', project, { owner_id: hand.other });
        hand.hand('projects', { ...project, owner_id: hand.other }, hand.other);
        for (const task of tasks) hand.hand('tasks', task, hand.other);
      },
    },
    {
      name: 'delete note',
      async run(hand) {
        const note = hand.some('notes');
        if (note) await hand.delete('notes', note);
      },
    },
    {
      name: 'delete task, its notes stay',
      async run(hand) {
        const task = hand.some('tasks');
        if (!task) return;
        await hand.delete('tasks', task);
        for (const note of hand.all('notes', ({ task_id }) => task_id === task.id))
          hand.note('notes', { ...note, task_id: null });
      },
    },
  ],
  twin: { table: 'projects', changes: (other) => ({ owner_id: other }) },
};
