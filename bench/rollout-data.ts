/**
 * A database as the old application has it: projects that say whose they are, tasks that say only of which project they
 * are. Keys are random, and the tasks of a project lie apart, as they do when tasks are made over time.
 */
import pg from 'pg';

export interface Size {
  readonly tasks: number;
  readonly projects: number;
  readonly users: number;
}

export const oldRole = 'old_application';
const oldPassword = 'of the benchmark alone';

/** Of every ten projects nine are this user's in the data set of the majority owner. */
export const majorityUser = '0f000000-0000-4000-8000-000000000001';
const othersEvery = 10;

export type DataSet = 'many owners' | 'one in the majority';

/** Tasks with 150 to 200 bytes a row, three indexes and a reference; the application's role may do what it does. */
const tables = `
create table users (id uuid primary key, email text not null unique);
create table projects (
  id uuid primary key,
  user_id uuid not null references users,
  name text not null,
  created_at timestamptz not null default now()
);
create index idx_projects_user_id on projects (user_id);
create table tasks (
  id uuid not null,
  project_id uuid not null,
  title text not null,
  description text,
  status text not null default 'open',
  priority int not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
)`;

/** Made when the rows are there, as any load does it. */
const tasksIndexes = `
alter table tasks add primary key (id);
create index idx_tasks_project_id on tasks (project_id);
create index idx_tasks_status on tasks (status, updated_at);
alter table tasks add foreign key (project_id) references projects`;

function rows({ tasks, projects, users }: Size, data: DataSet): string[] {
  const user = (n: string) => `md5('user' || (${n}))::uuid`;
  const project = (n: string) => `md5('project' || (${n}))::uuid`;
  const owner =
    data === 'many owners'
      ? user(`n % ${users}`)
      : `case when n % ${othersEvery} = 0 then ${user(`n % ${users}`)} else '${majorityUser}'::uuid end`;
  return [
    `insert into users select ${user('n')}, 'user' || n || '@bench.invalid' from generate_series(0, ${users - 1}) n`,
    `insert into users values ('${majorityUser}', 'majority@bench.invalid')`,
    `insert into projects (id, user_id, name)
      select ${project('n')}, ${owner}, 'Project ' || n from generate_series(0, ${projects - 1}) n`,
    // A multiplier that is prime to any number of projects here: neighbours are of projects far apart.
    `insert into tasks (id, project_id, title, description, status, priority, updated_at)
      select md5('task' || n)::uuid, ${project(`n::bigint * 7919 % ${projects}`)}, 'Task number ' || n,
        'What has to be done, in a line or two of text. ' || n, (array['open', 'done', 'blocked'])[1 + n % 3], n % 5,
        now() - n * interval '1 second'
      from generate_series(1, ${tasks}) n`,
  ];
}

/** Fills an empty database of which the connection is the owner's. */
export async function seedOldSchema(url: string, size: Size, data: DataSet): Promise<void> {
  await withClient(url, async (client) => {
    // One load of data, not what is measured.
    await client.query("set synchronous_commit = off; set maintenance_work_mem = '256MB'; set work_mem = '64MB'");
    await client.query(tables);
    for (const statement of rows(size, data)) await client.query(statement);
    await client.query(tasksIndexes);
    await client.query(`
      do $$ begin
        if not exists (select from pg_roles where rolname = '${oldRole}') then
          create role ${oldRole} login password '${oldPassword}';
        end if;
      end $$;
      grant select, insert, update, delete on users, projects, tasks to ${oldRole}`);
    await client.query('vacuum (freeze, analyze)');
  });
}

export function oldApplicationUrl(ownerUrl: string): string {
  const url = new URL(ownerUrl);
  url.username = oldRole;
  url.password = encodeURIComponent(oldPassword);
  return url.href;
}

export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
