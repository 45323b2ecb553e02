import type { Config } from '../config.ts';
import { migrationStatus } from '../database/migrations.ts';
import { provision } from '../database/provision.ts';
import { isolationVersion } from '../database/serving.ts';
import type { OwnedDatabase } from './database.ts';

/**
 * Gives our own schema's roles their passwords and installs the identity key, once there are policies to serve under.
 * Nothing happens on anybody else's database.
 */
export async function provisionOwn(config: Config, { ownerUrl, secret }: OwnedDatabase): Promise<void> {
  const isolated = (await migrationStatus(ownerUrl)).some((m) => m.version === isolationVersion && m.applied);
  if (!isolated) return;
  const ownLogins = config.database.kind === 'external' && config.database.roles !== undefined;
  await provision(ownerUrl, await secret(), ownLogins);
}
