/**
 * Which index answers which statement. A user's look-up goes through an index that starts with the owner: found through
 * an index on the id alone, a hidden row would take longer to refuse than an absent one. System statements have indexes
 * of their own, so the emergency switch does not turn look-ups into scans.
 */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { appRole, roleUrl, systemRole } from '../../src/database/provision.ts';
import { deriveIdentityKey, mintIdentity } from '../../src/isolation/identity.ts';
import { everybodyMark } from '../../src/isolation/owned-tables.ts';
import { startTestServer, type TestServer, type TestUser } from '../support/server.ts';
import { testSecret } from '../support/templates.ts';

let server: TestServer;
let ann: TestUser;
let app: pg.Client;
let system: pg.Client;

const users = 200;
/** Fewer than a page, so that the planner expects to read all that a user has whichever way it goes. */
const tasksEach = 20;

beforeAll(async () => {
  server = await startTestServer();
  ann = await server.user();
  const owner = new pg.Client({ connectionString: server.database.url });
  await owner.connect();
  await owner.query(`
    create temp table seed as select case when n = 0 then '${ann.id}'::uuid else gen_random_uuid() end as id from generate_series(0, ${users}) n;
    insert into users (id, email, name) select id, id || '@seed.test', 'seed' from seed on conflict do nothing;
    insert into projects (user_id, id, name) select id, id, 'p' from seed;
    insert into project_git_branchs (user_id, id, project_id, name) select id, id, id, 'b' from seed;
    insert into tasks (user_id, id, git_branch_id, title, description, created_at)
      select s.id, gen_random_uuid(), s.id, 't', 'd', now() - n * interval '1 minute' from seed s, generate_series(1, ${tasksEach}) n;
    insert into task_subtasks (user_id, id, task_id, title) select user_id, gen_random_uuid(), id, 's' from tasks;
    analyze;
  `);
  await owner.end();
  [app, system] = [appRole, systemRole].map(
    (role) => new pg.Client({ connectionString: roleUrl(server.database.url, role as typeof appRole, testSecret) }),
  ) as [pg.Client, pg.Client];
  await Promise.all([app.connect(), system.connect()]);
}, 60_000);
afterAll(async () => {
  await Promise.all([app?.end(), system?.end()]);
  await server?.close();
});

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Index Name'?: string;
  readonly Plans?: readonly PlanNode[];
}

function nodes(plan: PlanNode): PlanNode[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodes)];
}

async function indexesOf(client: pg.Client, statement: string, parameters: unknown[]): Promise<string[]> {
  await client.query('begin');
  try {
    if (client === app) {
      const { rows } = await client.query('select pg_backend_pid() as pid');
      const identity = mintIdentity(deriveIdentityKey(testSecret), ann.id, rows[0].pid, Date.now());
      await client.query("select set_config('ringfence.identity', $1, true)", [identity]);
    }
    // Prepared, as the server's are, under the role's own plan_cache_mode: the plan that has no values in it must do.
    const values = parameters.map((value) => pg.escapeLiteral(String(value))).join(', ');
    await client.query(`prepare statement as ${statement}`);
    const { rows } = await client.query(`explain (format json) execute statement${values && `(${values})`}`);
    await client.query('deallocate statement');
    const text = JSON.stringify(rows[0]['QUERY PLAN']);
    for (let i = 1; i <= parameters.length; i += 1) expect(text).toContain(`$${i}`);
    const all = nodes(rows[0]['QUERY PLAN'][0].Plan);
    expect(all.map((node) => node['Node Type'])).not.toContain('Seq Scan');
    return all.flatMap((node) => node['Index Name'] ?? []);
  } finally {
    await client.query('rollback');
  }
}

const someId = '01900000-0000-7000-8000-000000000000';

describe('a user’s statement', () => {
  const statements: [name: string, statement: string, parameters: () => unknown[], index: string][] = [
    ['point read', 'select title from tasks where id = $1 and user_id = $2', () => [someId, ann.id], 'tasks_pkey'],
    [
      'list',
      'select title from tasks where user_id = $1 order by created_at desc, id desc limit 50',
      () => [ann.id],
      'idx_tasks_user_id_created_at',
    ],
    [
      'children',
      'select title from task_subtasks where task_id = $1 and user_id = $2',
      () => [someId, ann.id],
      'idx_task_subtasks_user_id_task_id',
    ],
    ['update', 'update tasks set title = title where id = $1 and user_id = $2', () => [someId, ann.id], 'tasks_pkey'],
    ['without the filter: point read', 'select title from tasks where id = $1', () => [someId], 'tasks_pkey'],
    [
      'without the filter: children',
      'select title from task_subtasks where task_id = $1',
      () => [someId],
      'idx_task_subtasks_user_id_task_id',
    ],
  ];
  test.each(statements)('%s', async (_, statement, parameters, index) => {
    expect(await indexesOf(app, statement, parameters())).toEqual([index]);
  });
});

describe('a system statement', () => {
  const statements: [name: string, statement: string, parameters: unknown[], index: string][] = [
    ['point read', `select title from tasks where id = $1 and ${everybodyMark}`, [someId], 'idx_tasks_id'],
    [
      'list',
      `select title from tasks where ${everybodyMark} order by created_at desc, id desc limit 50`,
      [],
      'idx_tasks_created_at',
    ],
    [
      'children',
      `select title from task_subtasks where task_id = $1 and ${everybodyMark}`,
      [someId],
      'idx_task_subtasks_task_id',
    ],
  ];
  test.each(statements)('%s', async (_, statement, parameters, index) => {
    expect(await indexesOf(system, statement, parameters)).toEqual([index]);
  });
});
