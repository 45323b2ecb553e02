/**
 * The checklist before a rollout: what the server, the roles, the schema and the present load say about it. It changes
 * nothing and takes no lock that anybody waits for.
 */
import type { ClientBase } from 'pg';
import type { Catalog } from '../catalog.ts';
import type { Finding } from '../finding.ts';
import { activityFindings } from './activity.ts';
import { diskFindings } from './disk.ts';
import { historyFindings } from './history.ts';
import { keyFindings } from './keys.ts';
import { ownerFindings } from './owners.ts';
import { reachFindings } from './reach.ts';
import { roleFindings } from './roles.ts';
import { serverFindings } from './server.ts';
import { type Check, type PreflightOptions, subjectOf } from './subject.ts';
import { tableFindings } from './tables.ts';

const checks: readonly Check[] = [
  serverFindings,
  historyFindings,
  diskFindings,
  activityFindings,
  roleFindings,
  tableFindings,
  keyFindings,
  ownerFindings,
  reachFindings,
];

/**
 * @param client not inside a transaction
 * @param catalog of the same database
 * @returns everything that was looked at, also what is well
 */
export async function preflight(
  client: ClientBase,
  catalog: Catalog,
  options: PreflightOptions = {},
): Promise<Finding[]> {
  const subject = subjectOf(client, catalog, options);
  const findings: Finding[] = [];
  for (const check of checks) findings.push(...(await check(subject)));
  return findings;
}
