/**
 * The application that is there already, with its own log-in and its own SQL, which knows no `user_id` and is told nothing
 * of what happens to the database. It keeps the time of everything it does, and sums what it changed: each row's hash as
 * `hashTables` would have it, added or taken away, so that in the end not a single row may be otherwise than it was told.
 */
import pg from 'pg';
import { monotonicMs } from '../../clock.ts';
import { type LegacyTable, legacyTables } from './legacy-schema.ts';

/** What one of its workers has done so far. */
export interface Figures {
  readonly name: string;
  readonly kind: 'write' | 'read';
  readonly done: number;
  readonly failed: number;
  /** With what the rollout was at. */
  readonly firstFault: string | null;
  readonly lastMs: number;
  readonly longestMs: number;
  /** What the rollout was at when the longest ended. */
  readonly longestDuring: string;
  /** How long the one at work has been at it; 0 between two. */
  readonly atWorkMs: number;
}

/** By table: rows and the sum of their hashes, as decimal numbers. */
export type Change = Readonly<Partial<Record<LegacyTable, { readonly rows: string; readonly hash: string }>>>;

export interface Sizes {
  readonly users: number;
  readonly projects: number;
  readonly tasks: number;
}

export interface OldApplication {
  figures(): Figures[];
  /** What the rollout is at, to be put beside the longest. */
  during(what: string): void;
  /** Ends when everything begun is done. @returns all that was changed */
  stop(): Promise<Change>;
}

interface Hands {
  readonly client: pg.Client;
  readonly sizes: Sizes;
  readonly change: Ledger;
}

interface Work {
  readonly name: string;
  readonly kind: 'write' | 'read';
  /** Between two: with it, a worker asks for its share and no more. */
  readonly pauseMs: number;
  run(hands: Hands): Promise<void>;
}

const random = (below: number) => 1 + Math.floor(Math.random() * below);

const hashOf = (table: LegacyTable) =>
  `hashtextextended(row(${legacyTables[table].join(', ')})::text collate "C", 0)::text as hash`;

/** The hash of a row that a statement returned. */
async function hashes(client: pg.Client, statement: string, values: readonly unknown[]): Promise<bigint[]> {
  const { rows } = await client.query<{ hash: string }>(statement, [...values]);
  return rows.map(({ hash }) => BigInt(hash));
}

const works: readonly Work[] = [
  {
    name: 'adds comments',
    kind: 'write',
    pauseMs: 10,
    async run({ client, sizes, change }) {
      const added = await hashes(
        client,
        `insert into comments (task_id, written_by, body) values ($1, $2, $3) returning ${hashOf('comments')}`,
        [random(sizes.tasks), `user${random(sizes.users)}`, 'written while the rollout was at work'],
      );
      for (const hash of added) change.add('comments', hash);
    },
  },
  {
    name: 'adds tasks',
    kind: 'write',
    pauseMs: 15,
    async run({ client, sizes, change }) {
      const added = await hashes(
        client,
        `insert into tasks (project_id, title) values ($1, $2) returning ${hashOf('tasks')}`,
        [random(sizes.projects), 'made while the rollout was at work'],
      );
      for (const hash of added) change.add('tasks', hash);
    },
  },
  {
    name: 'edits tasks',
    kind: 'write',
    pauseMs: 10,
    async run({ client, sizes, change }) {
      const id = random(sizes.tasks);
      await client.query('begin');
      const before = await hashes(client, `select ${hashOf('tasks')} from tasks where id = $1 for update`, [id]);
      const after = await hashes(
        client,
        `update tasks set done = not done, title = 'edited ' || title where id = $1 returning ${hashOf('tasks')}`,
        [id],
      );
      await client.query('commit');
      change.replace('tasks', before, after);
    },
  },
  {
    name: 'deletes comments',
    kind: 'write',
    pauseMs: 20,
    async run({ client, sizes, change }) {
      const gone = await hashes(
        client,
        `delete from comments where id = (select min(id) from comments where task_id = $1) returning ${hashOf('comments')}`,
        [random(sizes.tasks)],
      );
      for (const hash of gone) change.remove('comments', hash);
    },
  },
  {
    name: 'lists open tasks',
    kind: 'read',
    pauseMs: 5,
    async run({ client, sizes }) {
      await client.query(
        `select t.id, t.title, count(c.id) from projects p join tasks t on t.project_id = p.id
         left join comments c on c.task_id = t.id
         where p.owner_id = $1 and not t.done group by t.id order by t.id desc limit 50`,
        [random(sizes.users)],
      );
    },
  },
];

/** @param url the old application's own log-in */
export async function startOldApplication(url: string, sizes: Sizes): Promise<OldApplication> {
  const change = startLedger();
  let stopped = false;
  let at = '';
  const workers = await Promise.all(
    works.map(async (work) =>
      startWorker(
        work,
        { client: await logIn(url), sizes, change },
        () => stopped,
        () => at,
      ),
    ),
  );
  return {
    figures: () => workers.map(({ figures }) => figures()),
    during(what) {
      at = what;
    },
    async stop() {
      stopped = true;
      await Promise.all(workers.map(({ ended }) => ended));
      return change.total();
    },
  };
}

async function logIn(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: 'old application' });
  // The next statement says so, and is counted as failed.
  client.on('error', () => {});
  await client.connect();
  await client.query("set timezone = 'UTC'");
  return client;
}

function startWorker({ name, kind, pauseMs, run }: Work, hands: Hands, stopped: () => boolean, at: () => string) {
  let [done, failed, lastMs, longestMs] = [0, 0, 0, 0];
  let longestDuring = '';
  let firstFault: string | null = null;
  let began: number | null = null;

  async function once(): Promise<void> {
    began = monotonicMs();
    try {
      await run(hands);
      done += 1;
    } catch (error) {
      failed += 1;
      firstFault ??= `${error instanceof Error ? error.message : String(error)} (${at()})`;
      await hands.client.query('rollback').catch(() => {});
    }
    lastMs = monotonicMs() - began;
    began = null;
    if (lastMs <= longestMs) return;
    longestMs = lastMs;
    longestDuring = at();
  }

  async function work(): Promise<void> {
    while (!stopped()) {
      await once();
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    await hands.client.end();
  }

  return {
    ended: work(),
    figures(): Figures {
      const atWorkMs = began === null ? 0 : monotonicMs() - began;
      return { name, kind, done, failed, firstFault, lastMs, longestMs, longestDuring, atWorkMs };
    },
  };
}

interface Ledger {
  add(table: LegacyTable, hash: bigint): void;
  remove(table: LegacyTable, hash: bigint): void;
  replace(table: LegacyTable, before: readonly bigint[], after: readonly bigint[]): void;
  total(): Change;
}

function startLedger(): Ledger {
  const sums = new Map<LegacyTable, { rows: bigint; hash: bigint }>();
  const count = (table: LegacyTable, rows: bigint, hash: bigint) => {
    const sum = sums.get(table) ?? { rows: 0n, hash: 0n };
    sums.set(table, { rows: sum.rows + rows, hash: sum.hash + hash });
  };
  const ledger: Ledger = {
    add: (table, hash) => count(table, 1n, hash),
    remove: (table, hash) => count(table, -1n, -hash),
    replace(table, before, after) {
      for (const hash of before) ledger.remove(table, hash);
      for (const hash of after) ledger.add(table, hash);
    },
    total: () =>
      Object.fromEntries(
        [...sums].map(([table, { rows, hash }]) => [table, { rows: String(rows), hash: String(hash) }]),
      ),
  };
  return ledger;
}
