/** On the product's own schema, isolated: through a superuser, and through an owner whom the policies bind. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createDatabase, statement, type TestDatabase } from '../../../test/support/postgres.ts';
import { ownSchema } from '../../database/own-rollout.ts';
import { type Connection, connect } from '../connection.ts';
import { readEvents } from '../state.ts';
import { type Assignment, assign } from './assign.ts';

const [ann, bob] = ['aaaaaaaa-0000-4000-8000-000000000001', 'bbbbbbbb-0000-4000-8000-000000000001'];
const id = (number: number) => `00000000-0000-7000-8000-${String(number).padStart(12, '0')}`;

const rows = `
  insert into users (id, email, name) values ('${ann}', 'ann@example.com', 'Ann'), ('${bob}', 'bob@example.com', 'Bob');
  insert into projects (user_id, id, name) values ('${ann}', '${id(1)}', 'one'), ('${ann}', '${id(2)}', 'two');
  insert into agents (user_id, id, name) values ('${ann}', '${id(9)}', 'agent');
  insert into project_git_branchs (user_id, id, project_id, name, assigned_agent_id) values
    ('${ann}', '${id(11)}', '${id(1)}', 'main', '${id(9)}'), ('${ann}', '${id(12)}', '${id(2)}', 'main', null);
  insert into tasks (user_id, id, git_branch_id, title, description) values
    ('${ann}', '${id(21)}', '${id(11)}', 't', 'd'), ('${ann}', '${id(22)}', '${id(11)}', 't', 'd'),
    ('${ann}', '${id(23)}', '${id(12)}', 't', 'd');
  insert into task_subtasks (user_id, id, task_id, title) values ('${ann}', '${id(31)}', '${id(21)}', 's');
  insert into task_dependencies (user_id, id, task_id, depends_on_task_id) values ('${ann}', '${id(41)}', '${id(22)}', '${id(21)}');
  insert into project_contexts (user_id, id, project_id) values ('${ann}', '${id(51)}', '${id(1)}');
  insert into labels (user_id, id, name) values ('${ann}', '${id(61)}', 'urgent');`;

const tables =
  'projects agents project_git_branchs tasks task_subtasks task_dependencies project_contexts labels task_labels';

let database: TestDatabase;
let client: Connection;

beforeEach(async () => {
  database = await createDatabase('isolated');
  await statement(database.url, rows);
});
afterEach(async () => {
  await client.end();
  await database.drop();
});

const transfer = (
  table: string,
  key: string,
  more: { detach?: boolean; userColumn?: string; to?: string } = {},
): Promise<Assignment> =>
  assign(client, { selection: { by: 'key', table: `public.${table}`, key: [key], to: more.to ?? bob }, ...more });

/** Numbers of rows that are Bob's. */
async function bobs(): Promise<Record<string, number>> {
  const counts = tables
    .split(' ')
    .map((table) => `(select count(*)::int from public.${table} where user_id = '${bob}') as ${table}`);
  const [row] = (await statement(database.url, `select ${counts.join(', ')}`)).rows;
  return Object.fromEntries(Object.entries<number>(row).filter(([, count]) => count > 0));
}

test('a project goes with branches, tasks, subtasks and contexts; its agent stays', async () => {
  client = await connect(database.url, 'test');
  const refused = await transfer('projects', id(1));
  expect(refused.conflicts.map(({ message }) => message)).toEqual([
    `public.project_git_branchs (id) = (${id(11)}) would go, but refers by fk_project_git_branchs_assigned_agent_id to ` +
      `public.agents (id) = (${id(9)}), which is ${ann}'s (--detach gives this reference up)`,
  ]);
  const result = await transfer('projects', id(1), { detach: true, to: 'bob@example.com', userColumn: 'email' });
  expect(result).toMatchObject({ named: 1, rows: 7, detached: 1, conflicts: [] });
  expect(await bobs()).toEqual({
    projects: 1,
    project_git_branchs: 1,
    tasks: 2,
    task_subtasks: 1,
    task_dependencies: 1,
    project_contexts: 1,
  });
  expect(await readEvents(client, 'assign')).toHaveLength(1);
});

test("an agent goes without the branches of somebody else's projects", async () => {
  client = await connect(database.url, 'test');
  expect(await transfer('agents', id(9), { detach: true })).toMatchObject({ rows: 1, detached: 1, conflicts: [] });
  expect(await bobs()).toEqual({ agents: 1 });
});

test('a label of the old owner on a task is in the way, and may not be given up', async () => {
  client = await connect(database.url, 'test');
  const labelled = `insert into task_labels (user_id, id, task_id, label_id) values ('${ann}', '${id(71)}', '${id(21)}', '${id(61)}');
    update project_git_branchs set assigned_agent_id = null`;
  await statement(database.url, labelled);
  for (const detach of [false, true]) {
    const result = await transfer('projects', id(1), { detach });
    expect(result.rows).toBe(0);
    expect(result.conflicts.map(({ message }) => message)).toEqual([
      `public.task_labels (id) = (${id(71)}) would go, but refers by fk_task_labels_label_id to ` +
        `public.labels (id) = (${id(61)}), which is ${ann}'s`,
    ]);
  }
  expect(await bobs()).toEqual({});
});

test('what collides with the new owner is named', async () => {
  client = await connect(database.url, 'test');
  await statement(database.url, `insert into labels (user_id, id, name) values ('${bob}', '${id(62)}', 'urgent')`);
  const result = await transfer('labels', id(61));
  expect(result.conflicts).toEqual([
    {
      kind: 'collision',
      table: 'public.labels',
      constraint: 'uq_labels_name',
      key: '(name) = (urgent)',
      message: `public.labels: ${bob} has a row with (name) = (urgent) (uq_labels_name)`,
    },
  ]);
});

test('a session is an account, not a row to give away', async () => {
  client = await connect(database.url, 'test');
  const selection = { by: 'key', table: 'public.sessions', key: [id(1)], to: bob } as const;
  await expect(assign(client, { selection, withoutPlan: ownSchema })).rejects.toMatchObject({
    code: 'usage_error',
    message: "--table: public.sessions holds the users' accounts: its rows are not given away",
  });
});

test('an owner whom the policies bind goes by system mode, and says what it lacks', async () => {
  const login = `owner_${database.name}`;
  await statement(
    database.url,
    `create role ${login} login password 'x' nosuperuser nobypassrls;
    do $$ declare t regclass; begin
      for t in select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'public' and c.relkind = 'r' loop
        execute format('alter table %s owner to ${login}', t);
      end loop;
    end $$;
    alter database ${database.name} owner to ${login};
    grant create on schema public to ${login}`,
  );
  try {
    const url = new URL(database.url);
    url.username = login;
    url.password = 'x';
    client = await connect(url.href, 'test');
    await expect(transfer('projects', id(2))).rejects.toMatchObject({
      code: 'rollout_refused',
      message: expect.stringContaining(`grant ringfence_system to ${login}`),
    });
    await statement(database.url, `grant ringfence_system to ${login}`);
    expect(await transfer('projects', id(2))).toMatchObject({ rows: 3, conflicts: [] });
    expect(await bobs()).toEqual({ projects: 1, project_git_branchs: 1, tasks: 1 });
    // What was lent for the transaction is gone with it.
    const [lent] = (
      await client.query("select has_schema_privilege('ringfence_system', 'ringfence_rollout', 'usage') as it")
    ).rows;
    expect(lent).toEqual({ it: false });
  } finally {
    await client.query('drop schema if exists ringfence_rollout cascade');
    const mine = new URL(database.url);
    await statement(
      database.url,
      `reassign owned by ${login} to ${mine.username}; drop owned by ${login}; revoke ringfence_system from ${login}`,
    );
    await client.end();
    await statement(database.url, `drop role ${login}`);
  }
});

test('a child that is being added while its parent goes is waited for, and comes along', async () => {
  client = await connect(database.url, 'test');
  const writer = await connect(database.url, 'test');
  try {
    await writer.query('begin');
    await writer.query(`insert into public.tasks (user_id, id, git_branch_id, title, description)
      values ('${ann}', '${id(24)}', '${id(12)}', 't', 'd')`);
    const going = transfer('projects', id(2));
    // Of this database alone: others are tested on the same server.
    const waiting = `select from pg_stat_activity where datname = current_database() and wait_event = 'transactionid'`;
    await expect.poll(async () => (await writer.query(waiting)).rowCount).toBe(1);
    await writer.query('commit');
    expect(await going).toMatchObject({ rows: 4, conflicts: [] });
    expect(await bobs()).toEqual({ projects: 1, project_git_branchs: 1, tasks: 2 });
  } finally {
    await writer.end();
  }
});
