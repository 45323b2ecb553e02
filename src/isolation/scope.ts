/**
 * Scopes: the only way to a row (I1). A scope is an open transaction in which Postgres knows who it acts for. It is
 * made here and nowhere else, and it is dead once its transaction is over.
 */
import { type CompiledQuery, createQueryId, Kysely, PostgresQueryCompiler, type RootOperationNode } from 'kysely';
import { problem } from '../errors.ts';
import { coldDialect } from './cold-dialect.ts';
import type { ConnectionPool, Statement, Transaction } from './connection.ts';
import { type IdentityKey, identityLifetimeMs, mintIdentity, parseUserId, type UserId } from './identity.ts';
import { everybodyMark } from './owned-tables.ts';
import { OwnerFilter, type Ownership } from './owner-filter.ts';
import { bind, callerHole, type Hole, type PreparedStatement } from './prepared.ts';

/** Anything that turns into one SQL statement: every query of the builder. */
export interface Compilable<Row> {
  toOperationNode(): RootOperationNode;
  compile(): CompiledQuery<Row>;
}

/** On whose behalf, and by what right. */
export interface Caller {
  readonly userId: UserId;
  /** When the access token was issued, in milliseconds since 1970; tokens from before a password change are refused. */
  readonly issuedAt?: number | undefined;
  /** The session that the access token belongs to; when it ends, the token is refused. */
  readonly sessionId?: string | undefined;
  /** How the caller came in, for the access log: `session`, `token`, `cli`. */
  readonly actor: string;
  readonly requestId: string;
}

/** Why somebody reaches beyond one user's rows. */
export interface SystemUse {
  /** Who does it: an administrator's call, or the command line. */
  readonly actor: Caller;
  /** A few words that end up in the audit log and in every statement: one of a few, since each makes new statements. */
  readonly reason: string;
  /** What the actor says about it, and which rows it is about; for the audit log alone. */
  readonly note?: string;
}

/** What every scope can do: build statements with `db`, run them with the rest. */
export interface StatementRunner<DB> {
  /** Builds statements; it cannot run them. What goes through the scope is confined to its reach. */
  readonly db: Kysely<DB>;
  all<Row>(query: Compilable<Row>): Promise<Row[]>;
  first<Row>(query: Compilable<Row>): Promise<Row | undefined>;
  /** @returns the number of rows the statement touched */
  run(query: Compilable<unknown>): Promise<number>;
}

declare const userScope: unique symbol;
declare const systemScope: unique symbol;
declare const accountsScope: unique symbol;

/** Confined to one user's rows by the owner filter and by Postgres. */
export interface UserScope<DB> extends StatementRunner<DB> {
  readonly [userScope]: true;
  readonly caller: Caller;
  /** Like `first`, with a statement that was made before. */
  firstPrepared<Args extends Readonly<Record<string, unknown>>, Row>(
    statement: PreparedStatement<DB, Args, Row>,
    values: Args,
  ): Promise<Row | undefined>;
}

/** System mode: everybody's rows. A capability that is asked for, never a missing user (I7). */
export interface SystemScope<DB> extends StatementRunner<DB> {
  readonly [systemScope]: true;
  readonly use: SystemUse;
}

/** Accounts, before anybody is known: to sign in, to check a token, to register. It reaches no owned table. */
export interface AccountsScope<DB> extends StatementRunner<DB> {
  readonly [accountsScope]: true;
  /** What for; it stands in every statement. */
  readonly purpose: string;
}

/**
 * `on`: policies and filter. `off`: USER_ISOLATION_ENABLED=false on a schema with owners. `ownerless`: the same on the
 * schema before isolation, where there is no owner to record.
 */
export type Enforcement = 'on' | 'off' | 'ownerless';

export interface IsolationOptions<DB> {
  readonly enforcement: Enforcement;
  /** Connections of the application role; while isolation is not `on` they are not used. */
  readonly app: ConnectionPool;
  /** Connections of the system role. */
  readonly system: ConnectionPool;
  readonly key: IdentityKey;
  readonly ownership: Ownership;
  /** Returns a row when the caller may act at all (the account is active, the token not revoked); in the same flush. */
  readonly admission: (caller: Caller) => Statement;
  /** Writes the use of system mode down, in its own transaction. */
  readonly recordSystemUse: (scope: SystemScope<DB>) => Promise<unknown>;
}

/** Says who it is and has it checked, so that a bad identity fails here, whatever the statements after it look at (I2). */
const becomeUser = "select set_config('ringfence.identity', $1, true), ringfence.current_user_id()";
/**
 * The role that alone reads hashes, and no owned table. A statement's privileges are checked when it starts, so a
 * `set_config('role', …)` inside one does not widen it.
 */
const becomeAccounts = 'set local role ringfence_accounts';

export class Isolation<DB> {
  readonly enforcement: Enforcement;
  readonly #options: IsolationOptions<DB>;
  readonly #builder = new Kysely<DB>({ dialect: coldDialect });
  readonly #systemFilter: OwnerFilter;
  readonly #accountsFilter: OwnerFilter;
  readonly #prepared = new WeakMap<object, Statement & { readonly catalogueSize: number }>();

  constructor(options: IsolationOptions<DB>) {
    this.enforcement = options.enforcement;
    this.#options = options;
    const marked = options.enforcement !== 'ownerless';
    this.#systemFilter = new OwnerFilter(options.ownership, { kind: 'system', marked });
    this.#accountsFilter = new OwnerFilter(options.ownership, { kind: 'accounts' });
  }

  /**
   * Runs `work` as one user in one transaction: committed when it returns, rolled back when it throws.
   *
   * @throws Problem `unauthenticated` when the account may not act (any more)
   * @throws TypeError without a user: a missing user is never system mode (I2)
   */
  async withUser<T>(caller: Caller, work: (scope: UserScope<DB>) => Promise<T>): Promise<T> {
    const transaction = await this.#open(requireUser(caller), 'read write');
    return finish(transaction, async () => {
      const admitted = this.#admit(transaction, caller);
      const result = await whenAdmitted(admitted, work(this.#userScope(transaction, caller)));
      await transaction.commit();
      return result;
    });
  }

  /**
   * Like `withUser`, read only and in one flush: BEGIN, identity, statements and COMMIT leave together, so isolation
   * costs no round trip. `work` must send all its statements before it first waits; a later one throws.
   */
  async readAsUser<T>(caller: Caller, work: (scope: UserScope<DB>) => Promise<T>): Promise<T> {
    const transaction = await this.#open(requireUser(caller), 'read only');
    return finish(transaction, async () => {
      const admitted = this.#admit(transaction, caller);
      const working = work(this.#userScope(transaction, caller));
      working.catch(() => {});
      const committed = transaction.seal();
      const result = await whenAdmitted(admitted, working);
      await committed;
      return result;
    });
  }

  /** Everybody's rows, with a reason, on the record. The caller has to be an administrator: check before. */
  async asSystem<T>(use: SystemUse, work: (scope: SystemScope<DB>) => Promise<T>): Promise<T> {
    requireUser(use.actor);
    const transaction = await this.#options.system.begin('read write');
    return finish(transaction, async () => {
      const admitted = this.#admit(transaction, use.actor);
      const scope = { ...runner(transaction, this.#builder, this.#systemFilter, use.reason), use } as SystemScope<DB>;
      const recorded = this.#options.recordSystemUse(scope);
      recorded.catch(() => {});
      const result = await whenAdmitted(admitted, work(scope));
      await recorded;
      await transaction.commit();
      return result;
    });
  }

  /** Accounts, before anybody is known. The purpose ends up in every statement. */
  async withAccounts<T>(purpose: string, work: (scope: AccountsScope<DB>) => Promise<T>): Promise<T> {
    const transaction = await this.#options.system.begin('read write');
    return finish(transaction, async () => {
      // On the schema before isolation there is no such role, and the tables' owner does it all.
      if (this.enforcement !== 'ownerless') transaction.query({ sql: becomeAccounts, parameters: [] });
      const scope = {
        ...runner(transaction, this.#builder, this.#accountsFilter, purpose),
        purpose,
      } as AccountsScope<DB>;
      const result = await work(scope);
      await transaction.commit();
      return result;
    });
  }

  /**
   * Whether there is such a row and it is somebody else's. For the security log alone: the caller must never learn it,
   * not even by waiting for it. Always false while isolation is off, since nothing is hidden then.
   *
   * @param table an owned table of the catalogue
   */
  async isAnothers(caller: Caller, table: string, id: string): Promise<boolean> {
    if (this.enforcement !== 'on') return false;
    if (this.#options.ownership.get(table)?.kind !== 'owned') throw new TypeError(`${table} is no owned table`);
    const transaction = await this.#options.system.begin('read only');
    return finish(transaction, async () => {
      // `everybodyMark` opens the index over all users' rows.
      const { rows } = await transaction.query<{ found: boolean }>({
        sql: `select /* SYSTEM: refused access */ exists (
  select from ${table} where id = $1 and ${everybodyMark} and user_id <> $2
) as found`,
        parameters: [id, requireUser(caller).userId],
      });
      await transaction.commit();
      return rows[0]?.found === true;
    });
  }

  /** One statement of somebody's own making, with that user's identity and wall two alone. For the command line. */
  async sqlAs(caller: Caller, text: string, options: { readonly write: boolean }): Promise<SqlResult> {
    const transaction = await this.#open(requireUser(caller), 'read write');
    return finish(transaction, async () => {
      const admitted = this.#admit(transaction, caller);
      const result = await whenAdmitted(
        admitted,
        transaction.query<Record<string, unknown>>({ sql: text, parameters: [], single: true }),
      );
      await (options.write ? transaction.commit() : transaction.rollback());
      return {
        columns: result.fields.map((field) => field.name),
        rows: result.rows,
        command: result.command,
        count: result.rowCount ?? 0,
      };
    });
  }

  async #open(caller: Caller, mode: 'read only' | 'read write'): Promise<Transaction> {
    if (this.enforcement !== 'on') return this.#options.system.begin(mode);
    const transaction = await this.#options.app.begin(mode);
    const { key } = this.#options;
    // As a parameter, never as a literal: statement texts are kept where others can read them (I4).
    const become = (now: number) => ({
      sql: becomeUser,
      parameters: [mintIdentity(key, caller.userId, transaction.pid, now)],
    });
    transaction.identify(become, identityLifetimeMs / 2);
    return transaction;
  }

  #admit(transaction: Transaction, caller: Caller): Promise<void> {
    return mayBeIgnored(async () => {
      const { rows } = await transaction.query(this.#options.admission(caller));
      if (rows.length === 0) throw problem('unauthenticated', 'Invalid token');
    });
  }

  #userScope(transaction: Transaction, caller: Caller): UserScope<DB> {
    const filter = this.#userFilter(caller.userId);
    const firstPrepared: UserScope<DB>['firstPrepared'] = <Args, Row>(
      statement: PreparedStatement<DB, Readonly<Record<string, unknown>>, Row>,
      values: Args,
    ) => {
      const { sql, parameters } = this.#prepare(statement);
      const bound = bind(parameters, caller.userId, values as Readonly<Record<string, unknown>>);
      return mayBeIgnored<Row | undefined>(
        async () => (await transaction.query<Row & Record<string, unknown>>({ sql, parameters: bound })).rows[0],
      );
    };
    return { ...runner(transaction, this.#builder, filter, undefined), firstPrepared, caller } as UserScope<DB>;
  }

  #userFilter(userId: UserId | Hole): OwnerFilter {
    const kind = ({ on: 'own', off: 'everyone', ownerless: 'ownerless' } as const)[this.enforcement];
    return new OwnerFilter(this.#options.ownership, { kind, userId });
  }

  #prepare<Row>(statement: PreparedStatement<DB, Readonly<Record<string, unknown>>, Row>): Statement {
    // One catalogue for the life of a server; but a test that takes it away must be noticed.
    const catalogueSize = this.#options.ownership.size;
    const known = this.#prepared.get(statement);
    if (known?.catalogueSize === catalogueSize) return known;
    const compiled = compile(statement.build(this.#builder), this.#userFilter(callerHole));
    const prepared = { ...compiled, catalogueSize };
    this.#prepared.set(statement, prepared);
    return prepared;
  }
}

export interface SqlResult {
  readonly columns: readonly string[];
  readonly rows: readonly Record<string, unknown>[];
  readonly command: string;
  readonly count: number;
}

const compiler = new PostgresQueryCompiler();

/** The owner filter goes over every statement here, once, on its way out; the builder knows nothing of it. */
function compile(query: Compilable<unknown>, filter: OwnerFilter): Statement {
  return compiler.compileQuery(filter.transformNode(query.toOperationNode()), createQueryId());
}

function runner<DB>(
  transaction: Transaction,
  db: Kysely<DB>,
  filter: OwnerFilter,
  reason: string | undefined,
): StatementRunner<DB> {
  const mark = reason === undefined ? undefined : `/* SYSTEM: ${reason.replaceAll(/[^\w .,:-]/g, ' ')} */`;
  const send = <Row>(query: Compilable<Row>) => {
    const { sql, parameters } = compile(query, filter);
    // Behind the first word: pg_stat_statements drops a comment that leads (seen on 18.4), and G56 looks there for it.
    const marked = mark === undefined ? sql : sql.replace(/^\w+/, (verb) => `${verb} ${mark}`);
    // One statement each: without parameters pg would send it in a way that takes several, and so would an injected one.
    return transaction.query<Row & Record<string, unknown>>({ sql: marked, parameters, single: true });
  };
  return {
    db,
    all: (query) => mayBeIgnored(async () => (await send(query)).rows),
    first: (query) => mayBeIgnored(async () => (await send(query)).rows[0]),
    run: (query) => mayBeIgnored(async () => (await send(query)).rowCount ?? 0),
  };
}

/** Work that has failed elsewhere leaves the answers of its other statements lying: no reason to end the process. */
function mayBeIgnored<T>(ask: () => Promise<T>): Promise<T> {
  const answer = ask();
  answer.catch(() => {});
  return answer;
}

/** The refusal wins over whatever a statement of somebody who may not act ran into. */
async function whenAdmitted<T>(admitted: Promise<void>, result: Promise<T>): Promise<T> {
  result.catch(() => {});
  await admitted;
  return result;
}

async function finish<T>(transaction: Transaction, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await transaction.rollback(error);
    throw transaction.causeOf(error);
  }
}

function requireUser(caller: Caller): Caller {
  if (!caller || parseUserId(caller.userId) === null) {
    throw new TypeError('a user is required: a missing user is an error and never system mode');
  }
  return caller;
}
