/** Who stands above policies, or can get there. */

/**
 * Log-ins that no policy binds or that can work round one, each with the roles it can become. Before Postgres 16 every
 * member may SET ROLE; from 16 on each grant says so, and who may administer one can grant it to himself.
 *
 * $1: roles by which one reaches the server's files and programs.
 */
export const bypassing = `
with recursive becomes (login, oid) as (
  select oid, oid from pg_roles where rolcanlogin
  union
  select b.login, m.roleid
  from becomes b
  join pg_auth_members m on m.member = b.oid
  where m.admin_option
    or coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)
    or coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true)
)
select l.rolname::text as login, r.rolname::text as role,
  case
    when r.rolsuper then 'superuser'
    when r.rolname = any ($1) then 'files'
    when r.rolbypassrls then 'bypass'
    when r.rolreplication then 'replication'
    when r.rolname in ('pg_read_all_data', 'pg_write_all_data') then 'all-data'
    else 'create-role'
  end as reason
from becomes b
join pg_roles l on l.oid = b.login
join pg_roles r on r.oid = b.oid
where not (l.rolsuper and l.oid <> r.oid)
  and (r.rolsuper or r.rolbypassrls or r.rolreplication or r.rolname = any ($1)
    or r.rolname in ('pg_read_all_data', 'pg_write_all_data')
    or (r.rolcreaterole and current_setting('server_version_num')::int < 160000))
order by 1, 2`;

/** Log-ins that can act as one of the roles $1, superusers aside. */
export const actingAs = `
with recursive becomes (login, oid) as (
  select oid, oid from pg_roles where rolcanlogin and not rolsuper
  union
  select b.login, m.roleid
  from becomes b
  join pg_auth_members m on m.member = b.oid
  where m.admin_option
    or coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)
    or coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true)
)
select l.rolname::text as login, r.rolname::text as role
from becomes b
join pg_roles l on l.oid = b.login
join pg_roles r on r.oid = b.oid
where r.rolname = any ($1)
order by 1, 2`;

/** What everybody may do. $1: schemas of the tables. */
export const everybody = `
select 'temporary' as privilege, current_database()::text as object
from pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
where d.datname = current_database() and a.grantee = 0 and a.privilege_type = 'TEMPORARY'
union all
select 'create', n.nspname::text
from pg_namespace n, aclexplode(n.nspacl) a
where n.nspname = any ($1) and a.grantee = 0 and a.privilege_type = 'CREATE'
order by 1, 2`;

/** Tables that are yet to be made and can be read at once. */
export const defaultPrivileges = `
select pg_get_userbyid(d.defaclrole)::text as creator, n.nspname::text as schema,
  case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee)::text end as grantee,
  array_agg(lower(a.privilege_type) order by a.privilege_type) as privileges
from pg_default_acl d
cross join aclexplode(d.defaclacl) a
left join pg_namespace n on n.oid = d.defaclnamespace
where d.defaclobjtype = 'r' and a.grantee <> d.defaclrole
group by 1, 2, 3
order by 1, 2, 3`;
