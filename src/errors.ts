/**
 * The one error table. A fault that a caller may see is a `Problem` with a code from here; the table says what HTTP
 * status, exit code and title it has and whether trying again can help. Anything else that is thrown is our own fault:
 * it becomes `internal_error`, carries a request id and tells nothing more.
 *
 * Sources: RFC 9457 (problem details), RFC 9110 (status codes), the deployment guide's texts for G64 and G68.
 */

interface ProblemKind {
  readonly status: number;
  readonly title: string;
  /** True when the same request may succeed later without being changed. */
  readonly retryable: boolean;
  /** Exit code of the CLI: 1 findings, 2 usage, 3 failed. */
  readonly exit: 1 | 2 | 3;
}

const usage = { retryable: false, exit: 2 } as const;
const failed = { retryable: false, exit: 3 } as const;
const transient = { retryable: true, exit: 3 } as const;

export const problemKinds = {
  // The request itself
  malformed_request: { status: 400, title: 'The request cannot be read', ...usage },
  validation_failed: { status: 400, title: 'The request is not valid', ...usage },
  invalid_cursor: { status: 400, title: 'The cursor is not valid', ...usage },
  payload_too_large: { status: 413, title: 'The body is too large', ...usage },
  unsupported_media_type: { status: 415, title: 'The body has an unsupported type', ...usage },
  uri_too_long: { status: 414, title: 'The address is too long', ...usage },
  headers_too_large: { status: 431, title: 'The headers are too large', ...usage },
  request_timeout: { status: 408, title: 'The request took too long to arrive', ...transient },
  // Who is asking
  unauthenticated: { status: 401, title: 'Authentication is required', ...failed },
  invalid_credentials: { status: 401, title: 'The credentials are not valid', ...failed },
  insufficient_scope: { status: 403, title: 'The token does not allow this', ...failed },
  admin_required: { status: 403, title: 'Administrator rights are required', ...failed },
  account_locked: { status: 429, title: 'Too many failed attempts', ...transient },
  rate_limited: { status: 429, title: 'Too many requests', ...transient },
  // The resource
  not_found: { status: 404, title: 'Not found', ...failed },
  method_not_allowed: { status: 405, title: 'Method not allowed', ...usage },
  conflict: { status: 409, title: 'The request conflicts with the present state', ...failed },
  already_exists: { status: 409, title: 'It exists already', ...failed },
  transition_refused: { status: 409, title: 'The status cannot change like that', ...failed },
  dependency_cycle: { status: 409, title: 'The dependency would close a cycle', ...failed },
  dependencies_unfinished: { status: 409, title: 'Something it depends on is unfinished', ...failed },
  subtasks_unfinished: { status: 409, title: 'A subtask is unfinished', ...failed },
  version_mismatch: { status: 412, title: 'It was changed in the meantime', ...failed },
  idempotency_key_reused: { status: 422, title: 'The idempotency key was used for another request', ...failed },
  limit_reached: { status: 409, title: 'A limit is reached', ...failed },
  // The server
  internal_error: { status: 500, title: 'Internal error', ...transient },
  unavailable: { status: 503, title: 'The service is not available', ...transient },
  database_unavailable: { status: 503, title: 'The database is not available', ...transient },
  // The command line and the start
  statement_failed: { status: 400, title: 'The statement failed', ...failed },
  usage_error: { status: 400, title: 'The command is not valid', ...usage },
  config_invalid: { status: 500, title: 'The configuration is not valid', ...usage },
  data_directory_in_use: { status: 503, title: 'The data directory is in use', ...failed },
  postgres_failed_to_start: { status: 503, title: 'Postgres did not start', ...failed },
  port_in_use: { status: 503, title: 'The port is in use', ...failed },
  migration_failed: { status: 503, title: 'The migration failed', ...failed },
  // The rollout
  rollout_refused: { status: 409, title: 'The rollout is refused', retryable: false, exit: 1 },
  rollout_in_progress: { status: 409, title: 'Another rollout command is at work', ...transient },
  rollout_failed: { status: 503, title: 'A step of the rollout failed', ...transient },
  unsafe_database_role: { status: 503, title: 'The database role is not safe to serve with', ...failed },
} as const satisfies Record<string, ProblemKind>;

export type ProblemCode = keyof typeof problemKinds;

/** Further members of the problem document; only what the caller may know. */
export type ProblemExtensions = Readonly<Record<string, unknown>>;

export class Problem extends Error {
  override readonly name = 'Problem';
  readonly code: ProblemCode;
  readonly extensions: ProblemExtensions;

  constructor(code: ProblemCode, detail: string, extensions: ProblemExtensions = {}, options?: ErrorOptions) {
    super(detail, options);
    this.code = code;
    this.extensions = extensions;
  }

  get kind(): ProblemKind {
    return problemKinds[this.code];
  }
}

/**
 * Makes a fault that the caller may see.
 *
 * @param code an entry of the table above
 * @param detail one sentence: which field, what was wrong, what is allowed
 * @param extensions further members of the problem document (RFC 9457 §3.2)
 */
export function problem(
  code: ProblemCode,
  detail: string,
  extensions?: ProblemExtensions,
  options?: ErrorOptions,
): Problem {
  return new Problem(code, detail, extensions, options);
}
