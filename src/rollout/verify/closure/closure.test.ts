/** Our own schema is closed, and each way into it that somebody opens is found by its name. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../../../test/support/postgres.ts';
import { holdServerRoles } from '../../../../test/support/server-roles.ts';
import { ownExtras, ownSchema } from '../../../database/own-rollout.ts';
import { withOwner } from '../../../database/owner.ts';
import { closeDatabase } from '../../../database/provision.ts';
import type { Context } from '../check.ts';
import { readContext } from '../verify.ts';
import { type Closure, closureCounts, closureFaults, closureNow, readClosure } from './closure.ts';

let database: TestDatabase;
let letGo: () => Promise<void>;
let client: pg.Client;
let context: Context;

beforeAll(async () => {
  letGo = await holdServerRoles();
  database = await createDatabase('isolated');
  await withOwner(database.url, closeDatabase);
  client = new pg.Client({ connectionString: database.url });
  client.on('error', () => {});
  await client.connect();
  await client.query("set client_min_messages = 'error'");
  context = await read();
}, 60_000);

afterAll(async () => {
  await client.end();
  await database.drop();
  await letGo();
});

const read = () => readContext(client, { ownership: ownSchema, reached: 'contract', extras: ownExtras });

const faultsOf = (closure: Closure) => closureFaults(closure).map(({ object }) => object);

test('our own schema is closed: everything has a class', async () => {
  const closure = await readClosure(context);
  expect(closureFaults(closure)).toEqual([]);
  expect(closureCounts(closure).find(({ kind }) => kind === 'table')).toMatchObject({ owned: 19, shared: 1 });
  expect(closure.roles).toContain('ringfence_app');
});

const leak = (rights: string) =>
  `create function leak() returns bigint language sql ${rights} as 'select count(*) from public.tasks'`;
const note = "create function note() returns trigger language plpgsql %RIGHTS% as 'begin return new; end'";
const trigger = (rights: string) =>
  `${note.replace('%RIGHTS%', rights)}; create trigger noting before insert on labels for each row execute function note()`;
const wrapper = 'create foreign data wrapper elsewhere; create server far foreign data wrapper elsewhere;';

describe('what is opened is found by its name', () => {
  test.each<[name: string, make: string, undo: string, faults: readonly string[]]>([
    ['a definer function', leak('security definer'), 'drop function leak()', ['function public.leak()']],
    [
      'an aggregate over a definer function',
      `create function step(bigint, bigint) returns bigint language sql security definer as 'select $1';
       revoke execute on function step from public; create aggregate total (bigint) (sfunc = step, stype = bigint)`,
      'drop aggregate total (bigint); drop function step',
      ['function public.total(bigint)'],
    ],
    [
      'a view with its owner’s rights',
      'create view everything as select title from tasks; grant select on everything to ringfence_app',
      'drop view everything',
      ['view public.everything'],
    ],
    [
      'a view over the catalogue with its owner’s rights',
      'create view hashes as select rolpassword from pg_authid; grant select on hashes to public',
      'drop view hashes',
      ['view public.hashes'],
    ],
    [
      'a copy',
      'create materialized view copy as select title from tasks; grant select on copy to ringfence_app',
      'drop materialized view copy',
      ['materialized view public.copy'],
    ],
    [
      'a table nobody has classified',
      'create table notes (id int); grant select on notes to ringfence_app',
      'drop table notes',
      ['table public.notes'],
    ],
    [
      'one column of such a table',
      'create table notes (id int, text text); grant select (text) on notes to public',
      'drop table notes',
      ['table public.notes'],
    ],
    [
      'a shared table that may be written',
      'grant insert on ringfence_migrations to ringfence_app',
      'revoke insert on ringfence_migrations from ringfence_app',
      ['table public.ringfence_migrations'],
    ],
    [
      'TRUNCATE',
      'grant truncate on tasks to ringfence_app',
      'revoke truncate on tasks from ringfence_app',
      ['table public.tasks'],
    ],
    [
      'policies that are off',
      'alter table tasks disable row level security',
      'alter table tasks enable row level security',
      ['table public.tasks'],
    ],
    [
      'a rule',
      'create rule spread as on insert to labels do also select count(*) from tasks',
      'drop rule spread on labels',
      ['table public.labels'],
    ],
    [
      'a definer trigger',
      trigger('security definer'),
      'drop function note() cascade',
      ['trigger noting on public.labels'],
    ],
    [
      'a sequence that can be set back',
      'create sequence numbers owned by tasks.priority; grant usage, update on sequence numbers to ringfence_app',
      'drop sequence numbers',
      ['sequence public.numbers'],
    ],
    [
      'the keys',
      'grant select (key_id) on ringfence.identity_keys to ringfence_app',
      'revoke all (key_id) on ringfence.identity_keys from ringfence_app',
      ['table ringfence.identity_keys'],
    ],
    [
      'a large object',
      'select lo_create(4242); grant select on large object 4242 to ringfence_app',
      'select lo_unlink(4242)',
      ['large object 4242'],
    ],
    [
      'default privileges',
      'alter default privileges in schema public grant select on tables to ringfence_app',
      'alter default privileges in schema public revoke select on tables from ringfence_app',
      ['default privileges tables that %OWNER% makes in public'],
    ],
    [
      'a foreign server, a mapping to it and a table of it',
      `${wrapper} grant usage on foreign server far to ringfence_app; create user mapping for public server far;
       create foreign table away (id int) server far; grant select on away to ringfence_app`,
      'drop foreign data wrapper elsewhere cascade',
      ['foreign table public.away', 'foreign server far', 'user mapping public on far'],
    ],
    ['a publication', 'create publication feed for table tasks', 'drop publication feed', ['publication feed']],
    [
      'a subscription',
      "create subscription feed connection 'dbname=nowhere' publication feed with (connect = false)",
      'alter subscription feed set (slot_name = none); drop subscription feed',
      ['subscription feed'],
    ],
    [
      'a function of Postgres that it gives to nobody',
      'grant execute on function pg_read_file(text) to ringfence_app',
      'revoke execute on function pg_read_file(text) from ringfence_app',
      ['function of Postgres pg_read_file(text)'],
    ],
    [
      'a relation of Postgres that it gives to nobody',
      'grant select on pg_statistic to public; grant select (rolpassword) on pg_authid to ringfence_app',
      'revoke select on pg_statistic from public; revoke select (rolpassword) on pg_authid from ringfence_app',
      ['relation of Postgres pg_authid (rolpassword)', 'relation of Postgres pg_statistic'],
    ],
    [
      'temporary tables',
      'do $$begin execute format($f$grant temporary on database %I to public$f$, current_database()); end$$',
      'do $$begin execute format($f$revoke temporary on database %I from public$f$, current_database()); end$$',
      ['database %DATABASE%'],
    ],
    [
      'a schema to make objects in',
      'create schema work; grant create on schema work to ringfence_app',
      'drop schema work',
      ['schema work'],
    ],
  ])('%s', async (_, make, undo, faults) => {
    await client.query(make);
    try {
      const { rows } = await client.query<{ owner: string }>('select current_user as owner');
      const named = (text: string) =>
        text.replace('%OWNER%', rows[0]?.owner ?? '').replace('%DATABASE%', database.name);
      expect(faultsOf(await readClosure(await read()))).toEqual(faults.map(named));
    } finally {
      await client.query(undo);
    }
    expect(closureFaults(await readClosure(await read()))).toEqual([]);
  });

  /** These are the cluster's, and other tests use it: they are taken back before anybody sees them. */
  test.each([
    [
      'a setting',
      'grant set on parameter session_replication_role to ringfence_app',
      'setting session_replication_role',
    ],
    ['a predefined role', 'grant pg_read_all_stats to ringfence_app', 'role pg_read_all_stats'],
    ['the system role', 'grant ringfence_system to ringfence_app', 'role ringfence_system'],
    [
      'a table of a log-in that works through the role',
      `create table notes (id int); create role web_${process.pid} login in role ringfence_app; grant select on notes to web_${process.pid}`,
      'table public.notes',
    ],
  ])('%s', async (_, make, fault) => {
    await client.query(`begin; set local search_path = public; ${make}; set local search_path = ''`);
    try {
      expect(faultsOf(await closureNow(context, {}))).toContain(fault);
    } finally {
      await client.query('rollback');
    }
  });
});

describe('what is well', () => {
  test.each([
    ['a function that runs as its caller', leak(''), 'drop function leak()'],
    ['a trigger that runs as who writes', trigger(''), 'drop function note() cascade'],
    [
      'a view that runs as its caller',
      'create view mine with (security_invoker) as select title from tasks; grant select on mine to ringfence_app',
      'drop view mine',
    ],
    [
      'a definer function that nobody may call',
      `${leak('security definer')}; revoke execute on function leak from public`,
      'drop function leak()',
    ],
    [
      'a publication without rows of users',
      'create publication feed for table ringfence_migrations',
      'drop publication feed',
    ],
    ['an extension that was looked at', 'create extension pg_trgm', 'drop extension pg_trgm'],
  ])('%s', async (_, make, undo) => {
    await client.query(make);
    try {
      expect(closureFaults(await readClosure(await read()))).toEqual([]);
    } finally {
      await client.query(undo);
    }
  });

  test('what somebody looked at, with the reason on the page', async () => {
    await client.query(leak('security definer'));
    try {
      const title = 'function public.leak()';
      const closure = await readClosure(await read(), { [title]: 'Counts alone; agreed with the owner.' });
      expect(closureFaults(closure)).toEqual([]);
      expect(closure.objects.find(({ name }) => name === 'public.leak()')).toMatchObject({
        class: 'shared',
        reason: 'reviewed: Counts alone; agreed with the owner.',
      });
    } finally {
      await client.query('drop function leak()');
    }
  });
});
