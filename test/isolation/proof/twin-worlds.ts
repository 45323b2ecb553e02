/** The rest of the world, arranged so that it would show or be in the way: what a user must not be able to tell apart. */
import pg from 'pg';
import { ownedTables } from '../../../src/isolation/owned-tables.ts';
import { plantGuessed, plantingOf, type World } from './model/world.ts';

export interface Arrangement {
  readonly name: string;
  /** Fills the world; nobody has acted in it yet. */
  readonly furnish: (world: World) => Promise<void>;
  /** Called after each step of the user's. */
  readonly follow?: (world: World, userId: string) => Promise<void>;
}

const mirrorId = '0190aaaa-0000-7000-8000-000000000001';
const guesserId = '0190aaaa-0000-7000-8000-000000000002';
const giantId = '0190aaaa-0000-7000-8000-000000000003';

/** @param crowd how many rows others have in the crowded world */
export function arrangements(crowd: number): readonly Arrangement[] {
  return [
    { name: 'guessed', furnish: furnishGuessed },
    { name: 'mirror', furnish: (world) => addOther(world, mirrorId), follow: mirror },
    { name: 'crowded', furnish: (world) => furnishCrowd(world, crowd) },
  ];
}

const addOther = async ({ database }: World, id: string) => {
  await database.query(`insert into users (id, email, name) values ($1, $2, 'somebody')`, [id, `${id}@other.test`]);
};

/** Somebody has rows with the ids that the user will guess, with the user's names and keys; contexts of them, too. */
async function furnishGuessed(world: World): Promise<void> {
  await addOther(world, guesserId);
  await plantGuessed(world, guesserId);
}

/**
 * Somebody has everything that the user has, under the same ids and names, from the moment the user has it, and keeps
 * it when the user removes it; and contexts for all of it, before the user makes them.
 */
async function mirror({ database }: World, userId: string): Promise<void> {
  const columns = await columnsOf(database);
  const [user, other] = [pg.escapeLiteral(userId), pg.escapeLiteral(mirrorId)];
  const copies = [...columns].map(([table, names]) => {
    const list = names.map((name) => pg.escapeIdentifier(name)).join(', ');
    return `insert into ${table} (user_id, ${list}) select ${other}, ${list} from ${table} where user_id = ${user} on conflict do nothing`;
  });
  const contexts = [
    `insert into project_contexts (user_id, id, project_id) select user_id, id, id from projects where user_id = ${other} on conflict do nothing`,
    `insert into branch_contexts (user_id, id, branch_id) select user_id, id, id from project_git_branchs where user_id = ${other} on conflict do nothing`,
    `insert into task_contexts_unified (user_id, id, task_id) select user_id, id, id from tasks where user_id = ${other} on conflict do nothing`,
  ];
  // Copies of what was kept meet copies of what came later, so references are not checked here.
  await database.query(
    ['begin', 'set local session_replication_role = replica', ...copies, ...contexts, 'commit'].join(';'),
  );
}

const mirrored = [...ownedTables.map(({ table }) => table), 'sessions', 'api_tokens', 'idempotency_keys'];
const known = new WeakMap<pg.Client, Promise<Map<string, string[]>>>();

function columnsOf(database: pg.Client): Promise<Map<string, string[]>> {
  const found =
    known.get(database) ??
    database
      .query<{ table: string; columns: string[] }>(
        `select table_name as table, array_agg(column_name::text) as columns from information_schema.columns
         where table_schema = 'public' and table_name = any ($1) and is_generated = 'NEVER' and column_name <> 'user_id'
         group by table_name`,
        [mirrored],
      )
      .then(({ rows }) => new Map(rows.map(({ table, columns }) => [table, columns])));
  known.set(database, found);
  return found;
}

/** One user with nearly all rows, of few values: what skews statistics, and with them plans, most. A few hundred others. */
async function furnishCrowd(world: World, rows: number): Promise<void> {
  await addOther(world, giantId);
  const giant = pg.escapeLiteral(giantId);
  const id = `('0190dead-0000-7000-8000-' || lpad(to_hex(g), 12, '0'))::uuid`;
  const some = (share: number) => `from generate_series(1, ${Math.ceil(rows * share)}) g`;
  const parent = `('0190dead-0000-7000-8000-' || lpad(to_hex(1 + g % 10), 12, '0'))::uuid`;
  const statements = [
    `insert into projects (user_id, id, name) select ${giant}, ${id}, 'alpha' ${some(0.05)}`,
    `insert into project_git_branchs (user_id, id, project_id, name) select ${giant}, ${id}, ${parent}, 'b' || g ${some(0.05)}`,
    `insert into agents (user_id, id, name) select ${giant}, ${id}, 'a' || g ${some(0.02)}`,
    `insert into tasks (user_id, id, git_branch_id, title, description, status, created_at)
       select ${giant}, ${id}, ${parent}, 'alpha', 'alpha', case when g % 100 = 0 then 'done' else 'todo' end,
         now() - g * interval '1 second' ${some(0.6)}`,
    `insert into task_subtasks (user_id, id, task_id, title) select ${giant}, ${id}, ${parent}, 'alpha' ${some(0.1)}`,
    `insert into labels (user_id, id, name) select ${giant}, ${id}, 'l' || g ${some(0.03)}`,
    `insert into task_labels (user_id, id, task_id, label_id) select ${giant}, ${id}, ${id}, ${id} ${some(0.03)}`,
    `insert into rules (user_id, id, name, content) select ${giant}, ${id}, 'alpha', 'alpha' ${some(0.02)}`,
    `insert into user_access_log (user_id, id, actor, operation, outcome) select ${giant}, ${id}, 'session', 'create', 'ok' ${some(0.1)}`,
  ];
  // The rows fit together as they are made; looking each reference up would take most of the time.
  await world.database.query(
    ['begin', 'set local session_replication_role = replica', ...statements, 'commit'].join(';'),
  );
  const others = Array.from({ length: 30 }, (_, i) => `0190cccc-0000-7000-8000-${String(i).padStart(12, '0')}`);
  for (const [i, other] of others.entries()) {
    await addOther(world, other);
    const ids = others.slice(0, 3).map((one) => one.replace('0190cccc', `0190ccc${i % 10}`));
    await world.database.query(plantingOf(other, ids, (n) => `name ${n}`));
  }
  await world.database.query('analyze');
}
