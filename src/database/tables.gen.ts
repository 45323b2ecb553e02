// Generated from a migrated database by `npm run generate`; do not edit.
import type { ColumnType } from 'kysely';

export interface AgentsTable {
  id: string;
  name: string;
  description: ColumnType<string, string | undefined, string>;
  role: ColumnType<string, string | undefined, string>;
  capabilities: ColumnType<string[], string[] | undefined, string[]>;
  status: ColumnType<string, string | undefined, string>;
  availability_score: ColumnType<number, number | undefined, number>;
  last_active_at: ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
  metadata: ColumnType<unknown, string | undefined, string>;
  version: ColumnType<number, number | undefined, number>;
  created_at: ColumnType<Date, Date | string | undefined, Date | string>;
  updated_at: ColumnType<Date, Date | string | undefined, Date | string>;
  user_id: ColumnType<string, string | undefined, string>;
}

export interface ApiTokensTable {
  user_id: ColumnType<string, string | undefined, string>;
  id: string;
  name: string;
  token_hash: Buffer;
  scopes: string[];
  expires_at: ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
  revoked_at: ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
  last_used_at: ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
  usage_count: ColumnType<number, number | undefined, number>;
  created_at: ColumnType<Date, Date | string | undefined, Date | string>;
}

export interface BranchContextsTable {
  id: string;
  branch_id: string;
  parent_project_id: ColumnType<string | null, string | null | undefined, string | null>;
  data: ColumnType<unknown, string | undefined, string>;
  branch_info: ColumnType<unknown, string | undefined, string>;
  branch_workflow: ColumnType<unknown, string | undefined, string>;
  feature_flags: ColumnType<unknown, string | undefined, string>;
  discovered_patterns: ColumnType<unknown, string | undefined, string>;
  branch_decisions: ColumnType<unknown, string | undefined, string>;
  active_patterns: ColumnType<unknown, string | undefined, string>;
  local_overrides: ColumnType<unknown, string | undefined, string>;
  delegation_rules: ColumnType<unknown, string | undefined, string>;
  inheritance_disabled: ColumnType<boolean, boolean | undefined, boolean>;
  version: ColumnType<number, number | undefined, number>;
  created_at: ColumnType<Date, Date | string | undefined, Date | string>;
  updated_at: ColumnType<Date, Date | string | undefined, Date | string>;
  user_id: ColumnType<string, string | undefined, string>;
}

export interface GlobalContextsTable {
  id: string;
  organization_id: ColumnType<string, string | undefined, string>;
  organization_standards: ColumnType<unknown, string | undefined, string>;
  security_policies: ColumnType<unknown, string | undefined, string>;
  compliance_requirements: ColumnType<unknown, string | undefined, string>;
  shared_resources: ColumnType<unknown, string | undefined, string>;
  reusable_patterns: ColumnType<unknown, string | undefined, string>;
  global_preferences: ColumnType<unknown, string | undefined, string>;
  delegation_rules: ColumnType<unknown, string | undefined, string>;
  nested_structure: ColumnType<unknown, string | undefined, string>;
  version: ColumnType<number, number | undefined, number>;
  created_at: ColumnType<Date, Date | string | undefined, Date | string>;
  updated_at: ColumnType<Date, Date | string | undefined, Date | string>;
  user_id: ColumnType<string, string | undefined, string>;
}

export interface IdempotencyKeysTable {
  user_id: ColumnType<string, string | undefined, string>;
  id: string;
  key: string;
  request_hash: Buffer;
  response_status: ColumnType<number | null, number | null | undefined, number | null>;
  response_body: ColumnType<string | null, string | null | undefined, string | null>;
  created_at: ColumnType<Date, Date | string | undefined, Date | string>;
}

export interface LabelsTable {
  id: string;
  name: string;
  color: ColumnType<string, string | undefined, string>;
  description: ColumnType<string, string | undefined, string>;
  version: ColumnType<number, number | undefined, number>;
  created_at: ColumnType<Date, Date | string | undefined, Date | string>;
  updated_at: ColumnType<Date, Date | string | undefined, Date | string>;
  user_id: ColumnType<string, string | undefined, string>;
}

export interface ProjectContextsTable {
  id: string;
  project_id: string;
  parent_global_id: ColumnType<string | null, string | null | undefined, string | null>;
  data: ColumnType<unknown, string | undefined, string>;
  project_info: ColumnType<unknown, string | undefined, string>;
  team_preferences: ColumnType<unknown, string | undefined, string>;
  technology_stack: ColumnType<unknown, string | undefined, string>;
  project_workflow: ColumnType<unknown, string | undefined, string>;
  local_standards: ColumnType<unknown, string | undefined, string>;
  project_settings: ColumnType<unknown, string | undefined, string>;
  technical_specifications: ColumnType<unknown, string | undefined, string>;
  global_overrides: ColumnType<unknown, string | undefined, string>;
  delegation_rules: ColumnType<unknown, string | undefined, string>;
  inheritance_disabled: ColumnType<boolean, boolean | undefined, boolean>;
  version: ColumnType<number, number | undefined, number>;
  created_at: ColumnType<Date, Date | string | undefined, Date | string>;
  updated_at: ColumnType<Date, Date | string | undefined, Date | string>;
  user_id: ColumnType<string, string | undefined, string>;
}

export interface ProjectGitBranchsTable {
  id: string;
  project_id: string;
  name: string;
  description: ColumnType<string, string | undefined, string>;
  assigned_agent_id: ColumnType<string | null, string | null | undefined, string | null>;
  priority: ColumnType<string, string | undefined, string>;
  status: ColumnType<string, string | undefined, string>;
  metadata: ColumnType<unknown, string | undefined, string>;
  version: ColumnType<number, number | undefined, number>;
  created_at: ColumnType<Date, Date | string | undefined, Date | string>;
  updated_at: ColumnType<Date, Date | string | undefined, Date | string>;
  user_id: ColumnType<string, string | undefined, string>;
}

export interface ProjectsTable {
  id: string;
  name: string;
  description: ColumnType<string, string | undefined, string>;
  status: ColumnType<string, string | undefined, string>;
  metadata: ColumnType<unknown, string | undefined, string>;
  version: ColumnType<number, number | undefined, number>;
  created_at: ColumnType<Date, Date | string | undefined, Date | string>;
  updated_at: ColumnType<Date, Date | string | undefined, Date | string>;
  user_id: ColumnType<string, string | undefined, string>;
}

export interface RingfenceMigrationsTable {
  version: number;
  name: string;
  applied_at: ColumnType<Date, Date | string | undefined, Date | string>;
}

export interface RulesTable {
  id: string;
  name: string;
  content: string;
  parent_rule_id: ColumnType<string | null, string | null | undefined, string | null>;
  scope: ColumnType<string, string | undefined, string>;
  project_id: ColumnType<string | null, string | null | undefined, string | null>;
  git_branch_id: ColumnType<string | null, string | null | undefined, string | null>;
  priority: ColumnType<number, number | undefined, number>;
  enabled: ColumnType<boolean, boolean | undefined, boolean>;
  version: ColumnType<number, number | undefined, number>;
  created_at: ColumnType<Date, Date | string | undefined, Date | string>;
  updated_at: ColumnType<Date, Date | string | undefined, Date | string>;
  user_id: ColumnType<string, string | undefined, string>;
}

export interface SessionsTable {
  user_id: ColumnType<string, string | undefined, string>;
  id: string;
  token_hash: Buffer;
  previous_token_hash: ColumnType<Buffer | null, Buffer | null | undefined, Buffer | null>;
  rotated_at: ColumnType<Date, Date | string | undefined, Date | string>;
  expires_at: ColumnType<Date, Date | string, Date | string>;
  revoked_at: ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
  revoked_reason: ColumnType<string | null, string | null | undefined, string | null>;
  user_agent: ColumnType<string, string | undefined, string>;
  created_at: ColumnType<Date, Date | string | undefined, Date | string>;
}

export interface TaskAssigneesTable {
  id: string;
  task_id: string;
  assignee_id: string;
  agent_id: ColumnType<string | null, string | null | undefined, string | null>;
  role: ColumnType<string, string | undefined, string>;
  assigned_at: ColumnType<Date, Date | string | undefined, Date | string>;
  user_id: ColumnType<string, string | undefined, string>;
}

export interface TaskContextsUnifiedTable {
  id: string;
  task_id: string;
  parent_branch_id: ColumnType<string | null, string | null | undefined, string | null>;
  parent_branch_context_id: ColumnType<string | null, string | null | undefined, string | null>;
  data: ColumnType<unknown, string | undefined, string>;
  task_data: ColumnType<unknown, string | undefined, string>;
  execution_context: ColumnType<unknown, string | undefined, string>;
  discovered_patterns: ColumnType<unknown, string | undefined, string>;
  implementation_notes: ColumnType<unknown, string | undefined, string>;
  test_results: ColumnType<unknown, string | undefined, string>;
  blockers: ColumnType<unknown, string | undefined, string>;
  local_decisions: ColumnType<unknown, string | undefined, string>;
  delegation_queue: ColumnType<unknown, string | undefined, string>;
  local_overrides: ColumnType<unknown, string | undefined, string>;
  delegation_triggers: ColumnType<unknown, string | undefined, string>;
  inheritance_disabled: ColumnType<boolean, boolean | undefined, boolean>;
  force_local_only: ColumnType<boolean, boolean | undefined, boolean>;
  version: ColumnType<number, number | undefined, number>;
  created_at: ColumnType<Date, Date | string | undefined, Date | string>;
  updated_at: ColumnType<Date, Date | string | undefined, Date | string>;
  user_id: ColumnType<string, string | undefined, string>;
}

export interface TaskDependenciesTable {
  id: string;
  task_id: string;
  depends_on_task_id: string;
  dependency_type: ColumnType<string, string | undefined, string>;
  created_at: ColumnType<Date, Date | string | undefined, Date | string>;
  user_id: ColumnType<string, string | undefined, string>;
}

export interface TaskLabelsTable {
  id: string;
  task_id: string;
  label_id: string;
  applied_at: ColumnType<Date, Date | string | undefined, Date | string>;
  user_id: ColumnType<string, string | undefined, string>;
}

export interface TaskSubtasksTable {
  id: string;
  task_id: string;
  title: string;
  description: ColumnType<string, string | undefined, string>;
  status: ColumnType<string, string | undefined, string>;
  priority: ColumnType<string, string | undefined, string>;
  assignees: ColumnType<string[], string[] | undefined, string[]>;
  estimated_effort: ColumnType<string, string | undefined, string>;
  progress_percentage: ColumnType<number, number | undefined, number>;
  progress_notes: ColumnType<string, string | undefined, string>;
  blockers: ColumnType<string, string | undefined, string>;
  completion_summary: ColumnType<string, string | undefined, string>;
  impact_on_parent: ColumnType<string, string | undefined, string>;
  insights_found: ColumnType<string[], string[] | undefined, string[]>;
  completed_at: ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
  version: ColumnType<number, number | undefined, number>;
  created_at: ColumnType<Date, Date | string | undefined, Date | string>;
  updated_at: ColumnType<Date, Date | string | undefined, Date | string>;
  user_id: ColumnType<string, string | undefined, string>;
}

export interface TasksTable {
  id: string;
  git_branch_id: string;
  title: string;
  description: string;
  details: ColumnType<string, string | undefined, string>;
  status: ColumnType<string, string | undefined, string>;
  archived_from: ColumnType<string | null, string | null | undefined, string | null>;
  priority: ColumnType<string, string | undefined, string>;
  priority_rank: ColumnType<number, never, never>;
  estimated_effort: ColumnType<string, string | undefined, string>;
  due_date: ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
  completed_at: ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
  completion_summary: ColumnType<string, string | undefined, string>;
  testing_notes: ColumnType<string, string | undefined, string>;
  context_id: ColumnType<string | null, string | null | undefined, string | null>;
  progress_percentage: ColumnType<number, number | undefined, number>;
  version: ColumnType<number, number | undefined, number>;
  created_at: ColumnType<Date, Date | string | undefined, Date | string>;
  updated_at: ColumnType<Date, Date | string | undefined, Date | string>;
  user_id: ColumnType<string, string | undefined, string>;
}

export interface UserAccessLogTable {
  user_id: ColumnType<string, string | undefined, string>;
  id: ColumnType<string, string | undefined, string>;
  at: ColumnType<Date, Date | string | undefined, Date | string>;
  actor: string;
  operation: string;
  entity_type: ColumnType<string, string | undefined, string>;
  entity_id: ColumnType<string | null, string | null | undefined, string | null>;
  outcome: string;
  reason: ColumnType<string, string | undefined, string>;
  request_id: ColumnType<string, string | undefined, string>;
}

export interface UsersTable {
  id: string;
  email: string;
  name: string;
  password_hash: ColumnType<string | null, string | null | undefined, string | null>;
  external_issuer: ColumnType<string | null, string | null | undefined, string | null>;
  external_subject: ColumnType<string | null, string | null | undefined, string | null>;
  roles: ColumnType<string[], string[] | undefined, string[]>;
  status: ColumnType<string, string | undefined, string>;
  tokens_valid_after: ColumnType<Date, Date | string | undefined, Date | string>;
  last_login_at: ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
  failed_login_attempts: ColumnType<number, number | undefined, number>;
  locked_until: ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
  version: ColumnType<number, number | undefined, number>;
  created_at: ColumnType<Date, Date | string | undefined, Date | string>;
  updated_at: ColumnType<Date, Date | string | undefined, Date | string>;
}

export interface Database {
  agents: AgentsTable;
  api_tokens: ApiTokensTable;
  branch_contexts: BranchContextsTable;
  global_contexts: GlobalContextsTable;
  idempotency_keys: IdempotencyKeysTable;
  labels: LabelsTable;
  project_contexts: ProjectContextsTable;
  project_git_branchs: ProjectGitBranchsTable;
  projects: ProjectsTable;
  ringfence_migrations: RingfenceMigrationsTable;
  rules: RulesTable;
  sessions: SessionsTable;
  task_assignees: TaskAssigneesTable;
  task_contexts_unified: TaskContextsUnifiedTable;
  task_dependencies: TaskDependenciesTable;
  task_labels: TaskLabelsTable;
  task_subtasks: TaskSubtasksTable;
  tasks: TasksTable;
  user_access_log: UserAccessLogTable;
  users: UsersTable;
}
