/**
 * An application at work: it keeps writing and reading on a connection of its own, remembers what was acknowledged, and
 * times every statement. The old one knows nothing of owners; the new one signs whom it acts for.
 */
import { setTimeout as thinkFor } from 'node:timers/promises';
import pg from 'pg';
import { type IdentityKey, mintIdentity, parseUserId } from '../../src/isolation/identity.ts';
import { type Change, Memory } from './memory.ts';
import { type Columns, canonical, imageOf, keyOf, quarantine, tableOf, userIdOf } from './rows.ts';
import type { Hand, Operation, Row, Shape } from './shape.ts';

export interface Figures {
  writes: number;
  reads: number;
  readonly failures: string[];
  longestWriteMs: number;
  longestWrite: string;
  longestReadMs: number;
  /** Transactions whose end was not known because Postgres went away. */
  interrupted: number;
  readonly operations: Map<string, number>;
}

/** How the new application speaks: it signs, and it names the owner. */
export interface Isolated {
  readonly identityKey: IdentityKey;
  /** By short name of the table. */
  readonly ownerColumns: Readonly<Record<string, string>>;
}

export interface WriterOptions {
  readonly url: string;
  readonly shape: Shape;
  readonly columns: Columns;
  readonly number: number;
  readonly isolated?: Isolated;
  /** Postgres is going to be killed: a lost connection is no failure, what became of its transaction is looked up. */
  readonly expectCrash?: boolean;
}

/** Between two operations, so that a writer is an application and not a load test: this machine has other things to do. */
const thinkingMs = 8;
const reconnectDeadlineMs = 120_000;
/** For numbers that no writer of the same run gives twice, nor a later run on the same database. */
const numbersOfWriter = 1_000_000;

export class Writer {
  readonly memory: Memory;
  readonly figures: Figures = {
    writes: 0,
    reads: 0,
    failures: [],
    longestWriteMs: 0,
    longestWrite: '',
    longestReadMs: 0,
    interrupted: 0,
    operations: new Map(),
  };
  readonly #options: WriterOptions;
  readonly #random: (below: number) => number;
  #client: pg.Client;
  #pid = 0;
  #serial: number;
  #ended = false;
  #pause: { promise: Promise<void>; resolve: () => void } | null = null;
  #idle: { promise: Promise<void>; resolve: () => void } | null = null;
  #loop: Promise<void> | null = null;

  constructor(options: WriterOptions, memory = new Memory(options.shape)) {
    this.#options = options;
    this.memory = memory;
    this.#random = seeded(options.number + 1);
    this.#serial = (options.number + 1) * numbersOfWriter;
    this.#client = new pg.Client(options.url);
  }

  async start(): Promise<void> {
    await this.#connect();
    this.#loop = this.#work();
  }

  /** Resolves when the transaction under way has ended. */
  async pause(): Promise<void> {
    if (this.#pause) return;
    this.#pause = Promise.withResolvers();
    this.#idle = Promise.withResolvers();
    await Promise.race([this.#idle.promise, this.#loop]);
  }

  resume(): void {
    this.#pause?.resolve();
    this.#pause = null;
  }

  async stop(): Promise<void> {
    this.#ended = true;
    this.resume();
    await this.#loop;
    await this.#client.end().catch(() => {});
  }

  async #connect(): Promise<void> {
    const { url, isolated } = this.#options;
    this.#client = new pg.Client({
      connectionString: url,
      application_name: isolated ? 'new application' : 'old application',
    });
    // A lost connection is told by the statement under way.
    this.#client.on('error', () => {});
    await this.#client.connect();
    const { rows } = await this.#client.query<{ pid: number }>('select pg_backend_pid() as pid');
    this.#pid = rows[0]?.pid ?? 0;
  }

  async #work(): Promise<void> {
    const { shape, isolated } = this.#options;
    const operations = shape.operations.filter(({ oldOnly }) => !(isolated && oldOnly));
    const first = this.memory.users()[0];
    for (let round = 0; !this.#ended; round += 1) {
      const users = this.memory.users();
      // First every operation once, for one user and in order, so that the later ones find what the earlier ones made.
      const user = operations[round] ? first : users[this.#random(users.length)];
      const other = users[this.#random(users.length)];
      const operation = operations[round] ?? operations[this.#random(operations.length)];
      if (user === undefined || other === undefined || !operation)
        throw new Error('a writer needs users and operations');
      await this.#perform(operation, user, other);
      await thinkFor(thinkingMs);
      if (this.#pause) {
        this.#idle?.resolve();
        await this.#pause.promise;
      }
    }
  }

  async #perform(operation: Operation, user: string, other: string): Promise<void> {
    const { shape, isolated, expectCrash } = this.#options;
    // Where Postgres is killed, only of a commit it is not known whether it came to pass.
    const transaction = operation.transaction === true || isolated !== undefined || expectCrash === true;
    const hand = new WriterHand(this, this.#options, user, other);
    try {
      if (transaction) await this.run('begin', [], 'begin');
      if (isolated) await this.#sign(isolated, user);
      await operation.run(hand);
      const read = shape.reads[this.#random(shape.reads.length * 2)];
      if (read !== undefined && !isolated) {
        await this.run(read, read.includes('$1') ? [user] : [], 'read');
        this.figures.reads += 1;
      }
      if (transaction) {
        const ended = await this.run('commit', [], 'write');
        if (ended.command !== 'COMMIT') throw new Error(`the commit was answered by ${ended.command}`);
      }
      hand.keep();
      this.figures.operations.set(operation.name, (this.figures.operations.get(operation.name) ?? 0) + 1);
    } catch (error) {
      await this.#failed(operation, hand, error, transaction);
    }
  }

  async #sign({ identityKey }: Isolated, user: string): Promise<void> {
    const userId = parseUserId(userIdOf(this.#options.shape, user));
    if (userId === null) throw new Error(`${user} has no user id`);
    const identity = mintIdentity(identityKey, userId, this.#pid, Date.now());
    await this.run(`select set_config('ringfence.identity', $1, true)`, [identity], 'begin');
  }

  async #failed(operation: Operation, hand: WriterHand, error: unknown, transaction: boolean): Promise<void> {
    const code = error instanceof Error && 'code' in error ? ` (${String(error.code)})` : '';
    const detail = error instanceof Error && 'detail' in error && error.detail ? `: ${String(error.detail)}` : '';
    if (this.#options.expectCrash && isConnectionLoss(error)) {
      this.figures.interrupted += 1;
      await this.#reconnect();
      await this.#lookUp(hand.changes);
      return;
    }
    this.figures.failures.push(
      `${operation.name}: ${error instanceof Error ? error.message : String(error)}${code}${detail}`,
    );
    if (transaction) await this.#client.query('rollback').catch(() => {});
  }

  async #reconnect(): Promise<void> {
    const deadline = Date.now() + reconnectDeadlineMs;
    for (;;) {
      await this.#client.end().catch(() => {});
      try {
        return await this.#connect();
      } catch (error) {
        if (this.#ended || Date.now() > deadline) throw error;
        await thinkFor(50);
      }
    }
  }

  /** Of a transaction that was cut off either all or nothing is there. */
  async #lookUp(changes: readonly Change[]): Promise<void> {
    const { shape, columns } = this.#options;
    const last = new Map(changes.map((change) => [`${change.table} ${change.key}`, change]));
    const outcomes = new Set<string>();
    for (const change of last.values()) {
      const table = tableOf(shape, change.table);
      const values: unknown[] = JSON.parse(change.key);
      const where = table.key.map((column, at) => `t.${pg.escapeIdentifier(column)} = $${at + 1}`).join(' and ');
      const image = imageOf(columns[change.table] ?? [], 't');
      const { rows } = await this.#client.query<{ row: Row }>(
        `select ${image} as row from ${table.label} t where ${where}`,
        values,
      );
      const found = rows[0] ? canonical(rows[0].row) : 'none';
      const before = this.memory.known(change);
      const was = before.row ? canonical(before.row) : 'none';
      const would = change.row ? canonical(change.row) : 'none';
      if (found === would && found !== was) outcomes.add('all');
      else if (found === was && found !== would) outcomes.add('nothing');
      else if (found !== was)
        this.figures.failures.push(
          `after the crash ${change.table} ${change.key} is ${found}, neither ${was} nor ${would}`,
        );
    }
    if (outcomes.size > 1) this.figures.failures.push('after the crash a transaction is there by half');
    if (outcomes.has('all')) for (const change of changes) this.memory.apply(change);
  }

  /** @param kind what its time counts as; only acknowledged statements of kind `write` are writes */
  async run(sql: string, parameters: readonly unknown[], kind: 'begin' | 'read' | 'write'): Promise<pg.QueryResult> {
    const began = performance.now();
    const result = await this.#client.query(sql, [...parameters]);
    const took = performance.now() - began;
    if (kind === 'read') this.figures.longestReadMs = Math.max(this.figures.longestReadMs, took);
    if (kind === 'write' && took > this.figures.longestWriteMs) {
      this.figures.longestWriteMs = took;
      this.figures.longestWrite = sql.slice(0, 60);
    }
    return result;
  }

  next(): number {
    this.#serial += 1;
    return this.#serial;
  }

  random(below: number): number {
    return this.#random(below);
  }
}

class WriterHand implements Hand {
  readonly user: string;
  readonly other: string;
  readonly changes: Change[] = [];
  readonly #writer: Writer;
  readonly #options: WriterOptions;
  #statements = 0;

  constructor(writer: Writer, options: WriterOptions, user: string, other: string) {
    this.#writer = writer;
    this.#options = options;
    this.user = user;
    this.other = other;
  }

  /** It is acknowledged: from now on it has to be there. */
  keep(): void {
    for (const change of this.changes) this.#writer.memory.apply(change);
    this.#writer.figures.writes += this.#statements;
  }

  next(): number {
    return this.#writer.next();
  }

  random(below: number): number {
    return this.#writer.random(below);
  }

  some(table: string, matching?: (row: Row) => boolean): Row | undefined {
    const rows = this.all(table, matching);
    return rows[this.random(rows.length)];
  }

  all(table: string, matching: (row: Row) => boolean = () => true): readonly Row[] {
    return this.#writer.memory.rowsOf(table, this.#ownerOf(table)).filter(matching);
  }

  #ownerOf(table: string): string {
    return !this.#options.isolated && tableOf(this.#options.shape, table).unclaimed ? quarantine : this.user;
  }

  async insert(table: string, values: Row, owner: string | null = this.#ownerOf(table)): Promise<Row> {
    const row = await this.#write(table, values, '');
    this.changes.push(this.#writer.memory.change(table, row, owner));
    return row;
  }

  async upsert(table: string, values: Row, columns: readonly string[]): Promise<Row> {
    const { key } = tableOf(this.#options.shape, table);
    const changed = Object.keys(values).filter((column) => !columns.includes(column) && !key.includes(column));
    const owner = this.#ownerColumn(table);
    const target = [...new Set([...(owner === undefined ? [] : [owner]), ...columns])]
      .map(pg.escapeIdentifier)
      .join(', ');
    const assignments = changed
      .filter((column) => column !== owner)
      .map((column) => `${pg.escapeIdentifier(column)} = excluded.${pg.escapeIdentifier(column)}`);
    const row = await this.#write(table, values, ` on conflict (${target}) do update set ${assignments.join(', ')}`);
    this.changes.push(this.#writer.memory.change(table, row, this.#ownerOf(table)));
    return row;
  }

  /** Also of a row that this very transaction made. */
  #knownOwner(table: string, row: Row): string | null {
    const { key } = this.#writer.memory.removal(table, row);
    const made = this.changes.findLast((change) => change.table === table && change.key === key && change.row);
    return made ? made.owner : (this.#writer.memory.ownerOf(table, row) ?? this.#ownerOf(table));
  }

  async #write(table: string, given: Row, onConflict: string): Promise<Row> {
    const owner = this.#ownerColumn(table);
    const values = owner === undefined ? given : { ...given, [owner]: userIdOf(this.#options.shape, this.user) };
    const columns = Object.keys(values).map(pg.escapeIdentifier).join(', ');
    const marks = Object.keys(values)
      .map((_, at) => `$${at + 1}`)
      .join(', ');
    const { label } = tableOf(this.#options.shape, table);
    const sql = `insert into ${label} as t (${columns}) values (${marks})${onConflict} returning ${this.#image(table)} as row`;
    return this.#one(sql, Object.values(values), onConflict === '' ? given : {});
  }

  async update(table: string, row: Row, changes: Row): Promise<Row> {
    return this.#set(table, row, changes, changes);
  }

  async save(table: string, row: Row, changes: Row): Promise<Row> {
    const every = this.#settable(table).map((name) => [name, changes[name] ?? row[name] ?? null]);
    return this.#set(table, row, Object.fromEntries(every), changes);
  }

  /** The new application may change neither whose a row is nor what it goes by, nor what the shape leaves out. */
  #settable(table: string): readonly string[] {
    const { shape, columns, isolated } = this.#options;
    const { key, updatable } = tableOf(shape, table);
    const owner = this.#ownerColumn(table);
    return (columns[table] ?? [])
      .filter(({ name, computed }) => !computed && name !== owner)
      .map(({ name }) => name)
      .filter((name) => !isolated || (!key.includes(name) && (updatable?.includes(name) ?? true)));
  }

  async #set(table: string, row: Row, values: Row, demanded: Row): Promise<Row> {
    const { label } = tableOf(this.#options.shape, table);
    const assignments = Object.keys(values).map((column, at) => `${pg.escapeIdentifier(column)} = $${at + 1}`);
    const { where, parameters } = this.#where(table, row, assignments.length);
    const sql = `update ${label} t set ${assignments.join(', ')} where ${where} returning ${this.#image(table)} as row`;
    const changed = await this.#one(sql, [...Object.values(values), ...parameters], demanded);
    const owner = this.#knownOwner(table, row);
    const { memory } = this.#writer;
    const key = keyOf(tableOf(this.#options.shape, table), changed);
    if (memory.removal(table, row).key !== key) this.changes.push(memory.removal(table, row));
    this.changes.push(memory.change(table, changed, owner));
    return changed;
  }

  async delete(table: string, row: Row): Promise<void> {
    const { label } = tableOf(this.#options.shape, table);
    const { where, parameters } = this.#where(table, row, 0);
    await this.#one(`delete from ${label} t where ${where} returning ${this.#image(table)} as row`, parameters, {});
    this.changes.push(this.#writer.memory.removal(table, row));
  }

  async query(sql: string, parameters: readonly unknown[] = [], writes = false): Promise<readonly Row[]> {
    const { rows } = await this.#writer.run(sql, parameters, writes ? 'write' : 'read');
    if (writes) this.#statements += 1;
    return rows;
  }

  forget(table: string, row: Row): void {
    this.changes.push(this.#writer.memory.removal(table, row));
  }

  note(table: string, row: Row): void {
    this.changes.push(this.#writer.memory.change(table, row, this.#knownOwner(table, row)));
  }

  hand(table: string, row: Row, to: string | null): void {
    this.changes.push(this.#writer.memory.change(table, row, to));
  }

  /** A statement about one row that is there: anything else is a row lost. */
  async #one(sql: string, parameters: readonly unknown[], demanded: Row): Promise<Row> {
    const { rows } = await this.#writer.run(sql, parameters, 'write');
    const [first] = rows;
    if (rows.length !== 1 || !first)
      throw new Error(`${rows.length} rows, not one: ${sql.slice(0, 200)} ${JSON.stringify(parameters)}`);
    const { row }: { row: Row } = first;
    for (const [column, value] of Object.entries(demanded)) {
      const same = typeof value === 'object' && value !== null ? true : String(row[column]) === String(value);
      if (!same)
        throw new Error(`${column} was set to ${String(value)} and is ${String(row[column])}: ${sql.slice(0, 200)}`);
    }
    this.#statements += 1;
    return row;
  }

  #where(table: string, row: Row, before: number): { where: string; parameters: unknown[] } {
    const { key } = tableOf(this.#options.shape, table);
    const where = key.map((column, at) => `t.${pg.escapeIdentifier(column)} = $${before + at + 1}`).join(' and ');
    return { where, parameters: key.map((column) => row[column]) };
  }

  #image(table: string): string {
    return imageOf(this.#options.columns[table] ?? [], 't');
  }

  #ownerColumn(table: string): string | undefined {
    return this.#options.isolated?.ownerColumns[table];
  }
}

/** Also what a test found wrong is no DatabaseError: that is told by its message. */
function isConnectionLoss(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return /^57P0|^08/.test(error.code ?? '');
  return error instanceof Error && (/^Connection terminated|not queryable/.test(error.message) || 'code' in error);
}

/** Mulberry32: a run can be had again. */
function seeded(seed: number): (below: number) => number {
  let state = seed * 0x9e3779b1;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * below);
  };
}
