/** The server under test over a relay, with two users who act and one who has rows and does nothing. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { createLogs } from '../../../../src/log.ts';
import { type World as Planted, plantWorld } from '../../../support/world.ts';
import type { WireAnswer, WireRequest } from '../model/client.ts';
import type { App } from '../model/server.ts';
import { addUser, changedBetween, framed, frameOf, openWorld, type World } from '../model/world.ts';
import type { ProofContext } from '../part.ts';
import type { Message } from './messages.ts';
import { normal } from './normal.ts';
import { openRelay, type Relay } from './relay.ts';

export interface Actor {
  readonly id: string;
  readonly email: string;
  readonly sessionId: string;
  /** Stands in every text of the rows; whoever else is shown it has been shown too much. */
  readonly mark: string;
  readonly token: string;
  readonly planted: Planted;
}

export type Call = Pick<WireRequest, 'method' | 'target' | 'body'> & { readonly headers?: Record<string, string> };

export interface Stage {
  readonly world: World;
  readonly relay: Relay;
  readonly poolSize: number;
  /** A pooler stands between. */
  readonly pooled: boolean;
  /** Who acts. */
  readonly pair: readonly [Actor, Actor];
  readonly logLines: readonly string[];
  /** @param signal makes the client go away */
  send(actor: Actor, call: Call, signal?: AbortSignal): Promise<WireAnswer>;
  /** Both who act have again what they had at first. */
  restore(): Promise<void>;
  /** Everything that somebody has, but for what is new by chance: ids, times, hashes. */
  stateOf(actor: Actor): Promise<string>;
  /** Waits until no backend is at work any more. @returns a fault when one does not come to rest */
  rest(): Promise<string | undefined>;
  /** Cuts the connections that serve users; when it resolves the pool knows it. */
  emptyPool(): Promise<void>;
  /** @returns what has changed of those who do not act, as `user table` */
  touched(): Promise<string[]>;
  /** Marks and ids of others that stand in a text. */
  foreignIn(text: string, actor: Actor): string[];
  close(): Promise<void>;
}

export interface StageOptions {
  readonly poolSize: number;
  /** Is shown the application before it listens, to plant a defect in it. */
  readonly prepare?: (app: App, databaseUrl: string) => void;
  /** Stands between the relay and Postgres. */
  readonly beyond?: (url: string) => string;
  /** Changes what the server says, to plant a defect. */
  readonly rewrite?: (message: Message) => Buffer;
}

const restMs = 15_000;

export async function openStage(context: ProofContext, options: StageOptions): Promise<Stage> {
  const { poolSize, prepare, beyond = (url: string) => url } = options;
  const relay = await openRelay(beyond(context.postgresUrl), options.rewrite);
  const logLines: string[] = [];
  const logs = createLogs({ level: 'info', logDir: undefined, output: { write: (line) => logLines.push(line) } });
  let idleErrors = 0;
  const wiring = {
    poolSize,
    through: (url: string) => relay.through(beyond(url)),
    logs,
    onIdleError: () => {
      idleErrors += 1;
    },
  };
  const world = await openWorld(context, 'disturbed', prepare, wiring);
  const { database, client } = world;
  // Where Postgres is killed this connection goes, too.
  database.on('error', () => {});
  const actors: Actor[] = [];
  for (const name of ['one', 'other', 'bystander']) actors.push(await addActor(world, name));
  const [one, other] = actors;
  if (!one || !other) throw new Error('there is nobody to act');
  const pair = [one, other] as const;
  const restoring = await keepRows(database, pair);
  const frame = await frameOf(world, [one.id, other.id]);
  return {
    world,
    relay,
    poolSize,
    pooled: options.beyond !== undefined,
    pair,
    logLines,
    send: ({ token }, { headers, ...call }, signal) => {
      const content = call.body === undefined ? {} : { 'content-type': 'application/json' };
      const all = { authorization: `Bearer ${token}`, 'x-request-id': 'disturbed', ...content, ...headers };
      return client.send({ ...call, headers: all, ...(signal ? { signal } : {}) });
    },
    async restore() {
      await database.query(restoring);
    },
    async stateOf(actor) {
      const { rows } = await database.query<{ state: string }>({ name: 'state', text: stateQuery, values: [actor.id] });
      return normal(rows[0]?.state ?? '', actor);
    },
    async rest() {
      const deadline = performance.now() + restMs;
      for (;;) {
        await world.server.quiet(0);
        const { rows } = await database.query<{ busy: string | null }>(busyQuery);
        const busy = rows[0]?.busy;
        if (busy == null) return undefined;
        if (performance.now() > deadline) return `a backend does not come to rest: ${busy}`;
        await delay(2);
      }
    },
    async emptyPool() {
      const wires = [...relay.wires].filter(({ user, open }) => user === 'ringfence_app' && open);
      const expected = idleErrors + wires.length;
      for (const wire of wires) wire.cut();
      const deadline = performance.now() + restMs;
      while (idleErrors < expected && performance.now() < deadline) await delay(1);
    },
    touched: async () => changedBetween(frame, await frameOf(world, [one.id, other.id])),
    foreignIn: (text, actor) =>
      actors
        .filter(({ id }) => id !== actor.id)
        .flatMap(traces)
        .filter((trace) => text.includes(trace)),
    async close() {
      relay.tap = undefined;
      await world.close();
      await relay.close();
    },
  };
}

const traces = ({ id, mark, planted }: Actor) => [id, mark, ...Object.values(planted)];

async function addActor(world: World, name: string): Promise<Actor> {
  const [id, sessionId] = [uuidv7(), uuidv7()];
  const email = `${id}@example.test`;
  const mark = `canary-${name}-${randomBytes(6).toString('hex')}`;
  await addUser(world, { id, email, passwordHash: '', sessions: [sessionId], since: new Date().toISOString() });
  const planted = await plantWorld(world.server.databaseUrl, id, mark);
  const { token } = await world.server.mint(id, email, sessionId);
  return { id, email, sessionId, mark, token, planted };
}

/** Lines of one transaction stand in the access log in no order. */
const rowsOf = (table: string) =>
  table === 'user_access_log'
    ? `(select to_jsonb(l) - '{id,at,entity_id}'::text[] as row, l.user_id, 1 as place from user_access_log l)`
    : `(select to_jsonb(t) as row, t.*, row_number() over (order by id) as place from ${table} t)`;
const everything = framed.map(
  ({ table, column }) =>
    `select '${table}' as name, (select coalesce(jsonb_agg(row order by place, row::text), '[]')
       from ${rowsOf(table)} t where t.${column} = $1) as rows`,
);
const stateQuery = `select jsonb_object_agg(name, rows)::text as state from (${everything.join(' union all ')}) tables`;

const busyQuery = `select string_agg(state || ' ' || query, '; ') as busy from pg_stat_activity
  where datname = current_database() and pid <> pg_backend_pid() and usename like 'ringfence\\_%' and state <> 'idle'
    and usename <> current_user`;

/** @returns statements that bring back the rows that these users have now */
async function keepRows(database: pg.Client, actors: readonly Actor[]): Promise<string> {
  const ids = actors.map(({ id }) => pg.escapeLiteral(id)).join(', ');
  const { rows } = await database.query<{ table: string; columns: string }>(
    `select attrelid::regclass::text as table, string_agg(quote_ident(attname), ', ' order by attnum) as columns
     from pg_attribute where attrelid = any ($1::regclass[]) and attnum > 0 and not attisdropped and attgenerated = ''
     group by attrelid`,
    [framed.map(({ table }) => table)],
  );
  const columnOf = new Map<string, string>(framed.map(({ table, column }) => [table, column]));
  await database.query('create schema kept');
  const statements: string[] = [];
  for (const { table, columns } of rows) {
    const owned = `${columnOf.get(table)} in (${ids})`;
    await database.query(`create table kept.${table} as select ${columns} from ${table} where ${owned}`);
    statements.push(`delete from ${table} where ${owned}`);
    statements.push(`insert into ${table} (${columns}) select * from kept.${table}`);
  }
  // In whatever order: nothing refers to a row that does not come back.
  return ['begin', 'set local session_replication_role = replica', ...statements, 'commit'].join(';');
}
