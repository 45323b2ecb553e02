/**
 * What every repository extends. A repository is made for one user's scope and for nothing else: there is no way to
 * make one without a user, none to change the user afterwards, and it is dead with its scope's transaction.
 *
 * The statements never name the user: the scope's owner filter adds the user to each of them, and Postgres checks again.
 */
import { type SelectQueryBuilder, sql } from 'kysely';
import type { ProductUserScope } from '../database/isolation.ts';
import type { Database } from '../database/tables.gen.ts';
import { problem } from '../errors.ts';
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

export abstract class BaseUserScopedRepository {
  protected readonly scope: ProductUserScope;

  constructor(scope: ProductUserScope) {
    if (!scope?.caller) throw new TypeError('a repository needs the scope of a user');
    this.scope = scope;
  }

  protected get db(): ProductUserScope['db'] {
    return this.scope.db;
  }

  /** The one row of a view as JSON, or undefined. */
  protected async document(view: View): Promise<JsonDocument | undefined> {
    return this.scope.first<JsonDocument>(
      this.db
        .selectFrom(view.as('r'))
        .select([sql<string>`row_to_json(r)::text`.as('json'), sql<number>`r.version`.as('version')]),
    );
  }

  /** Runs a statement about one row. @returns whether the row was there */
  protected async changed(query: Compilable<unknown>): Promise<boolean> {
    return (await this.scope.run(query)) > 0;
  }

  /** A page of a view as JSON. */
  protected page(view: View, sort: Sort, request: PageRequest): Promise<Page> {
    return page(this.scope, view, sort, request);
  }
}

/** @throws Problem `not_found`; the same whether the row is another user's or nobody's (I8) */
export function found<T>(row: T | undefined, what: string): T {
  if (row === undefined) throw problem('not_found', `There is no such ${what}.`);
  return row;
}
