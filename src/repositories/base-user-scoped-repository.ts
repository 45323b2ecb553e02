/**
 * What every repository extends. A repository is made for one user's scope and for nothing else: there is no way to
 * make one without a user, none to change the user afterwards, and it is dead with its scope's transaction.
 *
 * The statements never name the user: the scope's owner filter adds the user to each of them, and Postgres checks again.
 */
import { ExpressionWrapper, type SelectQueryBuilder, sql } from 'kysely';
import type { ProductUserScope } from '../database/isolation.ts';
import type { Database } from '../database/tables.gen.ts';
import { problem } from '../errors.ts';
import type { AccountTableName, OwnedTableName } from '../isolation/owned-tables.ts';
import type { Compilable } from '../isolation/scope.ts';
import { type Page, type PageRequest, page, type Sort } from './page.ts';

/** A JSON document that Postgres built and nobody parses on the way out. */
export interface JsonDocument {
  readonly json: string;
  /** Counts the changes; the ETag. */
  readonly version: number;
}

// biome-ignore lint/suspicious/noExplicitAny: any selection of any of our tables; the columns do not matter here
export type View = SelectQueryBuilder<Database, any, any>;

/** A statement that changes rows and returns their ids. */
export type Write = Compilable<{ id: string }>;

export abstract class BaseUserScopedRepository {
  /** The table whose rows it writes; the entity of its lines in the access log. */
  protected abstract readonly table: OwnedTableName | AccountTableName;
  protected readonly scope: ProductUserScope;

  constructor(scope: ProductUserScope) {
    if (!scope?.caller) throw new TypeError('a repository needs the scope of a user');
    this.scope = scope;
  }

  protected get db(): ProductUserScope['db'] {
    return this.scope.db;
  }

  /** The one row of a view as JSON, or undefined. */
  protected document(view: View): Promise<JsonDocument | undefined> {
    return this.scope.first(documentStatement(this.db, view));
  }

  /**
   * Changes rows and writes each change into the access log, in one statement.
   *
   * @param operation what was done, for the log: `create`, `update`, `delete`, `complete` …
   * @param write must return `id`
   * @param reason why it was done, where the caller was asked for it; for the log
   * @returns the number of rows that were changed
   */
  protected write(operation: string, write: Write, reason = ''): Promise<number> {
    const { actor, requestId } = this.scope.caller;
    return this.scope.run(
      this.db
        .with('changed', () => new ExpressionWrapper<Database, OwnedTableName, { id: string }>(write.toOperationNode()))
        .insertInto('user_access_log')
        .columns(['actor', 'operation', 'entity_type', 'entity_id', 'outcome', 'reason', 'request_id'])
        .expression((eb) =>
          eb
            .selectFrom('changed')
            .select([
              sql<string>`${actor}::text`.as('actor'),
              sql<string>`${operation}::text`.as('operation'),
              sql<string>`${this.table}::text`.as('entity_type'),
              'changed.id as entity_id',
              sql<string>`'ok'`.as('outcome'),
              sql<string>`${reason}::text`.as('reason'),
              sql<string>`${requestId}::text`.as('request_id'),
            ]),
        ),
    );
  }

  /** A page of a view as JSON; for `details` see `page`. */
  protected page(view: View, sort: Sort, request: PageRequest, details?: View): Promise<Page> {
    return page(this.scope, view, sort, request, details);
  }
}

/** The one row of a view as JSON. */
export function documentStatement(db: ProductUserScope['db'], view: View): Compilable<JsonDocument> {
  return db
    .selectFrom(view.as('r'))
    .select([sql<string>`row_to_json(r)::text`.as('json'), sql<number>`r.version`.as('version')]);
}

/** @throws Problem `not_found`; the same whether the row is another user's or nobody's (I8) */
export function found<T>(row: T | undefined, what: string): T {
  if (row === undefined) throw problem('not_found', `There is no such ${what}.`);
  return row;
}
