/**
 * Connections to Postgres, pipelined, and the one kind of transaction that everything runs in (I6).
 *
 * A transaction is poisoned when it ends or its connection breaks: a statement sent through it afterwards throws
 * instead of running inside the next user's transaction (porsager/postgres#1216, drizzle-orm#6083).
 */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { monotonicMs } from '../clock.ts';
import { problem } from '../errors.ts';

export interface Statement {
  readonly sql: string;
  readonly parameters: readonly unknown[];
  /** Refused when the text holds more than one statement; for texts that are not ours. */
  readonly single?: true;
}

export interface ConnectionPoolOptions {
  readonly url: string;
  readonly size: number;
  /** Shown in pg_stat_activity. */
  readonly applicationName: string;
  /** Told of connections that broke while idle; they are replaced on demand. */
  readonly onIdleError?: (error: Error) => void;
}

/** What is learnt once a connection. */
interface Backend {
  /** 0 when a pooler stands between, since the identity cannot be bound to a backend then. */
  readonly pid: number;
  /**
   * The database's time minus our monotonic clock, in milliseconds. The database checks the identity's expiry by its
   * own clock; a jump of ours must not matter.
   */
  readonly clockOffsetMs: number;
  /**
   * What the names of prepared statements begin with here. Nobody can guess it: a hostile statement that knew a name could
   * deallocate it and prepare one of its own under it, which the next user's request would then run.
   */
  readonly namePrefix: string;
  /** The view that tells the names is open to this role, so statements prepared in SQL have to be looked for. */
  readonly namesShow: boolean;
}

const connectTimeoutMs = 10_000;
const idleTimeoutMs = 60_000;
/** Prepared statements a connection keeps. Further texts run unnamed, so that generated texts cannot fill the memory. */
const statementNamesMax = 500;

/** count(*) is a bigint, which pg reads as text. Ours stay far below 2^53. */
const bigintOid = 20;
pg.types.setTypeParser(bigintOid, (text) => Number(text));

export class ConnectionPool {
  readonly #pool: pg.Pool;
  readonly #backends = new WeakMap<pg.ClientBase, Backend>();
  readonly #numbers = new Map<string, number>();

  constructor(options: ConnectionPoolOptions) {
    this.#pool = new pg.Pool({
      connectionString: options.url,
      max: options.size,
      application_name: options.applicationName,
      connectionTimeoutMillis: connectTimeoutMs,
      idleTimeoutMillis: idleTimeoutMs,
      keepAlive: true,
      pipeline: true,
    });
    this.#pool.on('error', (error) => options.onIdleError?.(error));
    // pg-pool listens to a connection only while it is idle. One that breaks while it changes hands would otherwise be
    // an error that nobody listens to, which ends the process; whoever uses it hears of it through the statement.
    this.#pool.on('connect', (client) => client.on('error', () => {}));
  }

  /** Takes a connection, opens a transaction, and gives both back in the end, whatever happens. */
  async begin(mode: 'read only' | 'read write'): Promise<Transaction> {
    const client = await this.#pool.connect().catch((error: unknown) => {
      throw problem('database_unavailable', 'The database cannot be reached at the moment.', {}, { cause: error });
    });
    try {
      const backend = this.#backends.get(client) ?? (await this.#meet(client));
      return new Transaction(client, backend, mode, (text) => this.#nameOf(text, backend));
    } catch (error) {
      client.release(true);
      throw error;
    }
  }

  async end(): Promise<void> {
    await this.#pool.end();
  }

  async #meet(client: pg.PoolClient): Promise<Backend> {
    const sentAt = monotonicMs();
    const { rows } = await client.query<{ pid: number; now: number; shows: boolean }>(
      `select pg_backend_pid() as pid, extract(epoch from clock_timestamp())::float8 * 1000 as now,
         has_function_privilege('pg_catalog.pg_prepared_statement()', 'execute') as shows`,
    );
    const row = rows[0];
    if (!row) throw problem('database_unavailable', 'The database did not say which connection this is.');
    const announced = 'processID' in client ? client.processID : null;
    const backend = {
      pid: announced === row.pid ? row.pid : 0,
      clockOffsetMs: row.now - (sentAt + monotonicMs()) / 2,
      namePrefix: `rf${randomBytes(12).toString('hex')}_`,
      namesShow: row.shows,
    };
    this.#backends.set(client, backend);
    return backend;
  }

  /** Behind a pooler in transaction mode the next statement may reach a backend that never saw the name. */
  #nameOf(text: string, backend: Backend): string | undefined {
    if (backend.pid === 0) return undefined;
    const number = this.#numbers.get(text) ?? this.#numbers.size;
    if (number >= statementNamesMax) return undefined;
    this.#numbers.set(text, number);
    return `${backend.namePrefix}${number}`;
  }
}

/**
 * Follows BEGIN in the same message (20 to 50 µs). What a statement of the user before left on the session ends here: a
 * setting (`set_config(…, false)`) such as an encoding would spoil this user's text, a search path or a timeout would
 * refuse every statement; cursors held open, session locks and subscriptions likewise. DISCARD ALL would do, but also
 * forgets the prepared statements, and does not run in a transaction.
 *
 * One message with BEGIN, not one ahead of it: behind a pooler in transaction mode the two could reach different backends,
 * and did when the network held the second one up (PgBouncer 1.18). Behind BEGIN it is undone by a rollback, and done again
 * by the next BEGIN.
 */
const forgetSession = 'reset all; close all; select pg_advisory_unlock_all(); unlisten *';

/**
 * All modes are named: what BEGIN leaves open it takes from the session's defaults, before they are forgotten.
 *
 * DEFERRABLE tells the policies that the identity is checked first thing, so that they stay silent about one that does not
 * hold afterwards (identity.sql says why). It would wait for its turn in SERIALIZABLE, whatever the role's default is.
 */
export function opening(mode: 'read only' | 'read write', { pid }: Pick<Backend, 'pid'>): string {
  // Behind a pooler nothing of ours is prepared under a name, so whatever is there is somebody else's.
  const prepared = pid === 0 ? '; deallocate all' : '';
  return `begin isolation level read committed, deferrable, ${mode}; ${forgetSession}${prepared}`;
}

/**
 * Fails, inside the transaction, when a statement was prepared in SQL on this connection. We prepare through the protocol
 * alone, so it is somebody's who may have taken one of our names (see `namesShow`).
 */
const refuseForeignStatements =
  'select 1 / (not exists (select from pg_catalog.pg_prepared_statements where from_sql))::int';

type TransactionState = 'open' | 'sealed' | 'ended';

interface Identification {
  readonly statement: (databaseNow: number) => Statement;
  readonly everyMs: number;
  readonly dueAt: number;
}

/** Thrown at a statement that comes after its transaction: always a fault of the program, never of its user. */
export class DeadHandleError extends Error {
  override readonly name = 'DeadHandleError';
  constructor() {
    super('this scope has ended: its transaction is over, open a new one');
  }
}

export class Transaction {
  readonly pid: number;
  readonly #client: pg.PoolClient;
  readonly #clockOffsetMs: number;
  readonly #nameOf: (text: string) => string | undefined;
  readonly #opening: Promise<unknown>;
  #state: TransactionState = 'open';
  #identity: Identification | undefined;
  #broken = false;
  #failure: unknown;
  readonly #onError = () => {
    this.#broken = true;
  };

  constructor(
    client: pg.PoolClient,
    backend: Backend,
    mode: 'read only' | 'read write',
    nameOf: (text: string) => string | undefined,
  ) {
    this.#client = client;
    this.pid = backend.pid;
    this.#clockOffsetMs = backend.clockOffsetMs;
    this.#nameOf = nameOf;
    client.on('error', this.#onError);
    this.#corkUntilNextTick();
    this.#opening = this.#send({ sql: opening(mode, backend), parameters: [] });
    this.#opening.catch((error: unknown) => {
      this.#failure = error;
      this.#broken = true;
    });
    // Behind a pooler they have just been deallocated.
    if (backend.namesShow && backend.pid !== 0) {
      this.#send({ sql: refuseForeignStatements, parameters: [] }).catch(() => {
        this.#broken = true;
      });
    }
  }

  /** The database's time in milliseconds since 1970. */
  get databaseNow(): number {
    return monotonicMs() + this.#clockOffsetMs;
  }

  /**
   * Says whose transaction it is, and says it again before the identity expires: the policies are silent about one that has
   * (identity.sql), and what is read or written after that would be nobody's.
   *
   * @param statement says so, as of the database's time
   * @param everyMs longer than a statement may take, and shorter than an identity lives by as much
   */
  identify(statement: (databaseNow: number) => Statement, everyMs: number): void {
    this.#identity = { statement, everyMs, dueAt: this.databaseNow + everyMs };
    this.query(statement(this.databaseNow));
  }

  #renewIdentity(): void {
    const identity = this.#identity;
    if (identity && this.databaseNow >= identity.dueAt) this.identify(identity.statement, identity.everyMs);
  }

  /** @throws DeadHandleError once the transaction has ended or was sealed */
  query<Row extends pg.QueryResultRow>(statement: Statement): Promise<pg.QueryResult<Row>> {
    if (this.#state !== 'open') throw new DeadHandleError();
    this.#renewIdentity();
    const result = this.#send<Row>(statement);
    // A statement whose answer nobody awaits must not end the process when an earlier one fails.
    result.catch((error: unknown) => {
      if (!isAftermath(error)) this.#failure = error;
      if (isNameFailure(error) || isIdentityFailure(error)) this.#broken = true;
    });
    return result;
  }

  /**
   * Statements leave together, so those behind a failed one fail as well (25P02), and which failure a caller meets first
   * is chance. @returns the failure that the others follow from, or the given one
   */
  causeOf(error: unknown): unknown {
    return isAftermath(error) && this.#failure !== undefined ? this.#failure : error;
  }

  /** No further statement: what was sent so far and the COMMIT go out in one flush. */
  seal(): Promise<void> {
    if (this.#state !== 'open') throw new DeadHandleError();
    this.#state = 'sealed';
    const committed = this.#finish('commit');
    committed.catch(() => {});
    return committed;
  }

  async commit(): Promise<void> {
    if (this.#state !== 'open') throw new DeadHandleError();
    this.#state = 'ended';
    await this.#finish('commit');
  }

  /**
   * Never throws: the connection is given back or, when even this fails, thrown away.
   *
   * @param cause what went wrong
   */
  async rollback(cause?: unknown): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'ended';
    if (isConnectionFailure(cause)) this.#broken = true;
    await this.#finish('rollback').catch(() => {});
  }

  async #finish(verb: 'commit' | 'rollback'): Promise<void> {
    try {
      const [result] = await Promise.all([this.#send({ sql: verb, parameters: [] }), this.#opening]);
      // COMMIT of a failed transaction succeeds as ROLLBACK: what was written is gone, and nobody would hear of it.
      if (verb === 'commit' && result.command !== 'COMMIT') {
        throw problem('internal_error', 'the transaction was rolled back');
      }
    } catch (error) {
      if (isConnectionFailure(error)) this.#broken = true;
      throw error;
    } finally {
      this.#state = 'ended';
      this.#client.off('error', this.#onError);
      this.#client.release(this.#broken);
    }
  }

  #send<Row extends pg.QueryResultRow>(statement: Statement): Promise<pg.QueryResult<Row>> {
    const name = statement.parameters.length > 0 ? this.#nameOf(statement.sql) : undefined;
    return this.#client.query<Row>({
      text: statement.sql,
      values: [...statement.parameters],
      ...(name === undefined ? {} : { name }),
      // The extended protocol takes one statement (Postgres manual, 54.2.3); without parameters pg would not use it.
      ...(statement.single ? { queryMode: 'extended' as const } : {}),
    });
  }

  /** Everything sent before control goes back to the event loop leaves in one write. */
  #corkUntilNextTick(): void {
    if (!('connection' in this.#client)) return;
    const connection: unknown = this.#client.connection;
    if (typeof connection !== 'object' || connection === null || !('stream' in connection)) return;
    const stream = connection.stream;
    if (typeof stream !== 'object' || stream === null || !('cork' in stream) || !('uncork' in stream)) return;
    const { cork, uncork } = stream;
    if (typeof cork !== 'function' || typeof uncork !== 'function') return;
    cork.call(stream);
    process.nextTick(() => uncork.call(stream));
  }
}

/** 25P02 in_failed_sql_transaction. */
function isAftermath(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '25P02';
}

/** SQLSTATEs of ringfence.current_user_id(). A fresh connection learns the pid and the clock anew. */
function isIdentityFailure(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && /^RF00/.test(error.code);
}

/** 26000 a statement we had prepared is gone, 42P05 its name is taken: somebody meddled, and it does not mend by itself. */
function isNameFailure(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === '26000' || error.code === '42P05');
}

/** SQLSTATE classes of a connection that is gone or going: 08 connection exception, 57P0x shutdown. */
export function isConnectionFailure(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (/^(08|57P0)/.test(code) || /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EHOSTUNREACH)/.test(code)) return true;
  return /Connection terminated|not queryable|Client was closed/.test(error.message);
}
