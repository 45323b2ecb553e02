/**
 * Fills a database with what it would hold after a while: many users with a few tasks, some with many. The rows of one
 * user lie apart, as they do when tasks are made over time, so that a list has to fetch them from many pages.
 */
import pg from 'pg';

export interface Size {
  readonly users: number;
  readonly tasks: number;
  /** How many users send requests for reading; as many others create. */
  readonly callers: number;
}

/** One user in twenty is busy, with more tasks than a page holds. Only they send requests. */
const busyEvery = 20;
const busyTasks = 60;
const tasksPerCaller = 5;
/** 2026-01-01. Tasks are made 20 ms apart. */
const epochMs = 1_767_225_600_000;

export interface SeededUser {
  readonly userId: string;
  readonly email: string;
  readonly sessionId: string;
  readonly taskIds: readonly string[];
}

/** @param ownerUrl a superuser's: policies and column grants do not bind it; constraints, keys and indexes all do */
export async function seed(ownerUrl: string, size: Size, say: (line: string) => void): Promise<void> {
  const client = new pg.Client({ connectionString: ownerUrl });
  await client.connect();
  try {
    // One load of data, not what an operator tunes: everything else stays as it is in production.
    await client.query("set statement_timeout = 0; set synchronous_commit = off; set work_mem = '64MB'");
    for (const [what, statement] of seedStatements(size)) {
      const started = performance.now();
      const { rowCount } = await client.query(statement);
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      say(`  ${what}: ${rowCount === null ? '' : `${rowCount} in `}${seconds} s`);
    }
  } finally {
    await client.end();
  }
}

function seedStatements({ users, tasks }: Size): [what: string, statement: string][] {
  const busy = Math.floor(users / busyEvery);
  const others = users - busy;
  const left = tasks - busy * busyTasks;
  if (left < 0) throw new RangeError(`${tasks} tasks are too few for ${users} users`);
  const each = Math.floor(left / others);
  // The how-manieth task of its user a task is.
  const turnOf = `(${ordinalOf('t.id')} / ${users})`;
  const busyTaskRows = `from tasks t join bench_users u on u.id = t.user_id where u.busy and`;
  return [
    [
      'plan',
      `create temporary table bench_users as
       select n, ${uuidOf('n', 'n')} as id, n % ${busyEvery} = 0 as busy,
         case when n % ${busyEvery} = 0 then ${busyTasks}
           else ${each} + case when n - n / ${busyEvery} <= ${left % others} then 1 else 0 end end as tasks
       from generate_series(1, ${users}) n`,
    ],
    [
      'users',
      `insert into users (id, email, name) select id, 'user' || n || '@bench.invalid', 'User ' || n from bench_users`,
    ],
    [
      'sessions',
      `insert into sessions (user_id, id, token_hash, expires_at)
       select id, id, sha256(id::text::bytea), now() + interval '30 days' from bench_users where busy`,
    ],
    ['projects', `insert into projects (user_id, id, name) select id, id, 'Inbox' from bench_users`],
    [
      'branches',
      `insert into project_git_branchs (user_id, id, project_id, name) select id, id, id, 'inbox' from bench_users`,
    ],
    [
      'tasks',
      `insert into tasks (user_id, id, git_branch_id, title, description, status, priority, due_date, created_at, updated_at)
       select u.id, ${uuidOf('o', 'o')}, u.id, 'Task ' || o || ' of a user',
         repeat('What has to be done here, and how one sees that it is. ', 1 + u.k % 5),
         (array['todo', 'todo', 'in_progress', 'review', 'done'])[1 + u.k % 5],
         (array['low', 'medium', 'medium', 'high', 'urgent'])[1 + u.k / 5 % 5],
         case when u.k % 3 = 0 then ${timeOf('o')} + interval '14 days' end, ${timeOf('o')}, ${timeOf('o')}
       from (select u.id, k, (k - 1)::bigint * ${users} + u.n as o
             from generate_series(1, ${Math.max(busyTasks, each + 1)}) k join bench_users u on u.tasks >= k
             order by k, u.n) u`,
    ],
    [
      'labels',
      `insert into labels (user_id, id, name)
       select u.id, ${uuidOf('u.n', 'u.n * 10 + l')}, 'label ' || l
       from bench_users u, generate_series(1, 4) l where u.busy`,
    ],
    [
      'task labels',
      `insert into task_labels (user_id, id, task_id, label_id)
       select t.user_id, t.id, t.id, l.id ${busyTaskRows.replace(' where', ' join labels l on l.user_id = t.user_id where')}
         l.name = 'label ' || 1 + ${turnOf} % 8`,
    ],
    [
      'subtasks',
      `insert into task_subtasks (user_id, id, task_id, title)
       select t.user_id, t.id, t.id, 'First step' ${busyTaskRows} ${turnOf} % 4 = 0`,
    ],
    [
      'assignees',
      `insert into task_assignees (user_id, id, task_id, assignee_id)
       select t.user_id, t.id, t.id, 'somebody' ${busyTaskRows} ${turnOf} % 4 = 1`,
    ],
    [
      'dependencies',
      `insert into task_dependencies (user_id, id, task_id, depends_on_task_id)
       select t.user_id, t.id, t.id, d.id
       ${busyTaskRows.replace(' where', ' join tasks d on d.user_id = t.user_id where')}
         d.id = ${uuidOf(`${ordinalOf('t.id')} - ${users}`, `${ordinalOf('t.id')} - ${users}`)}
         and ${turnOf} % 4 = 1`,
    ],
    ['vacuum and analyze', 'vacuum (analyze)'],
    // Or it would fall into the first rounds.
    ['checkpoint', 'checkpoint'],
  ];
}

/** A UUIDv7 (RFC 9562 §5.7) whose random part is a number, so that rows can be told without looking them up. */
function uuidOf(ordinal: string, number: string): string {
  return `(lpad(to_hex(${epochMs} + (${ordinal})::bigint * 20), 12, '0') || '70008000'
    || lpad(to_hex((${number})::bigint), 12, '0'))::uuid`;
}

function ordinalOf(uuid: string): string {
  return `('x' || right(${uuid}::text, 12))::bit(48)::bigint`;
}

function timeOf(ordinal: string): string {
  return `to_timestamp((${epochMs} + ${ordinal} * 20) / 1000.0)`;
}

/** Busy users, spread over all of them. */
export async function busyUsers(ownerUrl: string, count: number): Promise<SeededUser[]> {
  const client = new pg.Client({ connectionString: ownerUrl });
  await client.connect();
  try {
    const { rows } = await client.query<SeededUser>(
      `with busy as (
         select s.user_id, s.id, u.email, row_number() over (order by s.user_id) as n, count(*) over () as of
         from sessions s join users u on u.id = s.user_id
       )
       select b.user_id as "userId", b.email, b.id as "sessionId",
         (select array_agg(t.id::text) from (
            select id from tasks where user_id = b.user_id order by md5(id::text) limit $2) t) as "taskIds"
       from busy b where b.n % greatest(b.of / $1, 1) = 0 order by b.n limit $1`,
      [count, tasksPerCaller],
    );
    if (rows.length < count) throw new Error(`${rows.length} users with enough tasks, and ${count} are needed`);
    return rows;
  } finally {
    await client.end();
  }
}
