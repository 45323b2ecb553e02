/**
 * `ringfence/isolation`: the isolation core for other programs. Give it the catalogue of your own tables and two
 * log-ins, and reach rows through scopes alone. The migration that prepares a database is
 * database/migrations/003_add_user_isolation.sql; its identity part is database/isolation/identity.sql.
 */
export { ConnectionPool, type ConnectionPoolOptions, DeadHandleError, type Statement } from './connection.ts';
export {
  deriveIdentityKey,
  type IdentityKey,
  identityKeyPads,
  mintIdentity,
  parseUserId,
  type UserId,
} from './identity.ts';
export type { TableOwnership } from './owned-tables.ts';
export { type Ownership, UnconfinedStatementError } from './owner-filter.ts';
export {
  type AccountsScope,
  type Caller,
  type Compilable,
  type Enforcement,
  Isolation,
  type IsolationOptions,
  type StatementRunner,
  type SystemScope,
  type SystemUse,
  type UserScope,
} from './scope.ts';
