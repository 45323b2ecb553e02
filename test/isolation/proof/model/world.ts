/** A database with a server on it, and what can be put into it behind the server's back. */
import pg from 'pg';
import { accountTables, ownedTables } from '../../../../src/isolation/owned-tables.ts';
import type { ProofContext } from '../part.ts';
import { guessedIds, names } from './choice.ts';
import { type Client, openClient } from './client.ts';
import { type App, type ModelServer, openModelServer, type Wiring } from './server.ts';

export interface World {
  readonly name: string;
  readonly server: ModelServer;
  readonly client: Client;
  /** A superuser's connection: it sees and writes everything. */
  readonly database: pg.Client;
  /** Waits until the server has done what it does after its answers. */
  quiet(): Promise<void>;
  close(): Promise<void>;
}

export async function openWorld(
  context: Pick<ProofContext, 'postgresUrl' | 'templates'>,
  name: string,
  prepare?: (app: App, databaseUrl: string) => void,
  wiring?: Wiring,
): Promise<World> {
  const server = await openModelServer(context, prepare, wiring);
  const client = openClient(server.url);
  const database = new pg.Client({ connectionString: server.databaseUrl });
  await database.connect();
  return {
    name,
    server,
    client,
    database,
    quiet: () => server.quiet(client.answered),
    async close() {
      client.close();
      await database.end();
      await server.close();
    },
  };
}

export interface NewUser {
  readonly id: string;
  readonly email: string;
  readonly passwordHash: string;
  readonly sessions: readonly string[];
  /** So that the same user is the same in every world. */
  readonly since: string;
}

export async function addUser({ database }: World, user: NewUser): Promise<void> {
  await database.query(
    `insert into users (id, email, name, password_hash, created_at, updated_at) values ($1, $2, 'somebody', $3, $4, $4)`,
    [user.id, user.email, user.passwordHash, user.since],
  );
  await database.query(
    `insert into sessions (user_id, id, token_hash, rotated_at, created_at, expires_at)
     select $1, id, sha256(id::text::bytea), $3, $3::timestamptz + n * interval '1 ms', $3::timestamptz + interval '1 day'
     from unnest($2::uuid[]) with ordinality as s (id, n)`,
    [user.id, user.sessions, user.since],
  );
}

const ownedNames = ownedTables.map(({ table }) => table).toReversed();

/** Removes users with everything they own, and the accounts that they registered in the course of a case. */
export async function removeUsers({ database }: World, ids: readonly string[]): Promise<void> {
  const gone = ids.map((id) => pg.escapeLiteral(id)).join(',');
  const users = `select id from users where id in (${gone}) or email like 'second-%'`;
  await database.query(
    [
      'begin',
      ...ownedNames.map((table) => `delete from ${table} where user_id in (${users})`),
      `delete from users where id in (${users})`,
      'commit',
    ].join(';'),
  );
}

/**
 * Gives a user a row of every table with each of the ids that everybody guesses, with the names and keys that everybody
 * uses: what must neither be found nor be in the way.
 */
export async function plantGuessed({ database }: World, userId: string): Promise<void> {
  await database.query(plantingOf(userId, guessedIds, (i) => names[i] ?? 'zeta'));
}

/** A row of every table with each of the ids: the rows of one number refer to each other. */
export function plantingOf(userId: string, ids: readonly string[], nameOf: (i: number) => string): string {
  const owner = pg.escapeLiteral(userId);
  const hash = `decode(repeat('00', 32), 'hex')`;
  const statements = ids.flatMap((one, i) => {
    const id = pg.escapeLiteral(one);
    const before = pg.escapeLiteral(ids[i - 1] ?? one);
    const name = pg.escapeLiteral(nameOf(i));
    return [
      `insert into projects (user_id, id, name) values (${owner}, ${id}, ${name})`,
      `insert into agents (user_id, id, name) values (${owner}, ${id}, ${name})`,
      `insert into project_git_branchs (user_id, id, project_id, name, assigned_agent_id) values (${owner}, ${id}, ${id}, ${name}, ${id})`,
      `insert into tasks (user_id, id, git_branch_id, title, description) values (${owner}, ${id}, ${id}, ${name}, ${name})`,
      `insert into task_subtasks (user_id, id, task_id, title) values (${owner}, ${id}, ${id}, ${name})`,
      `insert into labels (user_id, id, name) values (${owner}, ${id}, ${name})`,
      `insert into task_labels (user_id, id, task_id, label_id) values (${owner}, ${id}, ${id}, ${id})`,
      `insert into task_assignees (user_id, id, task_id, assignee_id, agent_id) values (${owner}, ${id}, ${id}, ${name}, ${id})`,
      `insert into rules (user_id, id, name, content, scope, project_id) values (${owner}, ${id}, ${name}, 'c', 'project', ${id})`,
      `insert into project_contexts (user_id, id, project_id) values (${owner}, ${id}, ${id})`,
      `insert into branch_contexts (user_id, id, branch_id, parent_project_id) values (${owner}, ${id}, ${id}, ${id})`,
      `insert into task_contexts_unified (user_id, id, task_id, parent_branch_id) values (${owner}, ${id}, ${id}, ${id})`,
      `insert into sessions (user_id, id, token_hash, expires_at) values (${owner}, ${id}, ${hash}, now() + interval '1 day')`,
      `insert into api_tokens (user_id, id, name, token_hash, scopes) values (${owner}, ${id}, ${name}, ${hash}, '{read}')`,
      `insert into idempotency_keys (user_id, id, key, request_hash, response_status, response_body) values (${owner}, ${id}, 'key-${i + 1}', ${hash}, 201, '{"canary":true}')`,
      `insert into user_access_log (user_id, id, actor, operation, outcome) values (${owner}, ${id}, 'session', 'canary', 'ok')`,
      // A chain: the second waits for the first, and so on.
      ...(i === 0
        ? []
        : [
            `insert into task_dependencies (user_id, id, task_id, depends_on_task_id) values (${owner}, ${id}, ${id}, ${before})`,
          ]),
    ];
  });
  return [
    'begin',
    `insert into global_contexts (user_id, id) values (${owner}, ${owner})`,
    ...statements,
    'commit',
  ].join(';');
}

/** Owner → table → how many rows there are and a hash over them: the world as a frame around what somebody does. */
export type Frame = ReadonlyMap<string, string>;

export const framed = [
  ...ownedTables.map(({ table }) => ({ table, column: 'user_id' })),
  ...accountTables.map(({ table, column }) => ({ table, column })),
];

/**
 * Sums of 64-bit hashes over the rows' texts, as in src/rollout/table-hash.ts, here grouped by owner.
 *
 * @param except users whose rows are not looked at: those who act
 */
export async function frameOf({ database }: World, except: readonly string[]): Promise<Frame> {
  const parts = framed.map(
    ({ table, column }) =>
      `select t.${column} || ' ${table}' as key, count(*) || ' ' || sum(hashtextextended(t::text, 0)) as hash
       from ${table} t where t.${column} <> all ($1::uuid[]) group by t.${column}`,
  );
  const { rows } = await database.query<{ key: string; hash: string }>(parts.join(' union all '), [except]);
  return new Map(rows.map(({ key, hash }) => [key, hash]));
}

/** @returns `user table` of everything that is not as it was */
export function changedBetween(before: Frame, after: Frame): string[] {
  const keys = new Set([...before.keys(), ...after.keys()]);
  return [...keys].filter((key) => before.get(key) !== after.get(key));
}
