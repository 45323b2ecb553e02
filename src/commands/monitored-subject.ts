/** What `monitor` and `doctor` look at: the tables of the plan in force, of our own schema, or whatever has the policy. */
import type { Connection } from '../rollout/connection.ts';
import { type Subject, subjectOf, subjectOfPolicies } from '../rollout/monitor/subject.ts';
import { type Expectation, hasReached } from '../rollout/verify/expectation.ts';
import { readExpectation } from './expectation-in-force.ts';

export interface Monitored {
  readonly subject: Subject;
  /** What the database should be like by now; null without a plan and without our own schema. */
  readonly expectation: Expectation | null;
  /** Our own schema: its server's log-ins and logs are looked at too. */
  readonly product: boolean;
  /** The cut-over has not been: policies are not in force and need not be. */
  readonly shadowed: boolean;
}

export async function monitored(client: Connection): Promise<Monitored> {
  const { rows } = await client.query<{ product: boolean }>(
    "select to_regclass('public.ringfence_migrations') is not null as product",
  );
  const product = rows[0]?.product === true;
  const expectation = await readExpectation(client);
  if (expectation === null) {
    return { subject: await subjectOfPolicies(client), expectation, product, shadowed: false };
  }
  // Our own server filters every statement itself; whether another application does is not known.
  const subject = await subjectOf(client, expectation.ownership, product);
  return { subject, expectation, product, shadowed: !hasReached(expectation, 'cutover') };
}
