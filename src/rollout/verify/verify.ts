/** Whether a database is as the plan says, its rows belong where they are, and the walls hold when they are leant on. */
import type { ClientBase } from 'pg';
import { monotonicMs } from '../../clock.ts';
import { readCatalog } from '../catalog.ts';
import { type Finding, fail, pass, warn } from '../finding.ts';
import { appRoleCheck } from './app-role.ts';
import type { Check, Context } from './check.ts';
import { dataChecks, notDone, type OwnerlessRows } from './data.ts';
import { type Expectation, guardedTables, hasReached } from './expectation.ts';
import { readFacts } from './facts.ts';
import { type Fingerprint, fingerprint } from './fingerprint.ts';
import { grantCheck } from './grants.ts';
import { identityCheck } from './identity-function.ts';
import { ownSchemaCheck } from './own-schemas.ts';
import { policyCheck } from './policies.ts';
import { type ProbeCount, probeChecks } from './probes.ts';
import { reachChecks } from './reach.ts';
import { statisticsCheck } from './statistics.ts';
import { structureChecks } from './structure.ts';

export interface VerifySummary {
  readonly tables: number;
  readonly probedTables: number;
  /** Without a row: only adding one could be tried there. */
  readonly emptyTables: number;
  readonly probes: number;
  readonly milliseconds: number;
  /** The guide's table of rows without an owner (G18). */
  readonly ownerless: readonly OwnerlessRows[];
}

export interface Verification {
  readonly findings: readonly Finding[];
  readonly summary: VerifySummary;
  readonly fingerprint: Fingerprint;
}

/** What verify and monitor look at. */
export async function readContext(client: ClientBase, expectation: Expectation): Promise<Context> {
  const catalog = await readCatalog(client);
  const guarded = guardedTables(catalog, expectation);
  const oids = guarded.map(({ table }) => table.oid);
  const facts = await readFacts(client, expectation.ownership.appRole, oids);
  return { client, catalog, facts, expectation, guarded };
}

export interface CheckOptions {
  /** Told the name of each check before it runs. */
  readonly onCheck?: (name: string) => void;
  /** Checks that come last. */
  readonly further?: readonly Check[];
  /** Names of checks to leave out. */
  readonly without?: readonly string[];
  readonly wrap?: (check: Check) => Check;
}

/**
 * Changes nothing: whatever writes is rolled back.
 *
 * @param client the owner's connection, outside a transaction
 * @param onCheck told the name of each check before it runs
 */
export function verifyDatabase(
  client: ClientBase,
  expectation: Expectation,
  onCheck: (name: string) => void = () => {},
): Promise<Verification> {
  return checkDatabase(client, expectation, { onCheck });
}

/** The same with more checks, or fewer. */
export async function checkDatabase(
  client: ClientBase,
  expectation: Expectation,
  { onCheck = () => {}, further = [], without = [], wrap = (check) => check }: CheckOptions,
): Promise<Verification> {
  const started = monotonicMs();
  const ownerless: OwnerlessRows[] = [];
  const count: ProbeCount = { tables: 0, empty: 0, probes: 0 };
  const context = await readContext(client, expectation);
  const checks = [
    ...structureChecks,
    policyCheck,
    appRoleCheck,
    grantCheck,
    identityCheck,
    ownSchemaCheck,
    ...reachChecks,
    statisticsCheck,
    ...dataChecks(ownerless),
    ...probeChecks(count),
    ...further,
  ].filter(({ name, since }) => hasReached(expectation, since) && !without.includes(name));
  const findings = stage(expectation);
  for (const check of checks) {
    onCheck(check.name);
    findings.push(...(await outcome(wrap(check), context)));
  }
  return {
    findings,
    summary: {
      tables: context.guarded.length,
      probedTables: count.tables,
      emptyTables: count.empty,
      probes: count.probes,
      milliseconds: Math.round(monotonicMs() - started),
      ownerless,
    },
    fingerprint: fingerprint(context),
  };
}

async function outcome(check: Check, context: Context): Promise<readonly Finding[]> {
  try {
    const faults = await check.run(context);
    return faults.length > 0 ? faults : [pass(check.name, undefined, check.holds(context))];
  } catch (error) {
    return [notDone(check.name, undefined, error)];
  }
}

function stage(expectation: Expectation): Finding[] {
  if (hasReached(expectation, 'contract')) return [];
  if (!hasReached(expectation, 'cutover')) {
    const reached =
      expectation.reached === null ? 'nothing is applied' : `the last phase complete is ${expectation.reached}`;
    return [fail('stage', undefined, `Isolation is not in force: ${reached}.`, 'Run `ringfence apply`.')];
  }
  const next = hasReached(expectation, 'seal') ? 'contract' : 'seal';
  const message = `The rollout has come to ${expectation.reached}; ${next} is still to come.`;
  return [
    warn('stage', undefined, message, `Run \`ringfence apply --until ${next} --yes\` once the old application is off.`),
  ];
}
