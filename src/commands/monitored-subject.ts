/** What `monitor` and `doctor` look at: the tables of the plan in force, of our own schema, or whatever has the policy. */
import { accountTables, ownedTables, sharedTables } from '../isolation/owned-tables.ts';
import type { Connection } from '../rollout/connection.ts';
import {
  type Subject,
  subjectOfPlan,
  subjectOfPolicies,
  systemRoleName,
  watchedTable,
} from '../rollout/monitor/subject.ts';
import { readFrozenPlan, readLedger } from '../rollout/state.ts';
import { type Expectation, hasReached, noExtras, reachedPhase } from '../rollout/verify/expectation.ts';

export interface Monitored {
  readonly subject: Subject;
  /** What the plan in force makes of the database by now; null without one. */
  readonly expectation: Expectation | null;
  /** Our own schema: its server's log-ins and logs are looked at too. */
  readonly product: boolean;
  /** The cut-over has not been: policies are not in force and need not be. */
  readonly shadowed: boolean;
}

export async function monitored(client: Connection): Promise<Monitored> {
  const version = await productVersion(client);
  const product = version !== null;
  const plan = await readFrozenPlan(client);
  if (plan) {
    const ledger = await readLedger(client, plan.hash);
    const done = new Set([...ledger].filter(([, { state }]) => state === 'done').map(([id]) => id));
    const expectation = { ownership: plan.ownership, reached: reachedPhase(plan, done), extras: noExtras };
    const subject = { ...(await subjectOfPlan(client, plan)), filtersItself: product };
    return { subject, expectation, product, shadowed: !hasReached(expectation, 'cutover') };
  }
  const subject = version !== null && version >= 3 ? productSubject() : await subjectOfPolicies(client);
  return { subject, expectation: null, product, shadowed: false };
}

async function productVersion(client: Connection): Promise<number | null> {
  const there = await client.query<{ there: boolean }>(
    "select to_regclass('public.ringfence_migrations') is not null as there",
  );
  if (there.rows[0]?.there !== true) return null;
  const { rows } = await client.query<{ version: number | null }>(
    'select max(version)::int as version from public.ringfence_migrations',
  );
  return rows[0]?.version ?? 0;
}

function productSubject(): Subject {
  return {
    tables: [
      ...ownedTables.map(({ table }) => watchedTable('public', table, 'user_id', 'owned')),
      ...accountTables.map(({ table, column }) => watchedTable('public', table, column, 'account')),
    ],
    unowned: sharedTables.map(({ table }) => `public.${table}`),
    appRole: 'ringfence_app',
    systemRole: systemRoleName,
    legacyRoles: [],
    filtersItself: true,
  };
}
