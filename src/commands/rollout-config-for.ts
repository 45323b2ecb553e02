/** The rollout's configuration for a database: a file's, and where the database is ours what our own schema needs. */
import { configFor } from '../database/own-rollout.ts';
import type { Connection } from '../rollout/connection.ts';
import { loadRolloutConfig, type RolloutConfig } from '../rollout/rollout-config.ts';

/** @param file the path given by `--config` */
export async function rolloutConfigFor(client: Connection, file: string | undefined): Promise<RolloutConfig> {
  return configFor(client, await loadRolloutConfig(file, process.cwd()));
}
