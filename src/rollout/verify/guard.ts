/** Policies, grants and the function that they all trust. */
import { readFileSync } from 'node:fs';
import type { Grant, Policy, TableLabel } from '../catalog.ts';
import { type Finding, fail, warn } from '../finding.ts';
import { columnList, identifier } from '../identifier.ts';
import { type Check, type Context, counted } from './check.ts';
import {
  type Columns,
  canonicalPolicies,
  expectedGrants,
  type Guarded,
  hasReached,
  legacyPolicy,
  mostGrants,
  shadowRole,
  type TableGrants,
} from './expectation.ts';

export const guardChecks: readonly Check[] = [
  {
    name: 'policies',
    since: 'shadow',
    holds: ({ guarded }) =>
      `the canonical policies and no other, enabled and forced, on ${counted(guarded.length, 'table')}`,
    run: (context) => context.guarded.flatMap(policyFaults(context)),
  },
  {
    name: 'grants',
    since: 'cutover',
    holds: ({ expectation }) => `${expectation.ownership.appRole} has what the plan gives it and no more`,
    run: grantFaults,
  },
  {
    name: 'identity',
    since: 'prepare',
    holds: () => 'ringfence.current_user_id() is as it was installed, and its keys are out of reach',
    run: identityFaults,
  },
];

function policyFaults(context: Context) {
  const { expectation } = context;
  const cut = hasReached(expectation, 'cutover');
  return ({ label, table, owned }: Guarded): Finding[] => {
    const canonical = canonicalPolicies(label, owned.ownerColumn, cut ? 'public' : shadowRole);
    const meant = expectation.extras.policies.filter((p) => p.table === label).map((p) => rolesInOrder(p.definition));
    const faults = [...canonical].flatMap(([name, definition]) => {
      const found = table.policies.find((policy) => policy.name === name);
      if (!found) return [fail('policy-missing', label, `has no policy ${name}`, definition)];
      if (found.definition === definition) return [];
      return [
        fail('policy-differs', label, `the policy ${name} is not the canonical one: ${found.definition}`, definition),
      ];
    });
    const further = table.policies.filter(
      (policy) => !canonical.has(policy.name) && !meant.includes(rolesInOrder(policy.definition)),
    );
    faults.push(...further.map((policy) => furtherPolicy(context, label, policy)));
    const present = table.policies.map((policy) => rolesInOrder(policy.definition));
    const absent = meant.filter((definition) => !present.includes(definition));
    faults.push(...absent.map((d) => fail('policy-missing', label, 'a policy of this table is missing or differs', d)));
    if (!table.rowSecurity) {
      const remedy = `alter table ${label} enable row level security`;
      faults.push(fail('row-security', label, 'row-level security is not enabled, so no policy counts', remedy));
    } else if (cut && !table.forced) {
      const remedy = `alter table ${label} force row level security`;
      faults.push(fail('row-security', label, 'row-level security is not forced: it does not bind the owner', remedy));
    }
    return faults;
  };
}

/** The catalogue lists roles by their number, which is another in every cluster. */
function rolesInOrder(definition: string): string {
  const roles = /^(create policy .*? as \w+ for \w+ to )(.*?)( (?:using|with check) \(.*)$/s.exec(definition);
  return roles === null ? definition : `${roles[1]}${roles[2]?.split(', ').toSorted().join(', ')}${roles[3]}`;
}

function furtherPolicy({ expectation }: Context, label: TableLabel, policy: Policy): Finding {
  const remedy = `drop policy ${identifier(policy.name)} on ${label}`;
  if (policy.name !== legacyPolicy) {
    return fail(
      'policy-further',
      label,
      `has the further policy ${identifier(policy.name)}: ${policy.definition}`,
      remedy,
    );
  }
  if (hasReached(expectation, 'seal')) {
    return fail('policy-legacy', label, 'the old application still sees everything', remedy);
  }
  if (isLegacyAsPlanned(label, policy, expectation.ownership.legacyRoles)) {
    return warn(
      'policy-legacy',
      label,
      'the old application still sees everything',
      'Finish with `ringfence apply --until seal` once it is switched off.',
    );
  }
  return fail('policy-legacy', label, `exempts others than the old application's roles: ${policy.definition}`, remedy);
}

function isLegacyAsPlanned(label: TableLabel, { definition }: Policy, legacyRoles: readonly string[]): boolean {
  const start = `create policy ${legacyPolicy} on ${label} as permissive for all to `;
  const end = ' using (true) with check (true)';
  if (!definition.startsWith(start) || !definition.endsWith(end)) return false;
  const allowed = new Set(legacyRoles.map((role) => (role === 'public' ? role : identifier(role))));
  return definition
    .slice(start.length, -end.length)
    .split(', ')
    .every((role) => allowed.has(role));
}

function grantFaults(context: Context): Finding[] {
  return [
    ...roleFaults(context),
    ...context.guarded.flatMap((guarded) => [...tableGrantFaults(context, guarded), ...publicFaults(context, guarded)]),
    ...unownedFaults(context),
    ...context.facts.closedSequences.map(({ label, table }) =>
      fail(
        'grant-missing',
        table,
        `${context.expectation.ownership.appRole} may not draw from the sequence ${label}, so it cannot add rows`,
        `grant usage on sequence ${label} to ${identifier(context.expectation.ownership.appRole)}`,
      ),
    ),
    ...context.facts.defaultPrivileges.map((entry) =>
      fail(
        'default-privileges',
        `role ${entry.grantee}`,
        `gets ${entry.privileges.join(', ')} on every table that ${entry.maker} makes${entry.schema === null ? '' : ` in ${identifier(entry.schema)}`}, before anybody has put policies on it`,
        `alter default privileges for role ${identifier(entry.maker)}${entry.schema === null ? '' : ` in schema ${identifier(entry.schema)}`} revoke all on tables from ${entry.grantee === 'public' ? 'public' : identifier(entry.grantee)}`,
      ),
    ),
  ];
}

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
      role.name !== appRole && role.name === 'ringfence_system' ? 'sees the rows of all users' : null,
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

/** By itself or through a role that it is a member of; what everybody has is another finding. */
function tableGrantFaults(context: Context, guarded: Guarded): Finding[] {
  const { label, table, owned, isPartition } = guarded;
  const { appRole } = context.expectation.ownership;
  const names = new Set(context.facts.roles.map((role) => role.name));
  const held = table.grants.filter((grant) => names.has(grant.grantee) && grant.grantee !== table.owner);
  const wanted = expectedGrants(context.expectation, guarded);
  const most = wanted ?? mostGrants(owned, table);
  const excess = held
    .filter((grant) => !permits(most, grant))
    .map((grant) =>
      fail(
        'grant-excess',
        label,
        `${identifier(grant.grantee)} may ${phrase(grant)}${grant.column === owned.ownerColumn && grant.privilege === 'update' ? ', and so give rows away' : ''}`,
        `revoke ${phrase(grant)} on ${label} from ${identifier(grant.grantee)}`,
      ),
    );
  // Partitions are reached through their table.
  if (isPartition || wanted === null) return excess;
  const missing = missingGrants(wanted, held).map((what) =>
    fail('grant-missing', label, `${appRole} may not ${what}`, `grant ${what} on ${label} to ${identifier(appRole)}`),
  );
  return [...excess, ...missing];
}

const verbs = ['select', 'insert', 'update'] as const;

function permits(grants: TableGrants, { privilege, column }: Grant): boolean {
  if (privilege === 'delete') return grants.delete;
  const verb = verbs.find((name) => name === privilege);
  if (verb === undefined) return false;
  const columns = grants[verb];
  return columns === 'all' || (column !== null && columns.includes(column));
}

function missingGrants(wanted: TableGrants, held: readonly Grant[]): string[] {
  const whole = (verb: string) => held.some((grant) => grant.privilege === verb && grant.column === null);
  const missing = verbs.flatMap((verb) => {
    const columns: Columns = wanted[verb];
    if (whole(verb)) return [];
    if (columns === 'all') return [verb];
    const lacking = columns.filter((name) => !held.some((g) => g.privilege === verb && g.column === name));
    return lacking.length > 0 ? [`${verb} (${columnList(lacking)})`] : [];
  });
  return wanted.delete && !whole('delete') ? [...missing, 'delete'] : missing;
}

function phrase({ privilege, column }: Grant): string {
  return column === null ? privilege : `${privilege} (${identifier(column)})`;
}

function publicFaults({ expectation }: Context, { label, table }: Guarded): Finding[] {
  const open = table.grants.filter((grant) => grant.grantee === 'public');
  if (open.length === 0) return [];
  const message = `everybody may ${open.map(phrase).join(', ')}`;
  return [
    hasReached(expectation, 'seal')
      ? fail('grant-public', label, message, `revoke all on ${label} from public`)
      : warn('grant-public', label, message, 'It ends with `ringfence apply --until seal`.'),
  ];
}

function unownedFaults({ catalog, expectation, facts }: Context): Finding[] {
  const names = new Set([...facts.roles.map((role) => role.name), 'public']);
  return expectation.ownership.unowned.flatMap((entry) => {
    const table = catalog.tables.get(entry.table);
    if (!table) return [];
    const most: TableGrants = { select: entry.class === 'shared' ? 'all' : [], insert: [], update: [], delete: false };
    const allowed = expectation.extras.grants[entry.table] ?? most;
    const excess = table.grants.filter(
      (g) => names.has(g.grantee) && g.grantee !== table.owner && !permits(allowed, g),
    );
    return excess.map((grant) => {
      const who = grant.grantee === 'public' ? 'everybody' : identifier(grant.grantee);
      const what = entry.class === 'shared' ? 'shared, to be read only' : 'declared out of reach';
      const remedy = `revoke ${phrase(grant)} on ${entry.table} from ${grant.grantee === 'public' ? 'public' : identifier(grant.grantee)}`;
      const open = grant.grantee === 'public' && !hasReached(expectation, 'seal') ? warn : fail;
      return open('grant-excess', entry.table, `${who} may ${phrase(grant)}, and the table is ${what}`, remedy);
    });
  });
}

const reinstall = 'Put it back from database/isolation/identity.sql.';

function identityFaults({ facts }: Context): Finding[] {
  const object = 'ringfence.current_user_id()';
  const found = facts.identityFunction;
  if (!found) return [fail('identity-function', object, 'does not exist, so every policy raises', reinstall)];
  const roles = facts.roles.map((role) => role.name);
  const wrong = [
    found.body.trim() === identityBody() ? null : 'its body is not the one that was installed',
    found.language === 'plpgsql' && found.returns === 'uuid'
      ? null
      : 'it is not the plpgsql function that returns uuid',
    found.definer ? null : 'it is not SECURITY DEFINER, so it cannot read the keys',
    found.settings.join() === 'search_path=pg_catalog, pg_temp'
      ? null
      : `its search_path is not closed (${found.settings.join('; ') || 'none is set'})`,
    found.volatility === 's' ? null : 'it is not STABLE',
    roles.includes(found.owner) ? `the application's role can replace it: it belongs to ${found.owner}` : null,
  ].filter((fault) => fault !== null);
  const readers = facts.keyReaders.map((role) =>
    fail(
      'identity-keys',
      'ringfence.identity_keys',
      `${role === 'public' ? 'everybody' : identifier(role)} has privileges on the keys that identities are signed with`,
      `revoke all on ringfence.identity_keys from ${role === 'public' ? 'public' : identifier(role)}; then put in a new key`,
    ),
  );
  const missing = facts.hasKeysTable
    ? []
    : [fail('identity-keys', 'ringfence.identity_keys', 'does not exist', reinstall)];
  return [...wrong.map((fault) => fail('identity-function', object, fault, reinstall)), ...readers, ...missing];
}

let body: string | undefined;

/** Read from the file that installs it, so that the two cannot drift apart. */
function identityBody(): string {
  if (body !== undefined) return body;
  const sql = readFileSync(new URL('../../../database/isolation/identity.sql', import.meta.url), 'utf8');
  const match = /function ringfence\.current_user_id\(\)[^$]*\$\$(.*?)\$\$/s.exec(sql)?.[1];
  if (match === undefined) throw new Error('identity.sql does not define ringfence.current_user_id()');
  body = match.trim();
  return body;
}
