/**
 * The old application: a process with connections of its own that reads and writes at a fixed rate and knows nothing of
 * owners. It is told to begin and to stop over its IPC channel, and answers what its statements took.
 */
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { type Statement, writersOrder } from './rollout-writers.ts';

/** Each connection's turn. Fewer inserts than updates, and reads among them. */
const turn = ['insert', 'update', 'select', 'update', 'select'] as const;
const knownIds = 20_000;

// Named, as a driver with prepared statements sends them; columns named, as an application that expects them does.
const insert = {
  name: 'insert',
  text: `insert into tasks (id, project_id, title, description) values (gen_random_uuid(), $1, $2, $3) returning id`,
};
const update = {
  name: 'update',
  text: 'update tasks set title = $2, status = $3, updated_at = now() where id = $1',
};
const select = {
  name: 'select',
  text: 'select id, project_id, title, description, status, priority from tasks where id = $1',
};

const order = writersOrder.parse(JSON.parse(process.argv[2] ?? ''));
const statements: Statement[] = [];
const faults = new Map<string, number>();
let running = true;

const clock = () => performance.timeOrigin + performance.now();
const pick = <T>(list: readonly T[]): T => {
  const one = list[Math.floor(Math.random() * list.length)];
  if (one === undefined) throw new Error('there is nothing to work on');
  return one;
};

async function open(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: order.url, application_name: 'old application' });
  await client.connect();
  return client;
}

async function work(client: pg.Client, tasks: string[], projects: readonly string[], first: number): Promise<void> {
  const everyMs = 1000 / order.perSecond;
  let due = clock() + Math.random() * everyMs;
  for (let at = first; running; at++) {
    // After a long wait it goes on at its pace: what was not asked meanwhile is not asked at once.
    const waitMs = due - clock();
    if (waitMs > 0) await delay(waitMs);
    due = Math.max(due, clock() - everyMs) + everyMs;
    const kind = turn[at % turn.length] ?? 'select';
    const from = clock();
    let failed: string | null = null;
    try {
      if (kind === 'insert') {
        const { rows } = await client.query<{ id: string }>({ ...insert, values: [pick(projects), 'New', 'Made now'] });
        if (rows[0]) tasks.push(rows[0].id);
      } else if (kind === 'update') await client.query({ ...update, values: [pick(tasks), `Changed ${at}`, 'done'] });
      else await client.query({ ...select, values: [pick(tasks)] });
    } catch (error) {
      failed = error instanceof Error ? error.message : String(error);
      faults.set(failed, (faults.get(failed) ?? 0) + 1);
    }
    statements.push({ from, ms: clock() - from, write: kind !== 'select', failed: failed !== null });
  }
}

const clients = await Promise.all(Array.from({ length: order.connections }, open));
const [client] = clients;
if (!client) throw new Error('writers need a connection');
const ids = async (table: string) =>
  (await client.query<{ id: string }>(`select id from ${table} order by md5(id::text) limit ${knownIds}`)).rows.map(
    (row) => row.id,
  );
const tasks = await ids('tasks');
const projects = await ids('projects');

process.on('message', () => {
  running = false;
});
// Closed at the other end, when all that was said has arrived, or when whoever listened is gone.
process.on('disconnect', () => process.exit());
process.send?.({ ready: true });
await Promise.all(clients.map((one, at) => work(one, tasks, projects, at)));
await Promise.all(clients.map((one) => one.end()));
process.send?.({ statements, faults: [...faults].map(([message, count]) => ({ message, count })) });
