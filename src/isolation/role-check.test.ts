import { randomBytes } from 'node:crypto';
import { sql as sqlTag } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, statement, type TestDatabase } from '../../test/support/postgres.ts';
import { holdServerRoles } from '../../test/support/server-roles.ts';
import { testSecret } from '../../test/support/templates.ts';
import { openIsolation } from '../database/isolation.ts';
import { withOwner } from '../database/owner.ts';
import { closeDatabase, roleUrl } from '../database/provision.ts';
import { requireSafeRoles, roleExpectations } from '../database/serving.ts';
import { deriveIdentityKey } from './identity.ts';
import { acceptsIdentity, checkRole } from './role-check.ts';

let database: TestDatabase;
let letGo: () => Promise<void>;
/** Roles belong to the whole server: names of our own, removed at the end. */
const suffix = randomBytes(4).toString('hex');
const role = `rc_login_${suffix}`;
const other = `rc_other_${suffix}`;
const between = `rc_between_${suffix}`;
let url: string;

const sql = (text: string) => statement(database.url, text);

beforeAll(async () => {
  letGo = await holdServerRoles();
  database = await createDatabase('isolated');
  await withOwner(database.url, closeDatabase);
  await sql(`create role ${role} login password 'secret' in role ringfence_app`);
  await sql(`create role ${other}; create role ${between}`);
  const login = new URL(database.url);
  login.username = role;
  login.password = 'secret';
  url = login.href;
}, 60_000);
afterEach(async () => {
  await sql(`alter role ${role} nosuperuser nobypassrls nocreaterole noreplication`);
  await sql(`revoke ${other} from ${role}; revoke ${between} from ${role}; revoke ${other} from ${between}`);
  await sql(`revoke ringfence_system, ringfence_accounts from ${role}; alter role ${other} nosuperuser nobypassrls`);
});
afterAll(async () => {
  await sql(`reassign owned by ${role}, ${other} to current_user; drop owned by ${role}, ${other}, ${between}`);
  await sql(`drop role ${role}, ${other}, ${between}`);
  await database.drop();
  await letGo();
});

const faults = async () => (await checkRole(url, roleExpectations.app)).faults;

test('the provisioned roles, and a login of one’s own that is a member, are fit to serve', async () => {
  const appUrl = roleUrl(database.url, 'ringfence_app', testSecret);
  const systemUrl = roleUrl(database.url, 'ringfence_system', testSecret);
  await requireSafeRoles({ appUrl, systemUrl }, 'on');
  expect(await faults()).toEqual([]);
});

test.each([
  ['superuser', /is a superuser/],
  ['bypassrls', /has BYPASSRLS/],
  ['createrole', /has CREATEROLE/],
  ['replication', /has REPLICATION/],
])('a role with %s is refused', async (attribute, reason) => {
  await sql(`alter role ${role} ${attribute}`);
  expect((await faults()).join()).toMatch(reason);
  await expect(requireSafeRoles({ appUrl: url, systemUrl: url }, 'on')).rejects.toMatchObject({
    code: 'unsafe_database_role',
    message: expect.stringMatching(reason),
  });
});

test('a member of a role above the policies is refused, at any depth', async () => {
  await sql(`alter role ${other} bypassrls; grant ${other} to ${between}; grant ${between} to ${role}`);
  expect(await faults()).toEqual([expect.stringMatching(new RegExp(`member .*${other} has BYPASSRLS`))]);
});

/** A membership that gives nothing by itself, only SET ROLE: said with the grant, and before Postgres 16 with the role. */
async function grantForSetOnly(granted: string, work: () => Promise<void>): Promise<void> {
  const { rows } = await sql("select current_setting('server_version_num')::int >= 160000 as per_grant");
  await sql(
    rows[0].per_grant
      ? `grant ${granted} to ${role} with inherit false, set true`
      : `grant ${granted} to ${role}; alter role ${role} noinherit`,
  );
  try {
    await work();
  } finally {
    await sql(`revoke ${granted} from ${role}; alter role ${role} inherit`);
  }
}

test.each(['pg_read_all_data', 'pg_write_all_data'])(
  'a log-in that can only become %s is refused',
  async (predefined) => {
    await grantForSetOnly(predefined, async () => {
      expect(await faults()).toEqual([expect.stringMatching(new RegExp(`${predefined} reaches every table`))]);
    });
  },
);

test.each([
  ['keys that identities are signed with', 'select', 'table ringfence.identity_keys'],
  ['keys that identities are signed with', 'select (inner_pad)', 'table ringfence.identity_keys'],
  ['keys that identities are signed with', 'trigger', 'table ringfence.identity_keys'],
  ['may make temporary tables', 'temporary', 'database'],
  ['may create schemas', 'create', 'database'],
  ['may create objects in the schema public', 'create', 'schema public'],
  ['the schema of the keys', 'create', 'schema ringfence'],
  ['may truncate tasks', 'truncate', 'table tasks'],
  ['may attach triggers or references to tasks', 'references (id)', 'table tasks'],
])('refused, though only a role it can become has it: %s (%s on %s)', async (reason, privilege, object) => {
  const on = object === 'database' ? `database ${database.name}` : object;
  await sql(`grant ${privilege} on ${on} to ${other}`);
  try {
    await grantForSetOnly(other, async () => {
      expect(await faults()).toEqual([expect.stringContaining(reason)]);
    });
  } finally {
    await sql(`revoke ${privilege} on ${on} from ${other}`);
  }
});

test('a log-in that can become the owner of the verifier, or of its schema, is refused', async () => {
  const { rows } = await sql(`select nspowner::regrole::text as owner from pg_namespace where nspname = 'ringfence'`);
  for (const object of [
    'schema ringfence',
    'function ringfence.verified_user_id(boolean)',
    'table ringfence.identity_keys',
  ]) {
    await sql(`alter ${object} owner to ${other}`);
    try {
      await grantForSetOnly(other, async () => {
        expect((await faults()).join(), object).toMatch(new RegExp(`can become ${other}, which`));
      });
    } finally {
      await sql(`alter ${object} owner to ${rows[0].owner}`);
    }
  }
});

test('an owner of a table, and a member of its owner, are refused', async () => {
  const { rows } = await sql("select relowner::regrole::text as owner from pg_class where relname = 'tasks'");
  try {
    await sql(`alter table tasks owner to ${other}; grant ${other} to ${between}; grant ${between} to ${role}`);
    expect(await faults()).toContainEqual(expect.stringMatching(/owns tasks, or is a member of its owner/));
  } finally {
    await sql(`alter table tasks owner to ${rows[0].owner}`);
  }
});

test('the application’s role may not have the policy of system mode', async () => {
  await sql(`grant ringfence_system to ${role}`);
  expect((await faults()).join()).toMatch(/policy that lets .* see more: system_mode/);
});

test('the application’s role may not become the accounts’ role, and gets no policy of it', async () => {
  await sql(`grant ringfence_accounts to ${role}`);
  expect((await faults()).join()).toMatch(/users has a policy that lets .* see more: accounts_mode/);
});

describe('a log-in of one’s own for system mode', () => {
  const systemFaults = async () => (await checkRole(url, roleExpectations.system)).faults;

  test('as a member of ringfence_system it becomes the accounts’ role through it', async () => {
    await sql(`grant ringfence_system to ${role}`);
    expect(await systemFaults()).toEqual([]);
    const { isolation, close } = openIsolation({
      appUrl: url,
      systemUrl: url,
      poolSize: 1,
      secret: testSecret,
      enforcement: 'on',
    });
    const [row] = await isolation.withAccounts('test', (scope) =>
      scope.all<{ role: string }>(scope.db.selectFrom('users').select(sqlTag<string>`current_user::text`.as('role'))),
    );
    await close();
    expect(row).toEqual({ role: 'ringfence_accounts' });
  });

  test('without that membership it is refused, since nobody could sign in', async () => {
    expect((await systemFaults()).join()).toMatch(/may not SET ROLE to ringfence_accounts/);
  });

  test('it may not have the hashes without asking', async () => {
    await sql(`grant ringfence_system, ringfence_accounts to ${role}`);
    expect(await systemFaults()).toEqual([expect.stringMatching(/inherits what ringfence_accounts may do/)]);
  });
});

test.each([
  ['may make temporary tables', (name: string) => `temporary on database ${name}`],
  ['may create schemas', (name: string) => `create on database ${name}`],
  ['may create objects in the schema public', () => 'create on schema public'],
  ['may truncate tasks', () => 'truncate on tasks'],
  ['may attach triggers or references to tasks', () => 'trigger on tasks'],
  ['keys that identities are signed with', () => 'select on ringfence.identity_keys'],
])('a role that %s is refused', async (reason, privilege) => {
  await sql(`grant ${privilege(database.name)} to ${role}`);
  try {
    expect(await faults()).toEqual([expect.stringContaining(reason)]);
  } finally {
    await sql(`revoke ${privilege(database.name)} from ${role}`);
  }
});

test.each([
  ['no row-level security', 'disable row level security', 'enable row level security'],
  ['does not force', 'no force row level security', 'force row level security'],
])('a table that %s is reported', async (reason, change, back) => {
  await sql(`alter table labels ${change}`);
  try {
    expect(await faults()).toEqual([expect.stringMatching(new RegExp(`labels .*${reason}|labels ${reason}`))]);
  } finally {
    await sql(`alter table labels ${back}`);
  }
});

test('a further policy, a missing one, and a missing table are reported', async () => {
  await sql('create policy everybody on rules using (true)');
  expect((await faults()).join()).toMatch(/rules has a policy .*: everybody/);
  await sql('drop policy everybody on rules; alter policy user_isolation on rules rename to renamed');
  expect((await faults()).join()).toMatch(/rules lacks the policy user_isolation/);
  await sql('alter policy renamed on rules rename to user_isolation; alter table rules rename to regulations');
  expect(await faults()).toEqual([expect.stringMatching(/table rules is missing/)]);
  await sql('alter table regulations rename to rules');
});

test('an identity of a key that is not installed is not accepted', async () => {
  const appUrl = roleUrl(database.url, 'ringfence_app', testSecret);
  expect(await acceptsIdentity(appUrl, deriveIdentityKey(testSecret))).toBe(true);
  expect(await acceptsIdentity(appUrl, deriveIdentityKey('another secret of thirty-two bytes or more'))).toBe(false);
});
