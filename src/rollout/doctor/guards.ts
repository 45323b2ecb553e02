/** Cross-user data visible (guide G70): tables on which policies are missing, not enabled, not forced, or opened again. */
import type { ClientBase } from 'pg';
import { type Finding, fail } from '../finding.ts';
import { identifier } from '../identifier.ts';
import type { Subject } from '../monitor/subject.ts';

interface GuardRow {
  watched: string;
  label: string;
  missing: boolean;
  partition: boolean;
  reachable: boolean;
  enabled: boolean;
  forced: boolean;
  policy: boolean;
  onOwner: boolean;
  /** Permissive policies besides ours that apply to the application's role. */
  others: string[];
  owns: boolean;
}

/** $1 labels, $2 owner columns, $3 the application's role. A partition can be named directly, and has policies of its own. */
const guardsQuery = `
with app as (select oid from pg_roles where rolname = $3)
select w.label as watched, coalesce(format('%I.%I', n.nspname, c.relname), w.label) as label, c.oid is null as missing,
  coalesce(c.relispartition, false) as partition,
  coalesce((select has_table_privilege(app.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE')
    or has_any_column_privilege(app.oid, c.oid, 'SELECT, INSERT, UPDATE') from app), false) as reachable,
  coalesce(c.relrowsecurity, false) as enabled, coalesce(c.relforcerowsecurity, false) as forced,
  exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'user_isolation') as policy,
  exists (
    select from pg_policy p join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid and d.refobjid = c.oid
    join pg_attribute a on a.attrelid = c.oid and a.attnum = d.refobjsubid
    where p.polrelid = c.oid and p.polname = 'user_isolation' and a.attname = w.owner
  ) as "onOwner",
  array(
    select p.polname::text from pg_policy p, app
    where p.polrelid = c.oid and p.polpermissive and p.polname <> 'user_isolation'
      and exists (select from unnest(p.polroles) m where m = 0 or pg_has_role(app.oid, m, 'USAGE'))
    order by 1
  ) as others,
  coalesce((select pg_has_role(app.oid, c.relowner, 'MEMBER') from app), false) as owns
from unnest($1::text[], $2::text[]) w (label, owner)
left join lateral (
  select to_regclass(w.label)::oid as relid union select p.relid::oid from pg_partition_tree(to_regclass(w.label)) p
) t on t.relid is not null
left join pg_class c on c.oid = t.relid
left join pg_namespace n on n.oid = c.relnamespace
order by 1, 2`;

const repair = 'run `ringfence verify` for all that is missing, then `ringfence apply`';

export async function checkGuards(client: ClientBase, subject: Subject): Promise<Finding[]> {
  const { rows } = await client.query<GuardRow>(guardsQuery, [
    subject.tables.map(({ table }) => table),
    subject.tables.map(({ ownerColumn }) => ownerColumn),
    subject.appRole,
  ]);
  // A partition nobody can name directly needs no policy of its own.
  return rows.filter(({ partition, reachable }) => !partition || reachable).flatMap((row) => faultsOf(row, subject));
}

function faultsOf(row: GuardRow, { appRole }: Subject): Finding[] {
  const say = (check: string, message: string, remedy = repair) => fail(check, row.label, message, remedy);
  if (row.missing) return [say('table-missing', 'is watched but does not exist')];
  const findings: Finding[] = [];
  if (!row.policy) findings.push(say('policy-missing', 'has no policy user_isolation'));
  else if (!row.onOwner)
    findings.push(say('policy-condition', 'its policy user_isolation does not look at the owner column'));
  if (!row.enabled) {
    findings.push(
      say('row-security', 'row-level security is not enabled', `alter table ${row.label} enable row level security`),
    );
  } else if (!row.forced) {
    findings.push(
      say(
        'row-security',
        'row-level security is not forced: its owner sees everything',
        `alter table ${row.label} force row level security`,
      ),
    );
  }
  for (const policy of row.others) {
    const message = `the policy ${policy} opens it further to ${appRole}: permissive policies are joined by OR`;
    findings.push(say('policy-more', message, `drop policy ${identifier(policy)} on ${row.label}, unless it is meant`));
  }
  if (row.owns) {
    const message = `${appRole} owns it or is a member of its owner, and could take the policies away`;
    findings.push(
      say('application-owns', message, `alter table ${row.label} owner to a role that nobody serves through`),
    );
  }
  return findings;
}
