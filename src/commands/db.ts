/** `ringfence db url`: a connection string for psql and other programs. It holds a password: mind where it ends up. */
import type { Config } from '../config.ts';
import { connectToRunning } from '../database/embedded.ts';
import { appRole, roleUrl, systemRole } from '../database/provision.ts';
import { problem } from '../errors.ts';
import { secretOf } from './database.ts';
import { printJson } from './print.ts';

export const urlRoles = ['app', 'system', 'owner'] as const;
export type UrlRole = (typeof urlRoles)[number];

/** @throws Problem `database_unavailable` when the embedded Postgres is not running */
export async function databaseUrl(config: Config, role: UrlRole): Promise<string> {
  if (config.database.kind === 'external') {
    const { ownerUrl, roles } = config.database;
    if (role !== 'owner' && roles) return role === 'app' ? roles.appUrl : roles.systemUrl;
    if (ownerUrl === undefined) throw problem('config_invalid', 'DATABASE_URL: is required for the role "owner"');
    return forRole(ownerUrl, role, await secretOf(config));
  }
  const running = await connectToRunning(config.dataDir);
  if (running) return forRole(running.url, role, await secretOf(config));
  throw problem('database_unavailable', `No server runs on ${config.dataDir}; start one with: ringfence serve`);
}

function forRole(ownerUrl: string, role: UrlRole, secret: string): string {
  return role === 'owner' ? ownerUrl : roleUrl(ownerUrl, role === 'app' ? appRole : systemRole, secret);
}

export async function runDbUrl(
  config: Config,
  { role, json = false }: { role: UrlRole; json?: boolean },
): Promise<void> {
  const url = await databaseUrl(config, role);
  if (json) printJson({ role, url });
  else console.log(url);
}
