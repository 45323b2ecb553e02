/** A schema of the rollout's own that nobody but its owner reaches, whatever default privileges gave away when it was made. */
import { literal } from './identifier.ts';

/**
 * `alter default privileges grant all on schemas to …` (on tables, on functions) holds for what the rollout makes too.
 * Who reads the keys signs as anybody, and who writes the plan has his SQL run by the next apply, as the owner. Before any
 * grant that is meant: it takes those as well.
 */
export function ownerAlone(schema: string): string {
  return `do $$
declare
  given text;
begin
  for given in
    select distinct format('%s from %s cascade', o.name,
      case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end)
    from (
      select format('schema %I', n.nspname) as name, n.nspowner as owner, n.nspacl as acl
      from pg_catalog.pg_namespace n where n.nspname = ${literal(schema)}
      union all
      select format('table %s', c.oid::regclass), c.relowner, c.relacl
      from pg_catalog.pg_class c where c.relnamespace = to_regnamespace(${literal(schema)})
      union all
      select format('function %s', p.oid::regprocedure), p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
      from pg_catalog.pg_proc p where p.pronamespace = to_regnamespace(${literal(schema)})
    ) o, aclexplode(o.acl) a
    where a.grantee <> o.owner
  loop
    execute 'revoke all on ' || given;
  end loop;
end $$;`;
}
