/** What the rollout remembers of itself. */

export const lastBackup = `
select extract(epoch from clock_timestamp() - max(at))::float8 as seconds
from ringfence_rollout.events
where kind = 'backup'`;
