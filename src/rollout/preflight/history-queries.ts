/** What the rollout remembers of itself. Its tables may not be there yet. */

export const remembered = `
select to_regclass('ringfence_rollout.events') is not null as events,
  to_regclass('ringfence_rollout.plans') is not null as plans`;

export const lastBackup = `
select extract(epoch from clock_timestamp() - max(at))::float8 as seconds
from ringfence_rollout.events
where kind = 'backup'`;

export const plans = `
select count(*)::int as count from ringfence_rollout.plans`;
