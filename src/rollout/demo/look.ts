/** What two users see of the isolated database, and what comes of reaching further: shown, not claimed. */
import type { Connection } from '../connection.ts';
import { identifier } from '../identifier.ts';
import type { Context } from '../verify/check.ts';
import type { Expectation } from '../verify/expectation.ts';
import { type Session, withSession } from '../verify/session.ts';
import { readContext } from '../verify/verify.ts';

export interface Attempt {
  /** Who asks, and for what: a sentence. */
  readonly what: string;
  readonly sql: string;
  /** What Postgres answered. */
  readonly answer: string;
  readonly asItShould: boolean;
}

const limits = { statementMs: 30_000, lockMs: 2_000 };

/** Nothing of it stays. */
export async function lookAsUsers(client: Connection, expectation: Expectation): Promise<Attempt[]> {
  const context = await readContext(client, expectation);
  return withSession(context, limits, (session) => look(session, ownerOfUsers(context)));
}

function ownerOfUsers(context: Context): string {
  const users = context.guarded.find(({ label }) => label === 'public.users');
  return identifier(users?.owned.ownerColumn ?? 'user_id');
}

interface Person {
  readonly id: number;
  readonly user: string;
  readonly tasks: string;
}

async function look(session: Session, owner: string): Promise<Attempt[]> {
  const [ann, bob] = await session.read<Person>(
    `select u.id, u.${owner}::text as user,
      (select count(*) from public.tasks t where t.user_id = u.${owner})::text as tasks
     from public.users u where u.id in (1, 2) order by u.id`,
  );
  const [all] = await session.read<{ tasks: string }>('select count(*)::text as tasks from public.tasks');
  const [bobs] = await session.read<{ project: number; task: number }>(
    `select project_id as project, id as task from public.tasks where user_id = $1 order by id limit 1`,
    [bob?.user],
  );
  if (!ann || !bob || !all || !bobs) throw new Error('the demo has not the users that it made');
  const asAnn = session.identityOf(ann.user);
  const asBob = session.identityOf(bob.user);
  const forged = `${bob.user}${asAnn.slice(ann.user.length)}`;
  const attempts: Attempt[] = [];
  const attempt = async (
    what: string,
    identity: string | null,
    sql: string,
    values: readonly unknown[],
    expected: string,
  ) => {
    const { code, message, count, rows } = await session.attempt(identity, sql, values);
    const [first] = rows;
    const value = first === undefined ? undefined : Object.values(first)[0];
    const answer = code !== null ? `${code} ${message}` : /^select count/.test(sql) ? String(value) : `${count} rows`;
    attempts.push({ what, sql, answer, asItShould: code === null ? answer === expected : code === expected });
  };
  const count = 'select count(*) from tasks';
  const qualified = (sql: string) =>
    sql.replaceAll(/\b(from|into|update) (tasks|projects|comments)\b/g, '$1 public.$2');
  const tryIt = (...[what, identity, sql, values, expected]: Parameters<typeof attempt>) =>
    attempt(what, identity, qualified(sql), values, expected);
  await tryIt(`Ann counts the tasks (of ${all.tasks})`, asAnn, count, [], ann.tasks);
  await tryIt(`Bob counts the tasks (of ${all.tasks})`, asBob, count, [], bob.tasks);
  await tryIt('nobody in particular counts them', null, count, [], 'RF001');
  await tryIt(
    "Ann asks for Bob's project by its id",
    asAnn,
    'select * from projects where id = $1',
    [bobs.project],
    '0 rows',
  );
  await tryIt("Ann changes Bob's task", asAnn, "update tasks set title = 'mine' where id = $1", [bobs.task], '0 rows');
  await tryIt(
    "Ann comments on Bob's task",
    asAnn,
    "insert into comments (user_id, task_id, written_by, body) values ($1, $2, 'ann', 'hello')",
    [ann.user, bobs.task],
    '23503',
  );
  const union = `select name from projects
union all select set_config('ringfence.identity', $1, true)
union all select name from projects`;
  await tryIt("Ann slips in Bob's id with UNION and set_config", asAnn, union, [bob.user], 'RF002');
  await tryIt("Ann puts Bob's id into her own signed identity", asAnn, union, [forged], 'RF002');
  return attempts;
}
