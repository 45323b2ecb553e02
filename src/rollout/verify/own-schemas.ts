/** Who may do what in the rollout's own schemas: default privileges of the database's owner hold for them as well. */
import { ownSchemas } from '../catalog.ts';
import { type Finding, fail } from '../finding.ts';
import { identifier } from '../identifier.ts';
import type { Check, Context } from './check.ts';

export const ownSchemaCheck: Check = {
  name: 'own-schemas',
  since: 'prepare',
  holds: () => `nobody has more in ${ownSchemas.join(' and ')} than the rollout gives`,
  run: grantFaults,
};

interface Given {
  readonly kind: 'schema' | 'table' | 'function';
  readonly object: string;
  readonly role: string;
  readonly privileges: string;
}

/**
 * $1 the schemas, $2 roles that may ask who they are. The table of keys has a check of its own. Nobody
 * can call a function of triggers, nor name one for a trigger without the schema.
 */
const query = `
select o.kind, o.object, case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee)::text end as role,
  string_agg(distinct lower(a.privilege_type), ', ') as privileges
from (
  select 'schema' as kind, quote_ident(n.nspname) as object, n.nspowner as owner, n.nspacl as acl
  from pg_namespace n where n.nspname = any ($1)
  union all
  select 'table', format('%I.%I', n.nspname, c.relname), c.relowner, acl
  from pg_class c join pg_namespace n on n.oid = c.relnamespace,
    lateral (select c.relacl as acl union all select t.attacl from pg_attribute t where t.attrelid = c.oid) part
  where n.nspname = any ($1) and (n.nspname, c.relname) <> ('ringfence', 'identity_keys')
  union all
  select 'function', format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), p.proowner,
    coalesce(p.proacl, acldefault('f', p.proowner))
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where n.nspname = any ($1) and p.prorettype <> 'trigger'::regtype
) o, aclexplode(o.acl) a
where a.grantee <> o.owner and not (
  pg_get_userbyid(a.grantee) = any ($2) and not a.is_grantable
  and (o.kind, o.object, a.privilege_type) in (
    ('schema', 'ringfence', 'USAGE'),
    ('function', 'ringfence.verified_user_id(loud boolean)', 'EXECUTE'),
    ('function', 'ringfence.current_user_id()', 'EXECUTE')
  )
)
group by 1, 2, 3 order by 2, 3`;

async function grantFaults({ client, expectation }: Context): Promise<Finding[]> {
  const asking = [expectation.ownership.appRole, 'ringfence_app', 'ringfence_system', 'ringfence_shadow'];
  const { rows } = await client.query<Given>(query, [ownSchemas, asking]);
  return rows.map(({ kind, object, role, privileges }) => {
    const who = role === 'public' ? 'public' : identifier(role);
    return fail(
      'own-schemas',
      object,
      `${role === 'public' ? 'everybody' : `the role ${who}`} has ${privileges}, which the rollout gave nobody`,
      `revoke all on ${kind} ${object} from ${who} cascade`,
    );
  });
}
