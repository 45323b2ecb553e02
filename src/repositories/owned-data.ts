/** Everything a user has, over all tables at once: to be taken along, and to be erased. */
import { type RawBuilder, type SelectQueryBuilder, sql } from 'kysely';
import type { Database } from '../database/tables.gen.ts';
import { ownedTables } from '../isolation/owned-tables.ts';
import { BaseUserScopedRepository } from './base-user-scoped-repository.ts';
import { profileColumns } from './profiles.ts';

export interface ExportedRow {
  readonly table_name: string;
  /** The row as JSON. */
  readonly row: string;
}

/** Rows may be a megabyte each; so many are in memory at a time. */
const rowsAtOnce = 50;

export class OwnedDataRepository extends BaseUserScopedRepository {
  protected readonly table = 'users';

  /**
   * Removes every row of the user and then the user. Sessions, tokens and the access log go with it. A row that is in a
   * table this does not know of makes it fail as a whole: the reference to the user does not cascade.
   */
  async erase(): Promise<void> {
    const { userId } = this.scope.caller;
    // First, so that whoever is adding rows for this user finishes before the rows are looked for.
    await this.scope.all(this.db.selectFrom('users').select('id').forUpdate());
    for (const { table } of ownedTables.toReversed()) {
      // Named here too: with isolation off the scope confines nothing, and this must remove nobody else's rows.
      await this.scope.run(this.db.deleteFrom(table).where('user_id', '=', userId));
    }
    await this.scope.run(this.db.deleteFrom('users'));
  }

  /**
   * Begins to read everything: one statement, so that all rows are of the same moment.
   *
   * Postgres checks the identity where it first reaches a table, and by the last one it may have expired. So the first
   * row asks each table whether it holds anything. A materialised CTE is read once and as far as it is needed, and goes on
   * where it stopped (`nodeCtescan.c`): with the first row every identity has been checked for good.
   */
  async openExport(): Promise<void> {
    const sources = [...this.#accountRows(), ...this.#ownedRows()].map((rows, i) => ({
      rows,
      name: sql.raw(`export_${i}`),
    }));
    const ctes = sources.map(({ rows, name }) => sql`${name} as materialized (${rows})`);
    const reached = sources.map(({ name }) => sql`exists (select from ${name})`);
    const all = sources.map(({ name }) => sql`select table_name, row from ${name}`);
    await this.#send(
      sql`declare export_rows no scroll cursor for with ${sql.join(ctes)}
select '' as table_name, concat(${sql.join(reached)}) as row union all ${sql.join(all, sql` union all `)}`,
    );
    await this.#send(sql`fetch forward 1 from export_rows`);
  }

  /** @returns the next rows, table by table; none at the end */
  nextRows(): Promise<ExportedRow[]> {
    return this.#send(sql<ExportedRow>`fetch forward ${sql.lit(rowsAtOnce)} from export_rows`);
  }

  #send<Row>(raw: RawBuilder<Row>): Promise<Row[]> {
    return this.scope.all<Row>({
      toOperationNode: () => raw.toOperationNode(),
      compile: () => raw.compile(this.db),
    });
  }

  #ownedRows() {
    const { userId } = this.scope.caller;
    return ownedTables.map(({ table }) =>
      this.#rows(table, this.db.selectFrom(table).selectAll().where('user_id', '=', userId)),
    );
  }

  /** Without what proves who somebody is, and without the answers kept for repeated requests. */
  #accountRows() {
    const { db } = this;
    return [
      this.#rows('users', db.selectFrom('users').select([...profileColumns, 'external_issuer'])),
      this.#rows(
        'sessions',
        db
          .selectFrom('sessions')
          .select(['id', 'user_agent', 'created_at', 'rotated_at', 'expires_at', 'revoked_at', 'revoked_reason']),
      ),
      this.#rows(
        'api_tokens',
        db
          .selectFrom('api_tokens')
          .select(['id', 'name', 'scopes', 'created_at', 'expires_at', 'revoked_at', 'last_used_at', 'usage_count']),
      ),
      this.#rows('user_access_log', db.selectFrom('user_access_log').selectAll()),
      this.#rows(
        'idempotency_keys',
        db.selectFrom('idempotency_keys').select(['id', 'key', 'response_status', 'created_at']),
      ),
    ];
  }

  /**
   * In an order that an index gives without sorting: of their ids, which begin with the time, but for the access log, whose
   * ids are random. Without an order rows come as they lie in the table, and where there is room for one depends on
   * everybody's rows (I8).
   */
  // biome-ignore lint/suspicious/noExplicitAny: any selection of any of our tables; each row becomes one JSON text
  #rows(table: string, rows: SelectQueryBuilder<Database, any, any>) {
    const ordered = (table === 'user_access_log' ? rows.orderBy('at') : rows).orderBy('id');
    return this.db
      .selectFrom(ordered.as('r'))
      .select([sql<string>`${table}::text`.as('table_name'), sql<string>`row_to_json(r)::text`.as('row')]);
  }
}
