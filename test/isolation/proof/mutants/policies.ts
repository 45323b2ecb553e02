/** Defects of the policies and of the function that they ask. */
import { canonical, inDatabase, type Mutant, onEachTable, rewriteVerifier, suite } from './mutant.ts';

const { closure, forging, identityOracle, matrix, walls } = suite;

export const policyMutants: readonly Mutant[] = [
  inDatabase('I3', 'a table without its policy', walls, 'drop policy user_isolation on tasks'),
  inDatabase('I3', 'row security off', walls, 'alter table tasks disable row level security'),
  inDatabase('I3', 'row security not forced on the owner', closure, 'alter table tasks no force row level security'),
  inDatabase(
    'I3',
    'a policy that is always true',
    walls,
    'alter policy user_isolation on labels using (true) with check (true)',
  ),
  inDatabase('I3', 'a policy whose USING is true', walls, 'alter policy user_isolation on labels using (true)'),
  inDatabase('I3', 'a policy whose CHECK is true', walls, 'alter policy user_isolation on labels with check (true)'),
  inDatabase(
    'I3',
    'a policy without CHECK',
    closure,
    `drop policy user_isolation on labels; create policy user_isolation on labels using (${canonical})`,
  ),
  inDatabase(
    'I3',
    'a policy for reading alone, and writing open',
    walls,
    `drop policy user_isolation on labels;
     create policy user_isolation on labels for select using (${canonical});
     create policy user_inserts on labels for insert with check (true);
     create policy user_updates on labels for update using (true) with check (true);
     create policy user_deletes on labels for delete using (true)`,
  ),
  inDatabase('I3', 'a second, permissive policy', walls, 'create policy helpful on labels for select using (true)'),
  inDatabase('I7', 'the policy of system mode open to everybody', walls, 'alter policy system_mode on tasks to public'),
  inDatabase(
    'I3',
    'accounts in everybody’s sight',
    matrix,
    'alter policy user_isolation on sessions using (true) with check (true)',
  ),
  inDatabase(
    'I4',
    'a policy that names the role of users',
    closure,
    'alter policy user_isolation on tasks to ringfence_app',
  ),
  inDatabase(
    'I4',
    'policies that believe a plain setting',
    forging,
    onEachTable(
      "alter policy user_isolation on %s using (user_id::text = split_part(current_setting('ringfence.identity', true), '.', 1))",
    ),
  ),
  inDatabase(
    'I8',
    'policies that look at the identity after the statement’s own conditions',
    identityOracle,
    onEachTable('alter policy user_isolation on %s using (user_id = (select ringfence.verified_user_id(false)))'),
  ),
  inDatabase(
    'I8',
    'policies that are loud about a spoilt identity',
    identityOracle,
    onEachTable('alter policy user_isolation on %s using (user_id = (select ringfence.current_user_id()))'),
  ),
  inDatabase(
    'I8',
    'a verifier that is never silent',
    identityOracle,
    rewriteVerifier(
      "if not loud and pg_catalog.current_setting('transaction_deferrable') = 'on' then",
      'if false then',
    ),
  ),
  inDatabase(
    'I2',
    'a verifier that is silent in any transaction',
    identityOracle,
    rewriteVerifier(
      "if not loud and pg_catalog.current_setting('transaction_deferrable') = 'on' then",
      'if not loud then',
    ),
  ),
  inDatabase(
    'I2',
    'a missing identity is nobody’s instead of an error',
    forging,
    rewriteVerifier("fault := 'RF001';", 'return null;'),
  ),
  inDatabase(
    'I4',
    'the signature is not checked',
    forging,
    rewriteVerifier('if not found or part[5] is distinct from', "if not found or part[5] || 'x' = "),
  ),
  inDatabase(
    'I4',
    'a missing signature of an unknown key passes',
    forging,
    rewriteVerifier('if not found or part[5] is distinct from', 'if part[5] <>'),
  ),
  inDatabase(
    'I4',
    'the expiry is not checked',
    forging,
    rewriteVerifier(
      'elsif part[2]::bigint < extract(epoch from pg_catalog.clock_timestamp()) * 1000 then',
      'elsif false then',
    ),
  ),
  inDatabase(
    'I4',
    'the connection is not checked',
    forging,
    rewriteVerifier('elsif part[3]::bigint not in (0, pg_catalog.pg_backend_pid()) then', 'elsif false then'),
  ),
  inDatabase(
    'I4',
    'a verifier with an open search path',
    closure,
    'alter function ringfence.verified_user_id(boolean) set search_path = ringfence, public',
  ),
  inDatabase(
    'I4',
    'a verifier that the application may replace',
    forging,
    `grant create on schema ringfence to ringfence_app;
     alter function ringfence.current_user_id() owner to ringfence_app`,
  ),
  inDatabase(
    'I4',
    'a verifier that everybody may call',
    closure,
    'grant execute on function ringfence.verified_user_id(boolean) to public',
  ),
  inDatabase(
    'I4',
    'keys that the application can read',
    forging,
    'grant select on ringfence.identity_keys to ringfence_app',
  ),
  inDatabase(
    'I4',
    'keys that the application can add to',
    forging,
    'grant insert on ringfence.identity_keys to ringfence_app; alter table ringfence.identity_keys drop constraint identity_keys_inner_pad_check, drop constraint identity_keys_outer_pad_check',
  ),
];
