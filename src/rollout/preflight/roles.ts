/** Who reads and writes today, and whom a policy will not bind. */
import type { Table } from '../catalog.ts';
import { type Finding, fail, pass, warn } from '../finding.ts';
import { actingAs, bypassing, defaultPrivileges, everybody } from './role-queries.ts';
import { listed, type Subject } from './subject.ts';

/** Superusers in all but name: they read, write or run anything on the server (Postgres manual, "Predefined Roles"). */
const serverRoles = ['pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'];

const ourRoles = ['ringfence_app', 'ringfence_system', 'ringfence_shadow', 'ringfence_accounts'];

const uses = ['select', 'insert', 'update', 'delete', 'truncate'];

export async function roleFindings(subject: Subject): Promise<Finding[]> {
  return [
    ...(await bypassFindings(subject)),
    ...(await ownerFindings(subject)),
    ...userFindings(subject),
    ...(await everybodyFindings(subject)),
    ...(await defaultFindings(subject)),
  ];
}

interface BypassRow {
  readonly login: string;
  readonly role: string;
  readonly reason: 'superuser' | 'files' | 'bypass' | 'replication' | 'all-data' | 'create-role';
}

const because: Readonly<Record<BypassRow['reason'], string>> = {
  superuser: 'is a superuser, whom no policy binds',
  files: "reaches the server's files or programs, and so everything",
  bypass: 'has BYPASSRLS',
  replication: 'has REPLICATION and can copy every row',
  'all-data': 'reaches every table, also the keys that identities are signed with',
  'create-role': 'has CREATEROLE and can make itself a member of any role that is no superuser',
};

async function bypassFindings({ client, catalog }: Subject): Promise<Finding[]> {
  const { rows } = await client.query<BypassRow>(bypassing, [serverRoles]);
  const others = Map.groupBy(
    rows.filter(({ login }) => login !== catalog.role.name),
    (row) => row.login,
  );
  if (others.size === 0) return [pass('policy-bypass', undefined, 'Nobody else stands above policies.')];
  return [...others].map(([login, ways]) => {
    const reasons = ways.map(({ role, reason }) =>
      role === login ? because[reason] : `can become ${role}, which ${because[reason]}`,
    );
    return warn(
      'policy-bypass',
      `role ${login}`,
      `It ${listed(reasons)}.`,
      'The isolated application must not log in as it; take away what is not needed.',
    );
  });
}

/** FORCE binds an owner, but an owner can lift it. */
async function ownerFindings({ client, catalog, tables }: Subject): Promise<Finding[]> {
  const owned = Map.groupBy(tables, (table) => table.owner);
  const { rows } = await client.query<{ login: string; role: string }>(actingAs, [[...owned.keys()]]);
  const others = Map.groupBy(
    rows.filter(({ login }) => login !== catalog.role.name && !ourRoles.includes(login)),
    (row) => row.login,
  );
  if (others.size === 0) return [pass('table-owners', undefined, 'Nobody else can act as the owner of a table.')];
  return [...others].map(([login, roles]) => {
    const labels = roles.flatMap(({ role }) => owned.get(role)?.map((table) => table.label) ?? []);
    return warn(
      'table-owners',
      `role ${login}`,
      `It is, or can become, the owner of ${listed(labels)}, and an owner can take policies away.`,
      'After the seal the application must log in as ringfence_app, which owns nothing.',
    );
  });
}

function userFindings({ tables, options }: Subject): Finding[] {
  const byRole = new Map<string, { privileges: Set<string>; labels: Set<string> }>();
  for (const table of tables) {
    for (const { grantee, privilege } of usesOf(table)) {
      const use = byRole.get(grantee) ?? { privileges: new Set(), labels: new Set() };
      use.privileges.add(privilege);
      use.labels.add(table.label);
      byRole.set(grantee, use);
    }
  }
  return [...byRole].toSorted().map(([role, { privileges, labels }]) => {
    const may = `may ${uses.filter((use) => privileges.has(use)).join(', ')} ${listed([...labels].toSorted())}`;
    if (role === 'public') {
      // Whoever may use the tables today is exempt until the seal: PUBLIC there would exempt the new application as well.
      const remedy = 'Revoke it from PUBLIC and grant it to the roles of the old application by name.';
      return fail(
        'public-grants',
        undefined,
        `Everybody (PUBLIC) ${may}: who is exempt until the seal could not be told from who is not.`,
        remedy,
      );
    }
    if (options.legacyRoles?.includes(role)) {
      return pass('old-application', `role ${role}`, `It ${may}; it is exempt from the policies until the seal.`);
    }
    return warn(
      'old-application',
      `role ${role}`,
      `It ${may}. After the seal it sees no row without an identity.`,
      'List it under legacyRoles when it is the old application; give it another way to its data when it is not.',
    );
  });
}

function usesOf(table: Table) {
  return table.grants.filter(
    ({ grantee, privilege }) => grantee !== table.owner && uses.includes(privilege) && !ourRoles.includes(grantee),
  );
}

async function everybodyFindings({ client, tables }: Subject): Promise<Finding[]> {
  const schemas = [...new Set(['public', ...tables.map((table) => table.schema)])];
  const { rows } = await client.query<{ privilege: 'temporary' | 'create'; object: string }>(everybody, [schemas]);
  return rows.map(({ privilege, object }) =>
    privilege === 'temporary'
      ? warn(
          'public-temporary',
          undefined,
          'Everybody may make temporary tables, which outlive a request on a pooled connection.',
          'The plan takes it from PUBLIC and gives it to the roles that are there; take it from those who do not need it.',
        )
      : warn(
          'public-create',
          `schema ${object}`,
          'Everybody may create objects in it, and so shadow a function or an operator.',
          'The plan takes it from PUBLIC and gives it to the roles that are there; take it from those who do not need it.',
        ),
  );
}

interface DefaultRow {
  readonly creator: string;
  readonly schema: string | null;
  readonly grantee: string;
  readonly privileges: readonly string[];
}

async function defaultFindings({ client }: Subject): Promise<Finding[]> {
  const { rows } = await client.query<DefaultRow>(defaultPrivileges);
  return rows
    .filter(({ grantee }) => !ourRoles.includes(grantee))
    .map(({ creator, schema, grantee, privileges }) =>
      warn(
        'default-privileges',
        grantee === 'public' ? 'PUBLIC' : `role ${grantee}`,
        `It gets ${privileges.join(', ')} on every table that ${creator} makes${schema ? ` in ${schema}` : ''}, before any policy is there.`,
        'alter default privileges … revoke, and grant on each table once it is isolated.',
      ),
    );
}
