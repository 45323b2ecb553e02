import type { ClientBase } from 'pg';
import type { Catalog } from './catalog.ts';
import type { Finding } from './finding.ts';
import type { RolloutConfig } from './rollout-config.ts';
import type { FoundUsers } from './users-table.ts';

/** What a decision about owners goes by. */
export interface Context {
  readonly client: ClientBase;
  readonly catalog: Catalog;
  readonly config: RolloutConfig;
  readonly users: FoundUsers | null;
  /** Added to as something cannot be decided. */
  readonly findings: Finding[];
}
