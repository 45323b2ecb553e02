/** System mode not working (guide G74): its role, what it can become, and the policies that open tables to it. */
import type { ClientBase } from 'pg';
import { type Finding, fail, pass, warn } from '../finding.ts';
import { identifier } from '../identifier.ts';
import type { Subject } from '../monitor/subject.ts';

interface RoleRow {
  login: boolean;
  members: string[];
  accounts: boolean;
  mayBecomeAccounts: boolean;
  appIsMember: boolean;
}

/** $1 the system role, $2 the application's. */
const roleQuery = `
select r.rolcanlogin as login,
  array(select m.rolname::text from pg_auth_members a join pg_roles m on m.oid = a.member where a.roleid = r.oid and m.rolcanlogin order by 1) as members,
  exists (select from pg_roles where rolname = 'ringfence_accounts') as accounts,
  exists (select from pg_roles o where o.rolname = 'ringfence_accounts' and pg_has_role(r.oid, o.oid, 'MEMBER')) as "mayBecomeAccounts",
  exists (select from pg_roles o where o.rolname = $2 and not o.rolsuper and pg_has_role(o.oid, r.oid, 'MEMBER')) as "appIsMember"
from pg_roles r where r.rolname = $1`;

/** $1 labels, $2 the system role. */
const tablesQuery = `
select w.label,
  exists (select from pg_policy p join pg_roles r on r.rolname = $2 where p.polrelid = c.oid and p.polname = 'system_mode'
    and p.polpermissive and r.oid = any (p.polroles) and pg_get_expr(p.polqual, p.polrelid) = 'true') as policy,
  has_table_privilege($2, c.oid, 'SELECT') or has_any_column_privilege($2, c.oid, 'SELECT') as reads
from unnest($1::text[]) w (label) join pg_class c on c.oid = to_regclass(w.label) order by 1`;

export async function checkSystemMode(client: ClientBase, subject: Subject): Promise<Finding[]> {
  const { systemRole, appRole } = subject;
  const object = `role ${systemRole}`;
  const role = (await client.query<RoleRow>(roleQuery, [systemRole, appRole])).rows[0];
  const install = 'run `ringfence apply` (or, for our own schema, `ringfence migrate up`) as the owner';
  if (!role) return [fail('system-role', object, 'does not exist', install)];
  const findings: Finding[] = [];
  if (!role.login && role.members.length === 0) {
    const message = 'cannot log in, and no log-in is a member of it';
    findings.push(
      fail(
        'system-role',
        object,
        message,
        `\`alter role ${identifier(systemRole)} login password '…'\`, or grant it to a log-in of yours; our own server does so when it starts`,
      ),
    );
  }
  if (role.accounts && !role.mayBecomeAccounts) {
    const message = 'is no member of ringfence_accounts: nobody can sign in';
    findings.push(fail('system-role', object, message, `grant ringfence_accounts to ${identifier(systemRole)}`));
  }
  if (role.appIsMember) {
    const message = `${appRole} is a member of it and can take every user's rows with SET ROLE`;
    findings.push(fail('system-role', object, message, `revoke ${identifier(systemRole)} from ${identifier(appRole)}`));
  }
  const tables = await client.query<{ label: string; policy: boolean; reads: boolean }>(tablesQuery, [
    subject.tables.map(({ table }) => table),
    systemRole,
  ]);
  for (const { label, policy, reads } of tables.rows) {
    if (!policy) {
      const remedy = `create policy system_mode on ${label} to ${identifier(systemRole)} using (true) with check (true)`;
      findings.push(
        fail(
          'system-policy',
          label,
          `no policy system_mode opens it to ${systemRole}: administrators see nothing`,
          remedy,
        ),
      );
    }
    if (!reads)
      findings.push(
        warn(
          'system-privileges',
          label,
          `${systemRole} may not read it`,
          `grant select on ${label} to ${identifier(systemRole)}, if administrators should see it`,
        ),
      );
  }
  if (findings.length > 0) return findings;
  return [
    pass(
      'system-role',
      object,
      `can be used${role.login ? '' : ` by ${role.members.join(', ')}`}, and is let in by every watched table`,
    ),
  ];
}
