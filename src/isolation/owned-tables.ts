/**
 * The catalogue of tables and whose their rows are. Adding a table to the product is one migration and one entry here:
 * the isolation migration, the transformer, the grants, the erasure of a user and the tests all read this list, and a
 * test fails when the database holds a table that is in neither of the lists below.
 */

/** A foreign key between two owned tables. It always carries the owner: `(user_id, column)` → `(user_id, id)` (I5). */
export interface OwnedReference {
  readonly column: string;
  readonly table: string;
  readonly onDelete: 'cascade' | 'set null';
}

export interface OwnedTable {
  readonly table: string;
  /** Foreign keys to other owned tables. The first one that cascades is the parent whose owner a new row takes. */
  readonly references: readonly OwnedReference[];
  /** Unique constraints of the schema before isolation; each gets `user_id` in front. Name and columns. */
  readonly unique: readonly { readonly name: string; readonly columns: readonly string[] }[];
  /** Indexes for lists in the owner's order, beside those that keys and references bring. Columns after `user_id`. */
  readonly lists: readonly (readonly string[])[];
  /** Indexes that the schema before isolation had for lists over all rows. Name and columns. */
  readonly unscoped: readonly { readonly name: string; readonly columns: readonly string[] }[];
  /** Columns that the application may change in place; empty for rows that are only made and removed. */
  readonly updatable: readonly string[];
}

/** Parents before children: erasing goes through it backwards. */
export const ownedTables = [
  {
    table: 'projects',
    references: [],
    unique: [],
    lists: [['created_at', 'id']],
    unscoped: [{ name: 'idx_projects_created_at', columns: ['created_at', 'id'] }],
    updatable: ['name', 'description', 'status', 'metadata', 'version', 'updated_at'],
  },
  {
    table: 'agents',
    references: [],
    unique: [{ name: 'uq_agents_name', columns: ['name'] }],
    lists: [],
    unscoped: [],
    updatable: [
      'name',
      'description',
      'role',
      'capabilities',
      'status',
      'availability_score',
      'last_active_at',
      'metadata',
      'version',
      'updated_at',
    ],
  },
  {
    table: 'project_git_branchs',
    references: [
      { column: 'project_id', table: 'projects', onDelete: 'cascade' },
      { column: 'assigned_agent_id', table: 'agents', onDelete: 'set null' },
    ],
    unique: [{ name: 'uq_project_git_branchs_name', columns: ['project_id', 'name'] }],
    lists: [],
    unscoped: [],
    updatable: ['name', 'description', 'assigned_agent_id', 'priority', 'status', 'metadata', 'version', 'updated_at'],
  },
  {
    table: 'tasks',
    references: [{ column: 'git_branch_id', table: 'project_git_branchs', onDelete: 'cascade' }],
    unique: [],
    lists: [['created_at', 'id']],
    unscoped: [{ name: 'idx_tasks_created_at', columns: ['created_at', 'id'] }],
    updatable: [
      'git_branch_id',
      'title',
      'description',
      'details',
      'status',
      'archived_from',
      'priority',
      'estimated_effort',
      'due_date',
      'completed_at',
      'completion_summary',
      'testing_notes',
      'context_id',
      'progress_percentage',
      'version',
      'updated_at',
    ],
  },
  {
    table: 'task_subtasks',
    references: [{ column: 'task_id', table: 'tasks', onDelete: 'cascade' }],
    unique: [],
    lists: [],
    unscoped: [],
    updatable: [
      'title',
      'description',
      'status',
      'priority',
      'assignees',
      'estimated_effort',
      'progress_percentage',
      'progress_notes',
      'blockers',
      'completion_summary',
      'impact_on_parent',
      'insights_found',
      'completed_at',
      'version',
      'updated_at',
    ],
  },
  {
    table: 'task_dependencies',
    references: [
      { column: 'task_id', table: 'tasks', onDelete: 'cascade' },
      { column: 'depends_on_task_id', table: 'tasks', onDelete: 'cascade' },
    ],
    unique: [{ name: 'uq_task_dependencies_pair', columns: ['task_id', 'depends_on_task_id'] }],
    lists: [],
    unscoped: [],
    updatable: [],
  },
  {
    table: 'task_assignees',
    references: [
      { column: 'task_id', table: 'tasks', onDelete: 'cascade' },
      { column: 'agent_id', table: 'agents', onDelete: 'set null' },
    ],
    unique: [{ name: 'uq_task_assignees_pair', columns: ['task_id', 'assignee_id'] }],
    lists: [],
    unscoped: [],
    updatable: [],
  },
  {
    table: 'labels',
    references: [],
    unique: [{ name: 'uq_labels_name', columns: ['name'] }],
    lists: [],
    unscoped: [],
    updatable: ['name', 'color', 'description', 'version', 'updated_at'],
  },
  {
    table: 'task_labels',
    references: [
      { column: 'task_id', table: 'tasks', onDelete: 'cascade' },
      { column: 'label_id', table: 'labels', onDelete: 'cascade' },
    ],
    unique: [{ name: 'uq_task_labels_pair', columns: ['task_id', 'label_id'] }],
    lists: [],
    unscoped: [],
    updatable: [],
  },
  {
    table: 'rules',
    references: [
      { column: 'project_id', table: 'projects', onDelete: 'cascade' },
      { column: 'git_branch_id', table: 'project_git_branchs', onDelete: 'cascade' },
      { column: 'parent_rule_id', table: 'rules', onDelete: 'set null' },
    ],
    unique: [],
    lists: [],
    unscoped: [],
    updatable: [
      'name',
      'content',
      'parent_rule_id',
      'scope',
      'project_id',
      'git_branch_id',
      'priority',
      'enabled',
      'version',
      'updated_at',
    ],
  },
  {
    table: 'global_contexts',
    references: [],
    unique: [],
    lists: [],
    unscoped: [],
    updatable: [
      'organization_id',
      'organization_standards',
      'security_policies',
      'compliance_requirements',
      'shared_resources',
      'reusable_patterns',
      'global_preferences',
      'delegation_rules',
      'nested_structure',
      'version',
      'updated_at',
    ],
  },
  {
    table: 'project_contexts',
    references: [
      { column: 'project_id', table: 'projects', onDelete: 'cascade' },
      { column: 'parent_global_id', table: 'global_contexts', onDelete: 'set null' },
    ],
    unique: [{ name: 'uq_project_contexts_project_id', columns: ['project_id'] }],
    lists: [],
    unscoped: [],
    updatable: [
      'parent_global_id',
      'data',
      'project_info',
      'team_preferences',
      'technology_stack',
      'project_workflow',
      'local_standards',
      'project_settings',
      'technical_specifications',
      'global_overrides',
      'delegation_rules',
      'inheritance_disabled',
      'version',
      'updated_at',
    ],
  },
  {
    table: 'branch_contexts',
    references: [
      { column: 'branch_id', table: 'project_git_branchs', onDelete: 'cascade' },
      { column: 'parent_project_id', table: 'project_contexts', onDelete: 'set null' },
    ],
    unique: [{ name: 'uq_branch_contexts_branch_id', columns: ['branch_id'] }],
    lists: [],
    unscoped: [],
    updatable: [
      'parent_project_id',
      'data',
      'branch_info',
      'branch_workflow',
      'feature_flags',
      'discovered_patterns',
      'branch_decisions',
      'active_patterns',
      'local_overrides',
      'delegation_rules',
      'inheritance_disabled',
      'version',
      'updated_at',
    ],
  },
  {
    table: 'task_contexts_unified',
    references: [
      { column: 'task_id', table: 'tasks', onDelete: 'cascade' },
      { column: 'parent_branch_id', table: 'project_git_branchs', onDelete: 'set null' },
      { column: 'parent_branch_context_id', table: 'branch_contexts', onDelete: 'set null' },
    ],
    unique: [{ name: 'uq_task_contexts_unified_task_id', columns: ['task_id'] }],
    lists: [],
    unscoped: [],
    updatable: [
      'parent_branch_id',
      'parent_branch_context_id',
      'data',
      'task_data',
      'execution_context',
      'discovered_patterns',
      'implementation_notes',
      'test_results',
      'blockers',
      'local_decisions',
      'delegation_queue',
      'local_overrides',
      'delegation_triggers',
      'inheritance_disabled',
      'force_local_only',
      'version',
      'updated_at',
    ],
  },
] as const satisfies readonly OwnedTable[];

/** The parent whose owner a new row takes; rows of a table without one are roots of what a user has. */
export function parentOf(table: OwnedTable): OwnedReference | undefined {
  return table.references.find((reference) => reference.onDelete === 'cascade');
}

export type OwnedTableName = (typeof ownedTables)[number]['table'];

/**
 * Accounts' own rows. They name their user from the start (002) and stay behind the user filter even while
 * USER_ISOLATION_ENABLED is false. `column` is the one that holds the user; the grants are the application role's.
 */
export interface AccountTable {
  readonly table: string;
  readonly column: 'id' | 'user_id';
  /** As of an owned table: indexes for lists over all rows that the schema before isolation had. */
  readonly unscoped?: OwnedTable['unscoped'];
  /** What the application role may do; the column lists keep secrets and the owner out of its reach. */
  readonly grants: readonly string[];
  /** What the system role may do: what system mode needs, and users while isolation is off. Never a hash. */
  readonly systemGrants: readonly string[];
  /** What the accounts role may do, before anybody is known; empty where it has no business. */
  readonly accountsGrants: readonly string[];
}

export const accountTables = [
  {
    table: 'users',
    column: 'id',
    // Never the password hash: it is read in the accounts scope alone.
    grants: [
      'select (id, email, name, roles, status, tokens_valid_after, external_issuer, last_login_at, version, created_at, updated_at)',
      'update (name, version, updated_at)',
      // Erasing oneself. Refused while a row of the user is left in any owned table (no cascade from those).
      'delete',
    ],
    // No change of roles or status: only the accounts role makes administrators.
    systemGrants: [
      'select (id, email, name, roles, status, tokens_valid_after, external_issuer, last_login_at, failed_login_attempts, locked_until, version, created_at, updated_at)',
      'update (name, version, updated_at)',
      'delete',
    ],
    accountsGrants: [
      'select (id, email, name, password_hash, external_issuer, external_subject, roles, status, tokens_valid_after, last_login_at, failed_login_attempts, locked_until, version, created_at, updated_at)',
      'insert (id, email, name, password_hash, external_issuer, external_subject)',
      'update (password_hash, roles, tokens_valid_after, last_login_at, failed_login_attempts, locked_until, version, updated_at)',
    ],
  },
  {
    table: 'sessions',
    column: 'user_id',
    grants: [
      'select (user_id, id, rotated_at, expires_at, revoked_at, revoked_reason, user_agent, created_at)',
      'update (revoked_at, revoked_reason)',
    ],
    systemGrants: [
      'select (user_id, id, rotated_at, expires_at, revoked_at, revoked_reason, user_agent, created_at)',
      'update (revoked_at, revoked_reason)',
    ],
    accountsGrants: [
      'select (user_id, id, token_hash, previous_token_hash, rotated_at, expires_at, revoked_at)',
      'insert (user_id, id, token_hash, expires_at, user_agent)',
      'update (token_hash, previous_token_hash, rotated_at, expires_at, revoked_at, revoked_reason)',
    ],
  },
  {
    table: 'api_tokens',
    column: 'user_id',
    grants: [
      'select (user_id, id, name, scopes, expires_at, revoked_at, last_used_at, usage_count, created_at)',
      'insert',
      'update (revoked_at)',
    ],
    systemGrants: [
      'select (user_id, id, name, scopes, expires_at, revoked_at, last_used_at, usage_count, created_at)',
      'insert (user_id, id, name, token_hash, scopes, expires_at)',
      'update (revoked_at)',
    ],
    accountsGrants: [
      'select (user_id, id, token_hash, scopes, expires_at, revoked_at, last_used_at, usage_count)',
      'update (last_used_at, usage_count)',
    ],
  },
  {
    // Append-only: to be read and added to, in system mode too.
    table: 'user_access_log',
    column: 'user_id',
    unscoped: [{ name: 'idx_user_access_log_at', columns: ['at', 'id'] }],
    grants: ['select', 'insert'],
    systemGrants: ['select', 'insert'],
    accountsGrants: ['insert (user_id, id, actor, operation, entity_type, outcome, reason, request_id)'],
  },
  {
    table: 'idempotency_keys',
    column: 'user_id',
    grants: ['select', 'insert', 'update (response_status, response_body)', 'delete'],
    systemGrants: ['select', 'insert', 'update (response_status, response_body)', 'delete'],
    accountsGrants: [],
  },
] as const satisfies readonly AccountTable[];

export type AccountTableName = (typeof accountTables)[number]['table'];

/** Tables without an owner, and why nobody's rows can be in them. The application role may read them. */
export const sharedTables = [
  { table: 'ringfence_migrations', reason: 'the ledger of migrations: names and times' },
] as const;

/** Owner of rows that nobody has claimed. Nobody can sign in as this user; its rows show in system mode alone. */
export const quarantineUserId = '00000000-0000-4000-8000-000000000000';

/**
 * The mark of statements over all users' rows: the unscoped indexes are partial on it, so only a statement that says it can
 * use them. Otherwise the planner answers a user's look-up from an index on `id` alone, and the time tells a hidden row
 * from an absent one (1.3–3.2 µs, isolation notes no. 36). Only the system role can say it (database/isolation/system-mode.sql).
 *
 * A comparison of the id itself would not do: from `id = '…'` the planner proves `id <> '0…'` and takes the index all
 * the same (seen on 18.4; test/isolation/plans.test.ts).
 */
export const everybody = 'ringfence_system_mode.every';
export const everybodyMark = `${everybody}(id)`;

/** Whose rows a table holds: the column with the user, and where a new row's owner comes from. */
export interface TableOwnership {
  readonly column: 'user_id' | 'id';
  /** `account` rows stay with their user even while isolation is off. */
  readonly kind: 'owned' | 'account';
  readonly references: OwnedTable['references'];
}

/** The catalogue as the owner filter reads it. */
export const ownership: ReadonlyMap<string, TableOwnership> = new Map<string, TableOwnership>([
  ...ownedTables.map(({ table, references }) => [table, { column: 'user_id', kind: 'owned', references }] as const),
  ...accountTables.map(({ table, column }) => [table, { column, kind: 'account', references: [] }] as const),
]);
