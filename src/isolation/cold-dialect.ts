/**
 * Kysely builds statements here and never runs them: a scope does, inside its transaction. The stock dummy driver would
 * answer a forgotten `.execute()` with no rows, which is the quiet failure this project exists to prevent.
 */
import { type Dialect, type Driver, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } from 'kysely';

function refuse(): never {
  throw new Error('this builder runs nothing by itself: hand the query to scope.all, scope.first or scope.run');
}

const driver: Driver = {
  init: async () => {},
  acquireConnection: async () => refuse(),
  beginTransaction: async () => refuse(),
  commitTransaction: async () => refuse(),
  rollbackTransaction: async () => refuse(),
  releaseConnection: async () => {},
  destroy: async () => {},
};

export const coldDialect: Dialect = {
  createAdapter: () => new PostgresAdapter(),
  createDriver: () => driver,
  createIntrospector: (db) => new PostgresIntrospector(db),
  createQueryCompiler: () => new PostgresQueryCompiler(),
};
