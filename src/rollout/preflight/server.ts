/** Whether this server and this role can carry out a rollout at all. */
import type { ClientBase } from 'pg';
import { type Finding, fail, pass, warn } from '../finding.ts';
import { abilities, foreignOwners, version } from './server-queries.ts';
import { listed, type Subject } from './subject.ts';

const oldestMajor = 15;

/** The first releases without CVE-2026-14666, by which a policy may be planned for another role. */
const repaired: Readonly<Record<number, number>> = { 15: 19, 16: 15, 17: 11, 18: 6 };

const rolloutRoles = ['ringfence_app', 'ringfence_system', 'ringfence_shadow'];

interface Abilities {
  readonly superuser: boolean;
  readonly bypassRls: boolean;
  readonly createRole: boolean;
  readonly rolesExist: boolean;
  /** Roles of the rollout that are there and that it may not grant. */
  readonly rolesForeign: readonly string[];
  readonly createSchema: boolean;
  readonly replicaMode: boolean;
  readonly standby: boolean;
  readonly readOnly: boolean;
  readonly uuid: boolean;
}

/** @param number server_version_num: major × 10000 + minor */
export function versionFinding(number: number): Finding {
  const major = Math.floor(number / 10_000);
  const minor = number % 10_000;
  const spelt = `Postgres ${major}.${minor}`;
  if (major < oldestMajor) {
    return fail(
      'version',
      undefined,
      `${spelt} is too old: it knows neither security_invoker views nor ON DELETE SET NULL (column).`,
      `Upgrade to Postgres ${oldestMajor} or newer.`,
    );
  }
  const fixed = repaired[major];
  if (fixed !== undefined && minor < fixed) {
    return warn(
      'version',
      undefined,
      `${spelt} has CVE-2026-14666, a way round row-level security.`,
      `Update to ${major}.${fixed} or newer.`,
    );
  }
  return pass('version', undefined, `${spelt}.`);
}

/** Asked before the catalogue is read: on an older server its queries fail. */
export async function serverVersionFinding(client: ClientBase): Promise<Finding> {
  const { rows } = await client.query<{ version: number }>(version);
  return versionFinding(rows[0]?.version ?? 0);
}

export async function serverFindings({ client, catalog, tables }: Subject): Promise<Finding[]> {
  const { rows } = await client.query<Abilities>(abilities, [rolloutRoles]);
  const [able] = rows;
  if (!able) throw new Error('the role that asks is not in pg_roles');
  const role = `role ${catalog.role.name}`;
  return [
    versionFinding(catalog.serverVersion),
    able.uuid
      ? pass('uuid', undefined, 'The type uuid and gen_random_uuid() are built in.')
      : fail(
          'uuid',
          undefined,
          'The type uuid does not work.',
          'Look for an extension that shadows gen_random_uuid().',
        ),
    writable(able),
    roleMaking(able, role),
    able.createSchema
      ? pass('rollout-role', role, 'It may create schemas in this database.')
      : fail(
          'rollout-role',
          role,
          'It may not create schemas in this database; the rollout keeps its state in one.',
          `As the database's owner: grant create on database … to the role, or use the owner's log-in.`,
        ),
    await owning({ client, tables }, role),
    ...triggersAtRest(tables, able, role),
    ...filtered(tables, able, role),
  ];
}

function writable({ standby, readOnly }: Abilities): Finding {
  if (standby) {
    return fail('writable', undefined, 'This server is a standby and takes no changes.', 'Connect to the primary.');
  }
  if (readOnly) {
    const remedy = 'Find out who set it, and unset default_transaction_read_only for this role and database.';
    return fail('writable', undefined, 'Transactions are read-only by default here.', remedy);
  }
  return pass('writable', undefined, 'The server takes changes.');
}

function roleMaking({ superuser, createRole, rolesExist, rolesForeign }: Abilities, role: string): Finding {
  if (rolesForeign.length > 0) {
    const list = rolesForeign.join(', ');
    return fail(
      'rollout-role',
      role,
      `It may not become ${list}, which somebody else has made and as which it has to probe.`,
      `As an administrator: grant ${list} to the role with admin option.`,
    );
  }
  if (superuser || createRole) return pass('rollout-role', role, 'It may create the roles that the rollout needs.');
  if (rolesExist) return pass('rollout-role', role, 'The roles that the rollout needs are there.');
  return fail(
    'rollout-role',
    role,
    `It may not create roles, and ${rolloutRoles.join(', ')} are not all there.`,
    'Give it CREATEROLE for the time of the rollout, or let an administrator create the three roles.',
  );
}

async function owning({ client, tables }: Pick<Subject, 'client' | 'tables'>, role: string): Promise<Finding> {
  const owners = [...new Set(tables.map((table) => table.owner))];
  const { rows } = await client.query<{ owner: string }>(foreignOwners, [owners]);
  const others = new Set(rows.map((row) => row.owner));
  if (others.size === 0) return pass('rollout-role', role, 'It may alter every table.');
  const foreign = tables.filter((table) => others.has(table.owner)).map((table) => table.label);
  return fail(
    'rollout-role',
    role,
    `It is not the owner of ${listed(foreign)} (owned by ${listed([...others])}); only an owner may alter a table.`,
    "Use the owner's log-in, or make the role a member of the owner, or leave these tables out in the configuration.",
  );
}

/** The backfill must not look like the old application's work: neither audit rows nor changed timestamps. */
function triggersAtRest(tables: Subject['tables'], { replicaMode }: Abilities, role: string): Finding[] {
  const fired = tables.flatMap((table) =>
    table.triggers.filter((t) => t.onAnyUpdate && t.enabled === 'origin').map((t) => `${table.label} ${t.name}`),
  );
  if (fired.length === 0) return [];
  if (replicaMode) {
    return [pass('rollout-role', role, 'It may set session_replication_role, so that the backfill fires no trigger.')];
  }
  return [
    fail(
      'rollout-role',
      role,
      `It may not set session_replication_role, so the backfill would fire triggers: ${listed(fired)}.`,
      'As a superuser: grant set on parameter session_replication_role to the role.',
    ),
  ];
}

/** Under forced policies this role would count, copy and fill only what it is shown. */
function filtered(tables: Subject['tables'], { superuser, bypassRls }: Abilities, role: string): Finding[] {
  const forced = tables.filter((table) => table.forced && table.rowSecurity).map((table) => table.label);
  if (superuser || bypassRls || forced.length === 0) return [];
  return [
    fail(
      'rollout-role',
      role,
      `Policies filter what it sees of ${listed(forced)}; a backup or a backfill would leave rows out.`,
      'Give it BYPASSRLS for the time of the rollout, or lift FORCE ROW LEVEL SECURITY from these tables.',
    ),
  ];
}
