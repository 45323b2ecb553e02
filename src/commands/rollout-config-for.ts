/** The rollout's configuration for a database: a file's, or our own schema's where the database is ours. */
import type { Connection } from '../rollout/connection.ts';
import { loadRolloutConfig, type RolloutConfig } from '../rollout/rollout-config.ts';

export async function rolloutConfigFor(_client: Connection, file: string | undefined): Promise<RolloutConfig> {
  return loadRolloutConfig(file, process.cwd());
}
