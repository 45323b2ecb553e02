/** Ways to rows that go round the policies (isolation notes 1–4): what the application's role is, and what it may call. */
import type { ClientBase } from 'pg';
import { type Finding, fail, warn } from '../finding.ts';
import { identifier } from '../identifier.ts';
import type { Subject } from '../monitor/subject.ts';
import { type ReachableRole, readFacts } from '../verify/facts.ts';

export async function checkReach(client: ClientBase, subject: Subject): Promise<Finding[]> {
  const { rows } = await client.query<{ oid: number }>(
    `select to_regclass(label)::oid::int8::int as oid from unnest($1::text[]) w (label) where to_regclass(label) is not null`,
    [subject.tables.map(({ table }) => table)],
  );
  const facts = await readFacts(
    client,
    subject.appRole,
    rows.map(({ oid }) => oid),
  );
  const { appRole } = subject;
  if (facts.roles.length === 0) {
    const remedy = 'run `ringfence apply` (or, for our own schema, `ringfence migrate up`)';
    return [fail('application-role', `role ${appRole}`, 'does not exist', remedy)];
  }
  const above = facts.roles.flatMap((role) => aboveFindings(role, appRole));
  const views = facts.views
    .filter(({ materialized, securityInvoker }) => materialized || !securityInvoker)
    .map(({ label, materialized, over }) =>
      fail(
        materialized ? 'materialized-view' : 'view',
        label,
        `${appRole} reads ${over.join(', ')} through it ${materialized ? 'as a copy that no policy filters' : "with its owner's eyes"}`,
        materialized
          ? `revoke all on ${label} from ${identifier(appRole)}, public`
          : `alter view ${label} set (security_invoker = true)`,
      ),
    );
  const functions = facts.definerFunctions
    .filter((signature) => !signature.startsWith('ringfence.'))
    .map((signature) =>
      warn(
        'definer-function',
        signature,
        `${appRole} may call it, and it runs with its owner's rights`,
        `read it: if it touches rows of users, revoke execute on function ${signature} from public, ${identifier(appRole)}`,
      ),
    );
  return [...above, ...views, ...functions];
}

function aboveFindings(role: ReachableRole, appRole: string): Finding[] {
  const whose = role.name === appRole ? 'it' : `it is a member of ${role.name}, which`;
  const faults = [
    role.superuser ? 'is a superuser, whom no policy binds' : '',
    role.bypassRls ? 'has BYPASSRLS' : '',
    role.createRole ? 'has CREATEROLE and can join other roles' : '',
    role.replication ? 'has REPLICATION and can copy every row' : '',
  ].filter((fault) => fault !== '');
  const remedy =
    role.name === appRole
      ? `alter role ${identifier(appRole)} nosuperuser nobypassrls nocreaterole noreplication`
      : `revoke ${identifier(role.name)} from ${identifier(appRole)}`;
  return faults.map((fault) => fail('role-above-policies', `role ${appRole}`, `${whose} ${fault}`, remedy));
}
