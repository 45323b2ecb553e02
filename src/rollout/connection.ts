/** Connections of the rollout: as the database's owner, with a name that says what they are for. */
import pg from 'pg';
import { Problem, problem } from '../errors.ts';

export type Connection = pg.Client;

/**
 * What must not depend on how the server, the database or the role happen to be set up. A default statement_timeout
 * would end an index build, a default of `serializable` would make every range a candidate for a retry; definitions are read
 * as Postgres writes them, and statements by its own rules of quoting.
 *
 * `ringfence.rollout` tells our own triggers that the one who writes knows the owner.
 */
const sessionSettings = `
  set ringfence.rollout = 'on';
  set search_path = pg_catalog;
  set quote_all_identifiers = off;
  set standard_conforming_strings = on;
  set transform_null_equals = off;
  set timezone = 'UTC';
  set statement_timeout = 0;
  set lock_timeout = 0;
  set idle_in_transaction_session_timeout = 0;
  set default_transaction_isolation = 'read committed';
  set default_transaction_deferrable = off`;

/** A backend whose client was killed would finish its statement first and hold its locks until then. */
const endWithClient = "set client_connection_check_interval = '1s'";

/**
 * Who finds a deadlock is the one that Postgres ends, and an autovacuum gives its lock up to whoever looks for one: that
 * happens after this time. With the usual second the application would be ended, and a lock that is asked for during
 * 50 ms would not be had before the vacuum ends, which on a large table takes hours.
 */
const yieldFirst = "set deadlock_timeout = '20ms'";

/**
 * Opens a connection. Names resolve to Postgres' own alone, so every statement says the schema.
 *
 * @param purpose shows in pg_stat_activity as `ringfence <purpose>`
 * @throws Problem `database_unavailable`
 */
export async function connect(url: string, purpose: string): Promise<Connection> {
  const client = new pg.Client({
    connectionString: url,
    application_name: `ringfence ${purpose}`,
    keepAlive: true,
    // The embedded server answers in milliseconds; one behind a network that swallows packets never does.
    connectionTimeoutMillis: 20_000,
  });
  // An idle connection that breaks emits `error`, which ends the process when nobody listens. The next query says so.
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query(sessionSettings);
  } catch (error) {
    await client.end().catch(() => {});
    throw problem('database_unavailable', `The database cannot be reached: ${messageOf(error)}`, {}, { cause: error });
  }
  // The rollout reads tables of all users on purpose: `monitor` is to see the application's statements, not ours.
  await client.query("set pg_stat_statements.track = 'none'").catch(() => {});
  // Not every operating system can tell that a client is gone; Postgres refuses the setting there.
  await client.query(endWithClient).catch(() => {});
  // Only a superuser may, or who was granted it.
  await client.query(yieldFirst).catch(() => {});
  return client;
}

/**
 * Runs `work` on a connection of its own and closes it, whatever happens.
 *
 * @throws Problem for what a database may well answer: see `databaseFault`
 */
export async function withConnection<T>(
  url: string,
  purpose: string,
  work: (client: Connection) => Promise<T>,
): Promise<T> {
  const client = await connect(url, purpose);
  try {
    return await work(client);
  } catch (error) {
    throw databaseFault(error);
  } finally {
    await client.end().catch(() => {});
  }
}

/** SQLSTATE of an error of Postgres, else undefined. */
export function sqlState(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined;
}

/** The connection is gone: the server stopped, the backend was ended, the network broke. */
export function isConnectionLoss(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== undefined) return state.startsWith('08') || ['57P01', '57P02', '57P03'].includes(state);
  if (!(error instanceof Error)) return false;
  const code = 'code' in error ? String(error.code) : '';
  return (
    ['ECONNRESET', 'EPIPE', 'ECONNREFUSED', 'ETIMEDOUT', 'ENOTFOUND'].includes(code) ||
    /Connection terminated|connection is closed|not queryable|Client was closed/i.test(error.message)
  );
}

/**
 * Faults that are the database's and not ours become Problems, so that no stack trace is shown for them.
 *
 * @returns `database_unavailable`, `rollout_refused` for a missing privilege, `rollout_failed` for whatever else Postgres
 *   says; anything that is not Postgres' as it is
 */
export function databaseFault(error: unknown): unknown {
  if (error instanceof Problem) return error;
  if (isConnectionLoss(error)) {
    return problem('database_unavailable', `The connection was lost: ${messageOf(error)}`, {}, { cause: error });
  }
  const state = sqlState(error);
  if (state === undefined) return error;
  const code = state === '42501' ? 'rollout_refused' : 'rollout_failed';
  return problem(code, `${messageOf(error)} (SQLSTATE ${state})${insideOf(error)}`, {}, { cause: error });
}

/** In whose function: one of the application's, that a trigger or an event trigger ran. Not ours, nor a DO block. */
function insideOf(error: unknown): string {
  const context = error instanceof pg.DatabaseError ? (error.where ?? '') : '';
  const [place] =
    /^\S+ function (?!inline_code_block|ringfence\.|ringfence_rollout\.).* (?:line|statement) \d+/m.exec(context) ?? [];
  return place === undefined ? '' : `, in ${place}`;
}

/** One line of what went wrong. A refused connection to a name with several addresses has no message of its own. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ');
  return error instanceof Error ? error.message : String(error);
}
