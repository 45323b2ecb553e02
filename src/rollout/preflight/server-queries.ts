/** The server and what the rollout's role may do on it. */

/** Understood by every server. */
export const version = `select current_setting('server_version_num')::int as version`;

/** $1: the roles that the rollout makes. */
export const abilities = `
select r.rolsuper as superuser, r.rolbypassrls as "bypassRls", r.rolcreaterole as "createRole",
  (select count(*) from pg_roles o where o.rolname = any ($1)) = cardinality($1::text[]) as "rolesExist",
  array(
    select o.rolname::text from pg_roles o
    where o.rolname = any ($1) and not r.rolsuper
      and not pg_has_role(o.oid, 'MEMBER WITH ADMIN OPTION')
      and not (r.rolcreaterole and current_setting('server_version_num')::int < 160000)
    order by 1
  ) as "rolesForeign",
  has_database_privilege(current_database(), 'CREATE') as "createSchema",
  has_parameter_privilege('session_replication_role', 'SET') as "replicaMode",
  pg_is_in_recovery() as standby,
  current_setting('default_transaction_read_only')::boolean as "readOnly",
  uuid_send(gen_random_uuid()) is not null as uuid
from pg_roles r where r.rolname = current_user`;

/** Owners that the role cannot act for: only an owner may alter a table. */
export const foreignOwners = `
select o.rolname::text as owner
from pg_roles o
where o.rolname = any ($1) and not pg_has_role(current_user, o.oid, 'USAGE')
order by 1`;
