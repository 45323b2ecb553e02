/**
 * What `ringfence doctor` asks the database, one question each. A check names the cause it has seen, not one that there
 * might be; where nothing is wrong it says what it looked at.
 */
import type { ClientBase } from 'pg';
import { messageOf } from '../connection.ts';
import { type Finding, pass, warn } from '../finding.ts';
import { observeIndexes } from '../monitor/indexes.ts';
import { observeStatements } from '../monitor/statements.ts';
import type { Subject } from '../monitor/subject.ts';
import { checkClaims } from './claims.ts';
import { checkGuards } from './guards.ts';
import { checkIdentity } from './identity.ts';
import { checkKeys } from './keys.ts';
import { checkPlanner } from './planner.ts';
import { checkPrivileges } from './privileges.ts';
import { checkReach } from './reach.ts';
import { checkLocks, checkSessions } from './sessions.ts';
import { checkSystemMode } from './system-mode.ts';
import { checkUpkeep } from './upkeep.ts';

export type DatabaseCheck = (client: ClientBase, subject: Subject) => Promise<readonly Finding[]>;

export const databaseChecks = {
  guards: checkGuards,
  reach: checkReach,
  claims: checkClaims,
  identity: checkIdentity,
  privileges: checkPrivileges,
  keys: checkKeys,
  indexes: async (client, subject) => (await observeIndexes(client, subject)).findings,
  planner: checkPlanner,
  upkeep: checkUpkeep,
  sessions: checkSessions,
  locks: checkLocks,
  'system-mode': checkSystemMode,
  // Without pg_stat_statements there is one thing less to look at; it is not the cause of anything.
  statements: async (client, subject) => {
    const { collected, findings } = await observeStatements(client, subject);
    return collected ? findings : findings.map((finding) => ({ ...finding, severity: 'warn' }));
  },
} as const satisfies Record<string, DatabaseCheck>;

export type DatabaseCheckName = keyof typeof databaseChecks;

/** All of them, one after the other; one that cannot be made is a finding like any other. */
export async function diagnose(
  client: ClientBase,
  subject: Subject,
  names: readonly DatabaseCheckName[],
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const name of names) {
    try {
      const found = await databaseChecks[name](client, subject);
      findings.push(...(found.length > 0 ? found : [pass(name, undefined, 'nothing wrong was seen')]));
    } catch (error) {
      // Without a connection none of the others can be made either.
      if (!(error instanceof Error && 'severity' in error)) throw error;
      findings.push(
        warn(name, undefined, `could not be looked at: ${messageOf(error)}`, 'run doctor as the owner of the tables'),
      );
    }
  }
  return findings;
}
