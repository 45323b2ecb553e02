/** Where the data lie. Only a superuser, or who was granted it, may ask: nulls otherwise. */

export const whetherVisible = `
select (pg_has_role(current_user, 'pg_read_all_settings', 'USAGE')
    and has_function_privilege('pg_stat_file(text)', 'EXECUTE')) as visible,
  inet_server_addr() is null or inet_server_addr() <<= '127.0.0.0/8'::inet or inet_server_addr() = '::1'::inet as local`;

/** The directory and when it last changed: by that it is known again from outside, where a container may have the same path. */
export const dataDirectory = `
select current_setting('data_directory') as path, extract(epoch from s.change)::float8 as "changedAt",
  array(select pg_tablespace_location(t.oid) from pg_tablespace t where pg_tablespace_location(t.oid) <> '') as tablespaces
from pg_stat_file('.') s`;
