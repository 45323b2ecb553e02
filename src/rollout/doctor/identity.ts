/** SQLSTATE RF001–RF004: what the verification of identities needs in the database. */
import type { ClientBase } from 'pg';
import { type Finding, fail, pass } from '../finding.ts';
import type { Subject } from '../monitor/subject.ts';

const install = 'run `ringfence apply` (or, for our own schema, `ringfence migrate up`) as the owner';

interface IdentityRow {
  function: boolean;
  definer: boolean;
  keys: boolean;
  executes: boolean;
}

export async function checkIdentity(client: ClientBase, { appRole }: Subject): Promise<Finding[]> {
  const { rows } = await client.query<IdentityRow>(
    `select f.oid is not null as function, coalesce(f.prosecdef, false) as definer,
       to_regclass('ringfence.identity_keys') is not null as keys,
       coalesce((select has_schema_privilege(r.oid, f.pronamespace, 'USAGE') and has_function_privilege(r.oid, f.oid, 'EXECUTE')
         from pg_roles r where r.rolname = $1), false) as executes
     from (select to_regprocedure('ringfence.verified_user_id(boolean)') as signature) s left join pg_proc f on f.oid = s.signature`,
    [appRole],
  );
  const [row] = rows;
  const object = 'ringfence.verified_user_id(boolean)';
  if (!row?.function)
    return [fail('identity-function', object, 'does not exist: no identity can be verified', install)];
  if (!row.keys) return [fail('identity-keys', 'ringfence.identity_keys', 'does not exist', install)];
  const findings: Finding[] = [];
  if (!row.definer)
    findings.push(fail('identity-function', object, 'is not SECURITY DEFINER and so cannot read the key', install));
  if (!row.executes) {
    const remedy = `grant usage on schema ringfence to ${appRole}; grant execute on function ${object} to ${appRole}`;
    findings.push(
      fail('identity-function', object, `${appRole} may not call it: every statement ends with 42501`, remedy),
    );
  }
  const keys = await client.query<{ count: number; newest: Date | null }>(
    'select count(*)::int as count, max(created_at) as newest from ringfence.identity_keys',
  );
  const { count = 0, newest = null } = keys.rows[0] ?? {};
  if (count === 0) {
    const remedy =
      'put the key in that your application signs with: `ringfence identity install`; our own server does so when it starts';
    findings.push(
      fail('identity-keys', 'ringfence.identity_keys', 'is empty: every identity is refused with RF002', remedy),
    );
  }
  if (findings.length > 0) return findings;
  return [
    pass('identity-keys', undefined, `${count} key(s), the newest of ${newest?.toISOString() ?? 'an unknown time'}`),
  ];
}
