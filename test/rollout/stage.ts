/** A shape on a database, with its application at work, and the command line to hand. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { command, type Outcome, type Running, startCommand } from './command.ts';
import { Memory } from './memory.ts';
import {
  type Columns,
  differences,
  ownerColumnOf,
  readColumns,
  readOwners,
  readWorld,
  userIdOf,
  type World,
  withClient,
} from './rows.ts';
import { schemaText } from './schema-text.ts';
import type { Database } from './server.ts';
import type { Row, Shape } from './shape.ts';
import { type Isolated, Writer } from './writer.ts';

export interface StageOptions {
  /** How many applications write at the same time. */
  readonly writers: number;
  readonly expectCrash?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

const password = 'only-for-tests';

export class Stage {
  readonly shape: Shape;
  readonly database: Database;
  readonly directory: string;
  readonly options: StageOptions;
  /** The log-in of the old application. */
  readonly oldRole = 'old_application';
  /** That of the new one: a member of ringfence_app. */
  readonly newRole = 'new_application';
  columns: Columns = {};
  schemaBefore = '';
  writers: Writer[] = [];
  /** Rows that belong to no writer. */
  #others: World = new Map();
  #memories: Memory[] = [];

  constructor(shape: Shape, database: Database, options: StageOptions) {
    this.shape = shape;
    this.database = database;
    this.options = options;
    this.directory = mkdtempSync(join(tmpdir(), 'ringfence-rollout-'));
    writeFileSync(join(this.directory, 'ringfence.config.json'), JSON.stringify(shape.config, null, 2));
  }

  static async open(shape: Shape, database: Database, options: StageOptions): Promise<Stage> {
    const stage = new Stage(shape, database, options);
    await stage.#build();
    return stage;
  }

  async #build(): Promise<void> {
    await this.asOwner(async (client) => {
      await client.query(`create role ${this.oldRole} login password '${password}'`);
      await client.query(this.shape.sql(this.oldRole));
      this.columns = await readColumns(client, this.shape);
      this.schemaBefore = await this.schemaNow();
      await this.#adopt(await readWorld(client, this.shape, this.columns), await readOwners(client, this.shape));
    });
  }

  /** Each user's rows are one writer's, so that what it remembers is all that happened to them. */
  async #adopt(world: World, owners: ReadonlyMap<string, ReadonlyMap<string, string | null>>): Promise<void> {
    this.#memories = Array.from({ length: this.options.writers }, () => new Memory(this.shape));
    const users = [...new Set(owners.get(this.shape.users)?.values())].sort();
    const memoryOf = (owner: string) => this.#memories[Math.max(0, users.indexOf(owner)) % this.#memories.length];
    const others = new Map<string, Map<string, Row>>();
    for (const [table, rows] of world) {
      const unclaimed = new Map<string, Row>();
      for (const [key, row] of rows) {
        const owner = owners.get(table)?.get(key) ?? null;
        if (owner === null) unclaimed.set(key, row);
        else memoryOf(owner)?.apply({ table, key, row, owner });
      }
      others.set(table, unclaimed);
    }
    this.#others = others;
  }

  asOwner<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    return withClient(this.database.url, work);
  }

  loginUrl(role: string): string {
    const url = new URL(this.database.url);
    url.username = role;
    url.password = password;
    return url.href;
  }

  async startWriters(): Promise<void> {
    const { shape, columns } = this;
    const expectCrash = this.options.expectCrash === true;
    const url = this.loginUrl(this.oldRole);
    this.writers = this.#memories.map(
      (memory, number) => new Writer({ url, shape, columns, number, expectCrash }, memory),
    );
    await Promise.all(this.writers.map((writer) => writer.start()));
  }

  async makeNewRole(client: pg.Client): Promise<void> {
    await client.query(`create role ${this.newRole} login password '${password}' in role ringfence_app`);
  }

  /** Legacy ids of the users that there are. */
  users(): readonly string[] {
    return this.#memories.flatMap((memory) => memory.users());
  }

  /** The new application takes over what the old one knew. */
  async startIsolatedWriters(isolated: Isolated): Promise<void> {
    const { shape, columns } = this;
    const url = this.loginUrl(this.newRole);
    this.writers = this.#memories.map(
      (memory, at) => new Writer({ url, shape, columns, number: 100 + at, isolated }, memory),
    );
    await Promise.all(this.writers.map((writer) => writer.start()));
  }

  async stopWriters(): Promise<void> {
    await Promise.all(this.writers.map((writer) => writer.stop()));
  }

  /** While nothing is written: between two transactions of every writer. */
  async settled<T>(work: () => Promise<T>): Promise<T> {
    await Promise.all(this.writers.map((writer) => writer.pause()));
    try {
      return await work();
    } finally {
      for (const writer of this.writers) writer.resume();
    }
  }

  start(...args: string[]): Running {
    return startCommand(args, this.#env(), this.directory);
  }

  run(code: number, ...args: string[]): Promise<Outcome> {
    return command(code, args, this.#env(), this.directory);
  }

  #env(): Record<string, string> {
    return { DATA_DIR: this.database.dataDir, ...this.options.env };
  }

  schemaNow(): Promise<string> {
    return this.asOwner((client) => schemaText(client, this.shape.schemas));
  }

  /** What has to be there: what no writer owns, unchanged, and what each was told is done. */
  expectedWorld(): World {
    const world = new Map([...this.#others].map(([table, rows]) => [table, new Map(rows)]));
    for (const memory of this.#memories)
      for (const { table, key, row } of memory.all()) world.get(table)?.set(key, row);
    return world;
  }

  /** Sentences on rows lost, changed or made by nobody, and on writes that failed. */
  async faultsInRows(ignore: (table: string, key: string) => boolean = () => false): Promise<string[]> {
    const found = await this.asOwner((client) => readWorld(client, this.shape, this.columns));
    const expected = this.expectedWorld();
    for (const { table, key } of this.shape.made ?? []) (found.get(table) as Map<string, Row> | undefined)?.delete(key);
    for (const world of [expected, found]) {
      for (const [table, rows] of world)
        for (const key of rows.keys()) if (ignore(table, key)) (rows as Map<string, Row>).delete(key);
    }
    return differences(expected, found);
  }

  /** By table and key: whose the writers take a row to be. */
  knownOwners(): ReadonlyMap<string, string | null> {
    const known = new Map<string, string | null>();
    for (const memory of this.#memories)
      for (const { table, key, owner } of memory.all()) known.set(`${table} ${key}`, owner);
    return known;
  }

  faultsInWriters(): string[] {
    return this.writers.flatMap((writer, at) => writer.figures.failures.map((failure) => `writer ${at}: ${failure}`));
  }

  /** Sentences on rows whose owner column, or what a writer believes, is not what the legacy columns say. */
  async faultsInOwners(): Promise<string[]> {
    return this.asOwner(async (client) => {
      const faults: string[] = [];
      const oracle = await readOwners(client, this.shape);
      const known = this.knownOwners();
      for (const [name, owners] of oracle) {
        const table = this.shape.tables[name];
        const column = table ? await ownerColumnOf(client, table.label) : null;
        const key = table?.key.map((part) => `t.${pg.escapeIdentifier(part)}`).join(', ');
        const { rows } = await client.query<{ key: unknown[]; owner: string }>(
          // The account table may be its own owner column: the id.
          `select jsonb_build_array(${key}) as key, t.${pg.escapeIdentifier(column ?? table?.key[0] ?? '')}::text as owner from ${table?.label} t`,
        );
        for (const row of rows) {
          const at = `${name} ${JSON.stringify(row.key)}`;
          const said = owners.get(JSON.stringify(row.key)) ?? null;
          const believed = known.get(at) ?? said;
          if (!table?.unclaimed && believed !== said)
            faults.push(`${at}: its writer says ${believed}'s, its columns ${said}'s`);
          const expected = userIdOf(this.shape, believed);
          if (row.owner !== expected) faults.push(`${at}: has the owner ${row.owner}, not ${expected} (${believed})`);
        }
      }
      return faults.length > 10 ? [...faults.slice(0, 10), `and ${faults.length - 10} more`] : faults;
    });
  }

  /** One line a writer. */
  figures(title: string): string {
    const lines = this.writers.map(({ figures }, at) => {
      const { writes, reads, failures, longestWriteMs, longestReadMs, interrupted, longestWrite } = figures;
      const cut = interrupted > 0 ? `, ${interrupted} cut off` : '';
      return `  writer ${at}: ${writes} writes, ${reads} reads, ${failures.length} failed${cut}; longest blocked write ${Math.round(longestWriteMs)} ms (${longestWrite.split(' ').slice(0, 3).join(' ')}), read ${Math.round(longestReadMs)} ms`;
    });
    return [`${this.shape.name}, ${title}`, ...lines].join('\n');
  }

  async close(): Promise<void> {
    await this.stopWriters();
    rmSync(this.directory, { recursive: true, force: true });
    await this.database.drop([this.oldRole, this.newRole]);
  }
}

/** @throws with all the sentences, when there are any */
export function none(what: string, faults: readonly string[]): void {
  if (faults.length > 0) throw new Error(`${what}:\n${faults.join('\n')}`);
}
