/** Who may do what: the application's role exactly what the plan says, everybody nothing, and nobody anything by default. */
import type { Grant } from '../catalog.ts';
import { type Columns, mostGrants, type TableGrants } from '../extras.ts';
import { type Finding, fail, warn } from '../finding.ts';
import { columnList, identifier } from '../identifier.ts';
import type { Check, Context } from './check.ts';
import { expectedGrants, type Guarded, hasReached } from './expectation.ts';

export const grantCheck: Check = {
  name: 'grants',
  since: 'cutover',
  holds: ({ expectation }) => `${expectation.ownership.appRole} has what the plan gives it and no more`,
  run: grantFaults,
};

function grantFaults(context: Context): Finding[] {
  return [
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

/** By itself or through a role that it is a member of; what everybody has is another finding. */
function tableGrantFaults(context: Context, guarded: Guarded): Finding[] {
  const { table, owned, isPartition } = guarded;
  const { expectation, facts } = context;
  const names = new Set(facts.roles.map((role) => role.name));
  const held = table.grants.filter((grant) => names.has(grant.grantee) && grant.grantee !== table.owner);
  const wanted = expectedGrants(expectation, guarded);
  const excess = excessOf(guarded, held, wanted ?? mostGrants(owned, table));
  // Partitions are reached through their table.
  if (isPartition || wanted === null) return excess;
  const further = Object.entries(expectation.extras.furtherGrants[owned.table] ?? {}).flatMap(([role, grants]) => {
    const ofRole = table.grants.filter((grant) => grant.grantee === role);
    return [...excessOf(guarded, ofRole, grants), ...missingOf(guarded, ofRole, grants, role)];
  });
  return [...excess, ...missingOf(guarded, held, wanted, expectation.ownership.appRole), ...further];
}

function excessOf({ label, owned }: Guarded, held: readonly Grant[], most: TableGrants): Finding[] {
  return held
    .filter((grant) => !permits(most, grant))
    .map((grant) => {
      const givesAway = grant.column === owned.ownerColumn && grant.privilege === 'update';
      const message = `${identifier(grant.grantee)} may ${phrase(grant)}${givesAway ? ', and so give rows away' : ''}`;
      return fail(
        'grant-excess',
        label,
        message,
        `revoke ${phrase(grant)} on ${label} from ${identifier(grant.grantee)}`,
      );
    });
}

function missingOf({ label }: Guarded, held: readonly Grant[], wanted: TableGrants, role: string): Finding[] {
  return missingGrants(wanted, held).map((what) =>
    fail('grant-missing', label, `${role} may not ${what}`, `grant ${what} on ${label} to ${identifier(role)}`),
  );
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
      : warn('grant-public', label, message, 'It ends with `ringfence apply --until seal --yes`.'),
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
