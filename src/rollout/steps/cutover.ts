/** Phase 5: one short transaction puts the policies in force, for owners as well; the old application's roles stay exempt. */
import type { Step } from '../plan.ts';
import { type PlanContext, sql, stepsOf, withPartitions } from './step.ts';

export function cutover({ ownership, oneTransaction }: PlanContext): Step[] {
  const labels = ownership.owned.flatMap(withPartitions);
  const up = labels.flatMap((label) => [
    ...(oneTransaction ? [] : [`alter policy user_isolation on ${label} to public;`]),
    `alter table ${label} force row level security;`,
  ]);
  const down = labels.flatMap((label) => [
    `alter table ${label} no force row level security;`,
    ...(oneTransaction ? [] : [`alter policy user_isolation on ${label} to ringfence_shadow;`]),
  ]);
  return [
    stepsOf('cutover', null)(
      'policies',
      'put the policies of all tables in force',
      sql(labels, ...up),
      sql(labels, ...down),
      {
        lock: 'ACCESS EXCLUSIVE',
      },
    ),
  ];
}
