/** Defects of roles, grants, and of what stands beside the tables. */
import { inDatabase, type Mutant, suite } from './mutant.ts';

const { closure, forging } = suite;
const observers = 'test/isolation/observers.test.ts';

/** Functions of Postgres itself, back to where a new database has them. */
const openAgain = (which: string) => `do $do$ begin
  execute (select format('grant execute on function %s to public', string_agg(oid::regprocedure::text, ', '))
    from pg_proc where pronamespace = 'pg_catalog'::regnamespace and ${which}); end $do$`;

export const privilegeMutants: readonly Mutant[] = [
  inDatabase(
    'I3',
    'an application role that bypasses policies',
    closure,
    'alter role ringfence_app bypassrls',
    'alter role ringfence_app nobypassrls',
  ),
  inDatabase('I3', 'an application role that owns a table', closure, 'alter table labels owner to ringfence_app'),
  inDatabase(
    'I7',
    'an application role that may become system mode’s',
    forging,
    'grant ringfence_system to ringfence_app',
    'revoke ringfence_system from ringfence_app',
  ),
  inDatabase(
    'I7',
    'a system role that has the accounts’ rights without asking',
    forging,
    'grant ringfence_accounts to ringfence_system with inherit true',
    'grant ringfence_accounts to ringfence_system with inherit false',
  ),
  inDatabase(
    'I7',
    'an accounts role that reads owned tables',
    closure,
    'grant select on projects to ringfence_accounts',
  ),
  inDatabase(
    'I7',
    'system mode that reads password hashes',
    forging,
    'grant select (password_hash) on users to ringfence_system',
  ),
  inDatabase(
    'I3',
    'an application role that reads password hashes',
    forging,
    'grant select (password_hash) on users to ringfence_app',
  ),
  inDatabase('I3', 'TRUNCATE granted', forging, 'grant truncate on projects to ringfence_app'),
  inDatabase('I5', 'REFERENCES granted', closure, 'grant references on labels to ringfence_app'),
  inDatabase('I3', 'the owner of a row may be changed', forging, 'grant update (user_id) on projects to ringfence_app'),
  inDatabase('I3', 'a table open to everybody', closure, 'grant select on tasks to public'),
  inDatabase(
    'I3',
    'privileges on tables that do not exist yet',
    closure,
    'alter default privileges in schema public grant select on tables to ringfence_app',
  ),
  inDatabase('I4', 'everybody may make objects in the schema', forging, 'grant create on schema public to public'),
  inDatabase(
    'I3',
    'a view with its owner’s rights',
    closure,
    'create view overview as select * from tasks; grant select on overview to ringfence_app',
  ),
  inDatabase(
    'I3',
    'a materialized view',
    closure,
    'create materialized view copy as select * from tasks; grant select on copy to ringfence_app',
  ),
  inDatabase(
    'I3',
    'a function that reads for everybody',
    closure,
    `create function latest() returns setof text language sql security definer as 'select title from public.tasks'`,
  ),
  inDatabase('I3', 'a publication of all tables', closure, 'create publication everything for all tables'),
  inDatabase('I7', 'an access log that can be rewritten', forging, 'grant update on user_access_log to ringfence_app'),
  inDatabase('I7', 'an access log that can be emptied', forging, 'grant delete on user_access_log to ringfence_app'),
  inDatabase(
    'I7',
    'uses of system mode that anybody can write down',
    forging,
    'drop policy no_system_outcome on user_access_log',
  ),
  inDatabase(
    'I7',
    'functions that run a statement of their own',
    forging,
    openAgain("proname in ('query_to_xml', 'table_to_xml', 'ts_stat')"),
  ),
  inDatabase('I3', 'large objects, which belong to nobody', forging, openAgain("proname in ('lo_create', 'lo_put')")),
  inDatabase(
    'I8',
    'statements that others ran',
    forging,
    'grant select on pg_stat_statements to public; grant execute on function pg_stat_statements(boolean) to public',
  ),
  inDatabase(
    'I8',
    'counters of tables are open to everybody',
    observers,
    openAgain("starts_with(proname, 'pg_stat_get_') and pronargs = 1"),
  ),
];
