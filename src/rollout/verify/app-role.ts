/** What the application's role is, and what it could become: policies mean nothing to whoever stands above them. */
import { type Finding, fail, warn } from '../finding.ts';
import { identifier } from '../identifier.ts';
import type { Check, Context } from './check.ts';
import { hasReached, systemRole } from './expectation.ts';

export const appRoleCheck: Check = {
  name: 'app-role',
  since: 'cutover',
  holds: ({ expectation }) => `${expectation.ownership.appRole} is above no policy, and owns nothing`,
  run: roleFaults,
};

/** Superusers in all but name, or above privileges (Postgres manual, "Predefined Roles"). */
const mightyRoles: readonly string[] = [
  'pg_execute_server_program',
  'pg_read_server_files',
  'pg_write_server_files',
  'pg_read_all_data',
  'pg_write_all_data',
];

function roleFaults({ facts, expectation, guarded }: Context): Finding[] {
  const { appRole, legacyRoles } = expectation.ownership;
  const object = `role ${appRole}`;
  if (facts.roles.length === 0) return [fail('app-role', object, 'does not exist', 'Run `ringfence apply` again.')];
  const sealed = hasReached(expectation, 'seal');
  const faults = facts.roles.flatMap((role) => {
    const reasons = [
      role.superuser ? 'is a superuser, whom no policy binds' : null,
      role.bypassRls ? 'has BYPASSRLS' : null,
      role.createRole ? 'has CREATEROLE and can make itself a member of other roles' : null,
      role.replication ? 'has REPLICATION and can copy every row' : null,
      mightyRoles.includes(role.name) ? "reaches the server's files or every table" : null,
      role.name !== appRole && role.name === systemRole ? 'sees the rows of all users' : null,
      role.name !== appRole && legacyRoles.includes(role.name) && !sealed ? 'is exempt until the seal' : null,
      role.name !== appRole && guarded.some(({ table }) => table.owner === role.name)
        ? 'owns tables, and can take their policies off'
        : null,
    ].filter((reason) => reason !== null);
    const member = role.name === appRole ? '' : `is a member of ${identifier(role.name)}, which `;
    const remedy =
      role.name === appRole
        ? `alter role ${identifier(appRole)} nosuperuser nobypassrls nocreaterole noreplication; give its tables to another owner`
        : `revoke ${identifier(role.name)} from ${identifier(appRole)}`;
    return reasons.map((reason) => fail('app-role', object, `${member}${reason}`, remedy));
  });
  if (facts.owns.length > 0) {
    const message = `owns ${facts.owns.join(', ')}: an owner can undo what guards a thing`;
    faults.push(
      fail('app-role', object, message, `reassign owned by ${identifier(appRole)} to the owner of the schema`),
    );
  }
  const verdict = sealed ? fail : warn;
  if (facts.mayMakeTemporary) {
    const message = 'may make temporary tables, which could shadow what a careless search_path resolves';
    faults.push(verdict('app-role', object, message, 'revoke temporary on database … from public'));
  }
  if (facts.mayCreateSchemas) {
    faults.push(verdict('app-role', object, 'may create schemas', 'revoke create on database … from public'));
  }
  for (const schema of facts.createsIn) {
    const remedy = `revoke create on schema ${identifier(schema)} from public, ${identifier(appRole)}`;
    const severe = schema === 'ringfence' || sealed ? fail : warn;
    faults.push(severe('app-role', object, `may create objects in the schema ${identifier(schema)}`, remedy));
  }
  return faults;
}
