/** Our own schema at 003 is a finished, contracted example: it must pass, and each defect must be found by its name. */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../../test/support/postgres.ts';
import { ownExtras, ownSchema } from '../../database/own-rollout.ts';
import { withOwner } from '../../database/owner.ts';
import { closeDatabase } from '../../database/provision.ts';
import { quarantineUserId } from '../../isolation/owned-tables.ts';
import type { Finding } from '../finding.ts';
import { condition } from '../steps/shadow.ts';
import { appRoleCheck } from './app-role.ts';
import type { Expectation } from './expectation.ts';
import { fingerprint } from './fingerprint.ts';
import { grantCheck } from './grants.ts';
import { identityCheck } from './identity-function.ts';
import { policyCheck } from './policies.ts';
import { reachChecks } from './reach.ts';
import { structureChecks } from './structure.ts';
import { readContext, verifyDatabase } from './verify.ts';

const expectation: Expectation = { ownership: ownSchema, reached: 'contract', extras: ownExtras };
const ann = '018f0000-0000-7000-8000-00000000000a';
const bob = '018f0000-0000-7000-8000-00000000000b';

let database: TestDatabase;
let client: pg.Client;

/** Two users with rows in tables of every kind: with and without a parent, and account tables. */
const rows = `
insert into users (id, email, name) values ('${ann}', 'ann@example.com', 'Ann'), ('${bob}', 'bob@example.com', 'Bob');
insert into projects (user_id, id, name) select u, gen_random_uuid(), 'p' || n
  from unnest(array['${ann}', '${bob}']::uuid[]) u, generate_series(1, 3) n;
insert into project_git_branchs (user_id, id, project_id, name) select user_id, gen_random_uuid(), id, name from projects;
insert into tasks (user_id, id, git_branch_id, title, description) select user_id, gen_random_uuid(), id, 'x', 'z' from project_git_branchs;
insert into task_subtasks (user_id, id, task_id, title) select user_id, gen_random_uuid(), id, 'y' from tasks;
insert into labels (user_id, id, name) select id, gen_random_uuid(), 'urgent' from users where status = 'active';
insert into task_labels (user_id, id, task_id, label_id)
  select t.user_id, gen_random_uuid(), t.id, l.id from tasks t join labels l using (user_id);
insert into user_access_log (user_id, actor, operation, outcome) select id, 'cli', 'test', 'ok' from users where status = 'active';
`;

beforeAll(async () => {
  database = await createDatabase('isolated');
  await withOwner(database.url, closeDatabase);
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query(rows);
});

afterAll(async () => {
  await client.end();
  await database.drop();
});

const verify = (changes: Partial<Expectation> = {}) => verifyDatabase(client, { ...expectation, ...changes });

type Fault = readonly [severity: string, check: string, object: string | undefined];

const faultsOf = (findings: readonly Finding[]): Fault[] =>
  findings
    .filter(({ severity }) => severity !== 'pass')
    .map(({ severity, check, object }) => [severity, check, object]);

/** What can be told from the catalogue alone. */
async function look(changes: Partial<Expectation> = {}): Promise<Fault[]> {
  const context = await readContext(client, { ...expectation, ...changes });
  const checks = [...structureChecks, policyCheck, appRoleCheck, grantCheck, identityCheck, ...reachChecks];
  const findings = await Promise.all(checks.map((check) => check.run(context)));
  return faultsOf(findings.flat());
}

/** A defect, and what takes it back. */
interface Defect {
  readonly name: string;
  readonly make: string;
  readonly undo: string;
  readonly faults: readonly Fault[];
}

test('our own schema passes, with every kind of probe run', async () => {
  const result = await verify();
  expect(faultsOf(result.findings)).toEqual([]);
  expect(result.summary.probedTables).toBe(ownSchema.owned.length);
  expect(result.summary.probes).toBeGreaterThan(ownSchema.owned.length * 10);
  expect(result.summary.ownerless).toContainEqual({ table_name: 'public.tasks', null_user_ids: 0 });
});

test('it leaves nothing behind', async () => {
  const state = `select (select count(*) from ringfence.identity_keys) as keys, (select count(*) from tasks) as tasks,
    (select count(*) from pg_auth_members where member = current_user::regrole) as members, current_user, current_setting('ringfence.identity', true) as identity`;
  const before = await client.query(state);
  await verify();
  expect((await client.query(state)).rows).toEqual(before.rows);
});

test('each statement of a probe says whose it is: monitor would take it for one of the application', async () => {
  const here = '(select oid from pg_database where datname = current_database())';
  await client.query(`select public.pg_stat_statements_reset(0, ${here}, 0)`);
  await verify();
  const { rows: statements } = await client.query<{ query: string }>(
    `select query from public.pg_stat_statements where userid = 'ringfence_app'::regrole and dbid = ${here}
     and query like '%public.%' and query not like 'explain %'`,
  );
  expect(statements.length).toBeGreaterThan(ownSchema.owned.length);
  expect(statements.filter(({ query }) => !/^\w+ \/\* ringfence verify \*\//.test(query))).toEqual([]);
});

const own = condition('user_id');
const remake = `create policy user_isolation on tasks using (${own}) with check (${own})`;

const structural: Defect[] = [
  {
    name: 'a table nobody has classified',
    make: 'create table notes (id int)',
    undo: 'drop table notes',
    faults: [['fail', 'unclassified-table', 'public.notes']],
  },
  {
    name: 'an owner that may be null',
    make: 'alter table task_subtasks drop constraint task_subtasks_pkey, alter column user_id drop not null',
    undo: 'alter table task_subtasks alter column user_id set not null, add constraint task_subtasks_pkey primary key (user_id, id)',
    faults: [['fail', 'owner-column', 'public.task_subtasks']],
  },
  {
    name: 'another default owner',
    make: `alter table tasks alter column user_id set default '${quarantineUserId}'`,
    undo: 'alter table tasks alter column user_id set default ringfence.current_user_id()',
    faults: [['fail', 'owner-default', 'public.tasks']],
  },
  {
    name: 'no index by owner',
    make: 'drop index idx_tasks_user_id',
    undo: 'create index idx_tasks_user_id on tasks (user_id)',
    faults: [['fail', 'owner-index', 'public.tasks']],
  },
  {
    name: 'an invalid index',
    make: "update pg_index set indisvalid = false where indexrelid = 'idx_tasks_user_id_created_at'::regclass",
    undo: "update pg_index set indisvalid = true where indexrelid = 'idx_tasks_user_id_created_at'::regclass",
    faults: [['fail', 'invalid-index', 'public.tasks']],
  },
  {
    name: 'a unique constraint over all users',
    make: 'alter table task_labels add constraint once unique (id)',
    undo: 'alter table task_labels drop constraint once',
    faults: [['fail', 'key-spans-users', 'public.task_labels']],
  },
  {
    name: 'a unique index over all users',
    make: 'create unique index once on projects (id, lower(name)) where status is not null',
    undo: 'drop index once',
    faults: [['fail', 'key-spans-users', 'public.projects']],
  },
  {
    name: 'a reference without the owner',
    make: `alter table projects add constraint once unique (id);
      alter table rules add constraint loose foreign key (project_id) references projects (id)`,
    undo: 'alter table rules drop constraint loose; alter table projects drop constraint once',
    faults: [
      ['fail', 'key-spans-users', 'public.projects'],
      ['fail', 'reference-without-owner', 'public.rules'],
    ],
  },
  {
    name: 'a reference that was never validated',
    make: `alter table tasks drop constraint fk_tasks_git_branch_id, add constraint fk_tasks_git_branch_id
      foreign key (user_id, git_branch_id) references project_git_branchs (user_id, id) on delete cascade not valid`,
    undo: 'alter table tasks validate constraint fk_tasks_git_branch_id',
    faults: [['fail', 'reference-not-validated', 'public.tasks']],
  },
  {
    name: 'a reference that empties the owner too',
    make: `alter table rules drop constraint fk_rules_parent_rule_id, add constraint fk_rules_parent_rule_id
      foreign key (user_id, parent_rule_id) references rules (user_id, id) on delete set null`,
    undo: `alter table rules drop constraint fk_rules_parent_rule_id, add constraint fk_rules_parent_rule_id
      foreign key (user_id, parent_rule_id) references rules (user_id, id) on delete set null (parent_rule_id)`,
    faults: [['fail', 'reference-empties-owner', 'public.rules']],
  },
  {
    name: 'a trigger of the rollout that was left',
    make: `create schema ringfence_rollout;
      create function ringfence_rollout.owner() returns trigger language plpgsql as 'begin return new; end';
      create trigger ringfence_owner before insert on tasks for each row execute function ringfence_rollout.owner()`,
    undo: 'drop schema ringfence_rollout cascade',
    faults: [['fail', 'leftover-trigger', 'public.tasks']],
  },
];

const guarding: Defect[] = [
  {
    name: 'no policy',
    make: 'drop policy user_isolation on tasks',
    undo: remake,
    faults: [['fail', 'policy-missing', 'public.tasks']],
  },
  {
    name: 'a policy that is always true',
    make: 'alter policy user_isolation on tasks using (true) with check (true)',
    undo: `alter policy user_isolation on tasks using (${own}) with check (${own})`,
    faults: [['fail', 'policy-differs', 'public.tasks']],
  },
  {
    name: 'a policy that does not look at what is written',
    make: `drop policy user_isolation on tasks; create policy user_isolation on tasks using (${own})`,
    undo: `drop policy user_isolation on tasks; ${remake}`,
    faults: [['fail', 'policy-differs', 'public.tasks']],
  },
  {
    name: 'a policy for reading alone',
    make: `drop policy user_isolation on tasks; create policy user_isolation on tasks for select using (${own})`,
    undo: `drop policy user_isolation on tasks; ${remake}`,
    faults: [['fail', 'policy-differs', 'public.tasks']],
  },
  {
    name: 'a policy that binds one role alone',
    make: 'alter policy user_isolation on tasks to ringfence_app',
    undo: 'alter policy user_isolation on tasks to public',
    faults: [['fail', 'policy-differs', 'public.tasks']],
  },
  {
    name: 'a plain setting in the place of the signed identity',
    make: "alter policy user_isolation on tasks using (user_id = current_setting('app.user')::uuid)",
    undo: `alter policy user_isolation on tasks using (${own})`,
    faults: [['fail', 'policy-differs', 'public.tasks']],
  },
  {
    name: 'a further policy',
    make: 'create policy debug on tasks for select using (title is null)',
    undo: 'drop policy debug on tasks',
    faults: [['fail', 'policy-further', 'public.tasks']],
  },
  {
    name: "the old application's exemption after the seal",
    make: 'create policy legacy_application on tasks to ringfence_accounts using (true) with check (true)',
    undo: 'drop policy legacy_application on tasks',
    faults: [['fail', 'policy-legacy', 'public.tasks']],
  },
  {
    name: 'a policy of ours that is meant and missing',
    make: 'drop policy no_system_outcome on user_access_log',
    undo: `create policy no_system_outcome on user_access_log as restrictive for insert
      to ringfence_app, ringfence_accounts with check (outcome <> 'system')`,
    faults: [['fail', 'policy-missing', 'public.user_access_log']],
  },
  {
    name: 'row security that is off',
    make: 'alter table labels disable row level security',
    undo: 'alter table labels enable row level security',
    faults: [['fail', 'row-security', 'public.labels']],
  },
  {
    name: 'row security that is not forced',
    make: 'alter table labels no force row level security',
    undo: 'alter table labels force row level security',
    faults: [['fail', 'row-security', 'public.labels']],
  },
  {
    name: 'truncate',
    make: 'grant truncate on tasks to ringfence_app',
    undo: 'revoke truncate on tasks from ringfence_app',
    faults: [['fail', 'grant-excess', 'public.tasks']],
  },
  {
    name: 'references and trigger',
    make: 'grant references, trigger on tasks to ringfence_app',
    undo: 'revoke references, trigger on tasks from ringfence_app',
    faults: [
      ['fail', 'grant-excess', 'public.tasks'],
      ['fail', 'grant-excess', 'public.tasks'],
    ],
  },
  {
    name: 'update of the owner',
    make: 'grant update (user_id) on tasks to ringfence_app',
    undo: 'revoke update (user_id) on tasks from ringfence_app',
    faults: [['fail', 'grant-excess', 'public.tasks']],
  },
  {
    name: 'a hash that may be read',
    make: 'grant select (password_hash) on users to ringfence_app',
    undo: 'revoke select (password_hash) on users from ringfence_app',
    faults: [['fail', 'grant-excess', 'public.users']],
  },
  {
    name: 'a privilege that is missing',
    make: 'revoke delete on tasks from ringfence_app',
    undo: 'grant delete on tasks to ringfence_app',
    faults: [['fail', 'grant-missing', 'public.tasks']],
  },
  {
    name: 'more for the role that signs in than that takes',
    make: 'grant delete on users to ringfence_accounts; revoke insert on sessions from ringfence_accounts',
    undo: 'revoke delete on users from ringfence_accounts; grant insert (user_id, id, token_hash, expires_at, user_agent) on sessions to ringfence_accounts',
    faults: [
      ['fail', 'grant-excess', 'public.users'],
      ['fail', 'grant-missing', 'public.sessions'],
    ],
  },
  {
    name: 'everybody',
    make: 'grant select on tasks to public',
    undo: 'revoke select on tasks from public',
    faults: [['fail', 'grant-public', 'public.tasks']],
  },
  {
    name: 'a shared table that may be written',
    make: 'grant insert on ringfence_migrations to ringfence_app',
    undo: 'revoke insert on ringfence_migrations from ringfence_app',
    faults: [['fail', 'grant-excess', 'public.ringfence_migrations']],
  },
  {
    name: 'privileges on tables that do not exist yet',
    make: 'alter default privileges in schema public grant select on tables to ringfence_app',
    undo: 'alter default privileges in schema public revoke select on tables from ringfence_app',
    faults: [['fail', 'default-privileges', 'role ringfence_app']],
  },
  {
    name: 'a body that believes everything',
    make: `create or replace function ringfence.verified_user_id(loud boolean) returns uuid
      language plpgsql stable security definer parallel restricted set search_path = pg_catalog, pg_temp
      as $$ begin return split_part(current_setting('ringfence.identity'), '.', 1)::uuid; end $$`,
    undo: '',
    faults: [['fail', 'identity-function', 'ringfence.verified_user_id(boolean)']],
  },
  {
    name: 'a search path that is open',
    make: 'alter function ringfence.verified_user_id(boolean) set search_path = ringfence, public',
    undo: 'alter function ringfence.verified_user_id(boolean) set search_path = pg_catalog, pg_temp',
    faults: [['fail', 'identity-function', 'ringfence.verified_user_id(boolean)']],
  },
  {
    name: 'a default that says somebody else',
    make: `create or replace function ringfence.current_user_id() returns uuid language sql stable parallel restricted
      as $$ select coalesce(ringfence.verified_user_id(true), '${quarantineUserId}') $$`,
    undo: `create or replace function ringfence.current_user_id() returns uuid language sql stable parallel restricted
      as $$ select ringfence.verified_user_id(true) $$`,
    faults: [['fail', 'identity-function', 'ringfence.current_user_id()']],
  },
  {
    name: 'keys that the application can read',
    make: 'grant select (inner_pad) on ringfence.identity_keys to ringfence_app',
    undo: 'revoke select (inner_pad) on ringfence.identity_keys from ringfence_app',
    faults: [['fail', 'identity-keys', 'ringfence.identity_keys']],
  },
  {
    name: 'a schema to make objects in',
    make: 'grant create on schema public to ringfence_app',
    undo: 'revoke create on schema public from ringfence_app',
    faults: [['fail', 'app-role', 'role ringfence_app']],
  },
  {
    name: "a view with its owner's rights, behind another",
    make: `create view open_tasks as select id from tasks; create view titles with (security_invoker) as select id from open_tasks;
      create view front as select id from titles; grant select on front to ringfence_app`,
    undo: 'drop view front, titles, open_tasks',
    faults: [['fail', 'view-owner-rights', 'public.front']],
  },
  {
    name: 'a materialized view',
    make: 'create materialized view copy as select id from tasks; grant select on copy to ringfence_app',
    undo: 'drop materialized view copy',
    faults: [['fail', 'materialized-view', 'public.copy']],
  },
  {
    name: "a function with its owner's rights, which everybody may call by default",
    make: "create function everything() returns bigint language sql security definer as 'select count(*) from public.tasks'",
    undo: 'drop function everything()',
    faults: [['fail', 'definer-function', 'public.everything()']],
  },
];

describe('each defect is found, and nothing else', () => {
  test.each([...structural, ...guarding])('$name', async ({ make, undo, faults }) => {
    const body = await client.query<{ sql: string }>(
      "select pg_get_functiondef('ringfence.verified_user_id(boolean)'::regprocedure) as sql",
    );
    await client.query(make);
    try {
      expect(await look()).toEqual(faults);
    } finally {
      await client.query(undo || (body.rows[0]?.sql ?? ''));
    }
    expect(await look()).toEqual([]);
  });

  test('views and functions that keep to the policies, or that the application cannot reach, are well', async () => {
    await client.query(`create view mine with (security_invoker) as select id from tasks; grant select on mine to ringfence_app;
      create view theirs as select id from tasks;
      create function closed() returns int language sql security definer as 'select 1'; revoke all on function closed() from public`);
    try {
      expect(await look()).toEqual([]);
    } finally {
      await client.query('drop view mine, theirs; drop function closed()');
    }
  });

  test('what the application owns', async () => {
    await client.query('create table mine (id int); alter table mine owner to ringfence_app');
    try {
      expect(await look()).toEqual([
        ['fail', 'unclassified-table', 'public.mine'],
        ['fail', 'app-role', 'role ringfence_app'],
      ]);
    } finally {
      await client.query('drop table mine');
    }
  });

  test('a role that the application is a member of', async () => {
    // Roles are the whole server's, and other tests' applications work as ringfence_app.
    const [app, above] = [`verify_app_${randomUUID().slice(0, 8)}`, `verify_${randomUUID().slice(0, 8)}`];
    await client.query(`create role ${app}; create role ${above} bypassrls in role pg_read_all_data;
      grant truncate on tasks to ${above}; grant ${above} to ${app}`);
    try {
      const faults = await look({ ownership: { ...ownSchema, appRole: app } });
      expect(faults.filter(([, check]) => check !== 'grant-missing')).toEqual([
        ['fail', 'app-role', `role ${app}`],
        ['fail', 'app-role', `role ${app}`],
        ['fail', 'grant-excess', 'public.tasks'],
      ]);
    } finally {
      await client.query(`revoke all on tasks from ${above}; drop role ${app}, ${above}`);
    }
  });
});

describe('rows', () => {
  const orphan = randomUUID();

  test('owners that are no user, and rows in quarantine, are counted', async () => {
    await client.query(`begin; set local session_replication_role = replica;
      insert into labels (user_id, id, name) values ('${orphan}', gen_random_uuid(), 'a'), ('${orphan}', gen_random_uuid(), 'b');
      insert into labels (user_id, id, name) values ('${quarantineUserId}', gen_random_uuid(), 'c'); commit`);
    const { findings } = await verify();
    await client.query(`delete from labels where user_id in ('${orphan}', '${quarantineUserId}')`);
    expect(faultsOf(findings)).toEqual([
      ['warn', 'owner-unknown', 'public.labels'],
      ['warn', 'quarantine', 'public.labels'],
    ]);
    const messages = findings.map(({ message }) => message);
    expect(messages).toContainEqual(expect.stringContaining(`2 rows whose owner is not in public.users: ${orphan}`));
    expect(messages).toContainEqual(expect.stringContaining('1 row in quarantine'));
  });

  test('a row that refers to a row of another user is named', async () => {
    const id = randomUUID();
    await client.query(`begin; set local session_replication_role = replica;
      insert into task_subtasks (user_id, id, task_id, title)
        select '${ann}', '${id}', id, 'z' from tasks where user_id = '${bob}' limit 1; commit`);
    const { findings } = await verify();
    await client.query(`delete from task_subtasks where id = '${id}'`);
    expect(faultsOf(findings)).toEqual([['fail', 'owner-of-parent', 'public.task_subtasks']]);
    const finding = findings.find(({ check, severity }) => check === 'owner-of-parent' && severity === 'fail');
    expect(finding?.message).toContain(`1 row whose owner is not that of what fk_task_subtasks_task_id (task_id)`);
    expect(finding?.message).toContain(id);
  });
});

describe('probes', () => {
  const probeFaults = async (changes: Partial<Expectation> = {}) =>
    faultsOf((await verify(changes)).findings).filter(([, check]) => /^(probe|not-probed|index-not)/.test(check));

  async function withDefect(make: string, undo: string, changes: Partial<Expectation> = {}) {
    await client.query(make);
    try {
      return await probeFaults(changes);
    } finally {
      await client.query(undo);
    }
  }

  test('a policy that is always true lets every probe through', async () => {
    const faults = await withDefect(
      'alter policy user_isolation on tasks using (true) with check (true)',
      `alter policy user_isolation on tasks using (${own}) with check (${own})`,
    );
    const checks = new Set(faults.map(([, check]) => check));
    expect(checks).toEqual(
      new Set(['probe-select', 'probe-insert', 'probe-update', 'probe-delete', 'probe-nobody', 'probe-forgery']),
    );
    expect(faults.every(([severity, , object]) => severity === 'fail' && object === 'public.tasks')).toBe(true);
  });

  test('a plain setting is forged in a UNION, and nobody is noticed', async () => {
    const plain = "user_id = (select nullif(current_setting('ringfence.identity', true), '')::uuid)";
    const faults = await withDefect(
      `alter policy user_isolation on labels using (${plain}) with check (${plain})`,
      `alter policy user_isolation on labels using (${own}) with check (${own})`,
    );
    expect(faults.length).toBeGreaterThan(3);
    expect(new Set(faults.map(([, , object]) => object))).toEqual(new Set(['public.labels']));
  });

  test('no policy at all: the user does not see his own rows', async () => {
    expect(await withDefect('drop policy user_isolation on tasks', remake)).toContainEqual([
      'fail',
      'probe-select',
      'public.tasks',
    ]);
  });

  test('a policy that does not look at what is written', async () => {
    const faults = await withDefect(
      'alter policy user_isolation on labels with check (true)',
      `alter policy user_isolation on labels with check (${own})`,
    );
    expect(faults).toContainEqual(['fail', 'probe-insert', 'public.labels']);
    expect(faults).not.toContainEqual(['fail', 'probe-select', 'public.labels']);
  });

  test('an owner that may be changed', async () => {
    const faults = await withDefect(
      `grant update (user_id) on task_subtasks to ringfence_app;
       alter policy user_isolation on task_subtasks using (true) with check (true)`,
      `revoke update (user_id) on task_subtasks from ringfence_app;
       alter policy user_isolation on task_subtasks using (${own}) with check (${own})`,
    );
    expect(faults).toContainEqual(['fail', 'probe-owner-change', 'public.task_subtasks']);
  });

  test('what Postgres does to nobody’s row tells nothing of the walls, and is not said to have reached one', async () => {
    const faults = await withDefect('create publication narrow for table labels (id)', 'drop publication narrow');
    expect(new Set(faults.map((fault) => fault.join(' ')))).toEqual(new Set(['fail probe-incomplete public.labels']));
  });

  test('a table without any index by owner', async () => {
    expect(
      await withDefect(
        `alter table user_access_log drop constraint user_access_log_pkey; drop index idx_user_access_log_user_id_at`,
        `alter table user_access_log add primary key (user_id, id);
         create index idx_user_access_log_user_id_at on user_access_log (user_id, at, id)`,
      ),
    ).toEqual([['fail', 'index-not-used', 'public.user_access_log']]);
  });

  test('of a table with very many rows the first owners are taken', async () => {
    await client.query("update pg_class set reltuples = 1e7 where oid = 'labels'::regclass");
    try {
      expect(faultsOf((await verify()).findings)).toEqual([]);
    } finally {
      await client.query("update pg_class set reltuples = -1 where oid = 'labels'::regclass");
    }
  });

  test('while the exemption is for everybody there is nothing to probe, and it says so', async () => {
    const faults = await withDefect(
      'create policy legacy_application on tasks to public using (true) with check (true)',
      'drop policy legacy_application on tasks',
      { reached: 'cutover', ownership: { ...ownSchema, legacyRoles: ['public'] } },
    );
    expect(faults).toEqual([['warn', 'not-probed', 'public.tasks']]);
  });

  test('a writer does not wait, and is not waited for', async () => {
    const writer = new pg.Client({ connectionString: database.url });
    await writer.connect();
    try {
      // Every row of a table is being changed by somebody all the while.
      await writer.query("begin; update tasks set title = 'busy'");
      expect(faultsOf((await verify()).findings)).toEqual([]);
    } finally {
      await writer.query('rollback');
      await writer.end();
    }
  });
});

describe('an owner of tables who is no superuser', () => {
  const role = `verify_owner_${randomUUID().slice(0, 8)}`;

  test('sees all rows for the moment, and is what it was afterwards', async () => {
    await client.query(`create role ${role} login password 'x' createrole`);
    const version =
      (await client.query<{ v: number }>("select current_setting('server_version_num')::int as v")).rows[0]?.v ?? 0;
    try {
      // Before Postgres 16 CREATEROLE lets him join any role, and a member without its privileges there is none.
      if (version >= 160_000) {
        await client.query(
          `grant ringfence_app, ringfence_system to ${role} with admin true, inherit false, set false`,
        );
      }
      const { rows: tables } = await client.query<{ name: string }>(
        "select c.oid::regclass::text as name from pg_class c where relkind = 'r' and relnamespace in ('public'::regnamespace, 'ringfence'::regnamespace)",
      );
      for (const { name } of tables) await client.query(`alter table ${name} owner to ${role}`);
      await client.query(
        `alter schema ringfence owner to ${role}; alter function ringfence.verified_user_id(boolean) owner to ${role};
         alter function ringfence.current_user_id() owner to ${role}`,
      );
      const url = new URL(database.url);
      url.username = role;
      url.password = 'x';
      const owner = new pg.Client({ connectionString: url.href });
      await owner.connect();
      try {
        const result = await verifyDatabase(owner, expectation);
        // What was kept for the planner before is out of his sight, and this is said.
        expect(faultsOf(result.findings)).toEqual([['warn', 'statistics', undefined]]);
        expect(result.summary.probedTables).toBe(ownSchema.owned.length);
        const seen = await owner.query('select count(*) from projects').catch((error: pg.DatabaseError) => error.code);
        expect(seen).toBe('RF001');
      } finally {
        await owner.end();
      }
    } finally {
      await client.query(`reassign owned by ${role} to current_user; drop owned by ${role}; drop role ${role}`);
    }
  });
});

describe('stages', () => {
  test('before the cut-over isolation is not in force, and only what should be there is looked at', async () => {
    const result = await verify({ reached: 'prepare' });
    const checks = new Set(result.findings.map(({ check }) => check));
    expect(faultsOf(result.findings)).toContainEqual(['fail', 'stage', undefined]);
    expect(checks.has('policies')).toBe(false);
    expect(result.summary.probes).toBe(0);
  });
});

test('the fingerprint stays the same when a later version knows more of a column', async () => {
  const context = await readContext(client, expectation);
  const guarded = context.guarded.map((one) => ({
    ...one,
    table: { ...one.table, columns: one.table.columns.map((column) => ({ ...column, learnt: true })) },
  }));
  expect(fingerprint({ ...context, guarded })).toEqual(fingerprint(context));
});

test('the fingerprint names what has changed', async () => {
  const take = async () => fingerprint(await readContext(client, expectation));
  const before = await take();
  expect(await take()).toEqual(before);
  await client.query(
    `alter table labels no force row level security; grant truncate on tasks to ringfence_app; create table notes (id int);
     alter policy user_isolation on agents using (true)`,
  );
  const after = await take();
  await client.query(
    `alter table labels force row level security; revoke truncate on tasks from ringfence_app; drop table notes;
     alter policy user_isolation on agents using (${own})`,
  );
  const changed = Object.keys(after).filter((part) => after[part] !== before[part]);
  expect(changed).toEqual([
    'grants on public.tasks to ringfence_app',
    'policy public.agents user_isolation',
    'row security of public.labels',
    'table public.notes',
  ]);
  expect(await take()).toEqual(before);
});
