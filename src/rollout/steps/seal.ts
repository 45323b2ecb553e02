/** Phase 6: the old application is off. Its exemption and its triggers go, and a row's owner is who signed for it. */
import { tableOf } from '../catalog.ts';
import { identifier, literal } from '../identifier.ts';
import type { OwnedTable } from '../ownership.ts';
import type { Step } from '../plan.ts';
import { dropProbe, legacyPolicy, makeProbe } from './shadow.ts';
import { type PlanContext, sql, stepsOf, withPartitions } from './step.ts';
import { triggers } from './triggers.ts';

export function seal(context: PlanContext): Step[] {
  const whole = stepsOf('seal', null);
  return [
    whole('sessions', 'make sure that the old application is off', noLegacySessions(context), null, {
      onlineOnly: true,
    }),
    whole('role', 'remove the probe role', dropProbe(context), makeProbe(context), { onlineOnly: true }),
    ...context.ownership.owned.map((table) => endExemption(context, table)),
    ...triggers(context, 'seal'),
    ...context.database.ownerViews.map((view) =>
      whole(
        `view ${view}`,
        `let the view ${view} see what its reader may`,
        sql([], `alter view ${view} set (security_invoker = true);`),
        sql([], `alter view ${view} reset (security_invoker);`),
        { lock: 'ACCESS EXCLUSIVE' },
      ),
    ),
  ];
}

/**
 * A session that is one of the old application's would meet errors from the next step on. What kind of process it is,
 * a role without pg_read_all_stats is not told of others' (null); who it is, it is.
 * Sessions named `ringfence …` are the rollout's own commands; our own server's are not named so.
 */
function noLegacySessions({ ownership }: PlanContext) {
  const roles = ownership.legacyRoles.map(literal).join(', ');
  return {
    kind: 'check',
    query: `select format('a session of %s is connected (%s, pid %s)', usename, coalesce(nullif(application_name, ''), 'no name'), pid) as fault
from pg_catalog.pg_stat_activity
where datname = current_database() and coalesce(backend_type, 'client backend') = 'client backend' and usename = any (array[${roles}]::text[])
  and application_name not like 'ringfence %'`,
    remedy:
      'Stop the old application, then run `ringfence apply --until seal --yes` again (`--force` seals all the same).',
  } as const;
}

function endExemption(context: PlanContext, owned: OwnedTable): Step {
  const labels = withPartitions(owned);
  const owner = identifier(owned.ownerColumn);
  const before = tableOf(context.catalog, owned.table).columns.find(
    (column) => column.name === owned.ownerColumn,
  )?.default;
  const previous = owned.adopted ? (before ?? null) : literal(owned.defaultOwner);
  // The users' own id is not what the identity says by default: an account is made before it can sign in.
  const keepsDefault = owned.class === 'account' && owned.adopted;
  const setDefault = `alter table ${owned.table} alter column ${owner} set default ringfence.current_user_id();`;
  const resetDefault =
    previous === null
      ? `alter table ${owned.table} alter column ${owner} drop default;`
      : `alter table ${owned.table} alter column ${owner} set default ${previous};`;
  if (context.oneTransaction) {
    return stepsOf('seal', owned.table)(
      'default',
      'a new row belongs to who signed for it',
      keepsDefault ? null : sql(labels, setDefault),
      keepsDefault ? null : sql(labels, resetDefault),
      { lock: 'ACCESS EXCLUSIVE' },
    );
  }
  return stepsOf('seal', owned.table)(
    'exemption',
    "end the old application's exemption",
    sql(
      labels,
      ...labels.map((label) => `drop policy if exists legacy_application on ${label};`),
      ...(keepsDefault ? [] : [setDefault]),
    ),
    sql(
      labels,
      ...labels.flatMap((label) =>
        [`drop policy if exists legacy_application on ${label};`, legacyPolicy(context, label)].filter((s) => s !== ''),
      ),
      ...(keepsDefault ? [] : [resetDefault]),
    ),
    { lock: 'ACCESS EXCLUSIVE', onlineOnly: false },
  );
}
