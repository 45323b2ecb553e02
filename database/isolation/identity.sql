-- Roles ---------------------------------------------------------------------------------------------------------------
-- The application works through ringfence_app, system mode through ringfence_system. Neither owns anything, neither
-- bypasses policies. They get their passwords, and with them the right to log in, from `ringfence migrate` or the
-- server; a login of your own can be made a member instead.
--
-- What runs before anybody is known (sign-in, token checks, registration) becomes ringfence_accounts, which alone reads
-- password and token hashes and reaches no owned table. It never logs in: ringfence_system becomes it, by SET ROLE only.

do $$
begin
  if not exists (select from pg_roles where rolname = 'ringfence_app') then
    create role ringfence_app nologin noinherit nobypassrls;
  end if;
  if not exists (select from pg_roles where rolname = 'ringfence_system') then
    create role ringfence_system nologin noinherit nobypassrls;
  end if;
  if not exists (select from pg_roles where rolname = 'ringfence_accounts') then
    create role ringfence_accounts nologin noinherit nobypassrls;
  end if;
  -- Who runs this a second time may not have the right to grant it.
  if not exists (
    select from pg_auth_members
    where roleid = 'ringfence_accounts'::regrole and member = 'ringfence_system'::regrole
  ) then
    -- From Postgres 16 on it is the membership that inherits or not; before, it is the role (noinherit).
    execute 'grant ringfence_accounts to ringfence_system'
      || case when current_setting('server_version_num')::int >= 160000 then ' with inherit false, set true' else '' end;
  end if;
  -- A temporary table or a function in pg_temp could shadow what a careless search_path resolves.
  execute format('revoke temporary, create on database %I from public', current_database());
  execute format('grant connect on database %I to ringfence_app, ringfence_system', current_database());
end
$$;

revoke create on schema public from public;
grant usage on schema public to ringfence_app, ringfence_system, ringfence_accounts;

-- Identity ------------------------------------------------------------------------------------------------------------
-- The application signs who it acts for; Postgres verifies it with a key that the application's role cannot read. So a
-- statement that an attacker slips in cannot become anybody else: it can set the setting, but it cannot sign.

create schema if not exists ringfence;
revoke all on schema ringfence from public;
grant usage on schema ringfence to ringfence_app, ringfence_system;

-- HMAC-SHA256 (RFC 2104) keys, already combined with the inner and outer pad, so that the check is two calls of the
-- built-in sha256() and needs no extension. Two keys may be valid at once: that is how they are rotated.
create table if not exists ringfence.identity_keys (
  key_id text primary key check (key_id ~ '^[0-9a-f]{16}$'),
  inner_pad bytea not null check (octet_length(inner_pad) = 64),
  outer_pad bytea not null check (octet_length(outer_pad) = 64),
  created_at timestamptz not null default clock_timestamp()
);
revoke all on table ringfence.identity_keys from public, ringfence_app, ringfence_system, ringfence_accounts;

-- Who the current transaction acts for, or an error: never null, never a default.
--
-- The setting ringfence.identity holds `user.expiry.pid.key.mac`: the user's UUID, the end of validity in milliseconds
-- since 1970, the backend it is good for (0 = any, behind a pooler that hides it), the key's id, and the MAC over all
-- that stands before it. A token stolen from one connection is worth nothing on another.
--
-- SQLSTATEs: RF001 no identity, RF002 not ours, RF003 expired, RF004 made for another connection.
--
-- security definer, to read the key; search_path closed and names qualified, since pg_temp is searched first otherwise
-- and a temporary table could stand in for the key's. `is distinct from`, because `<>` is null, hence not an error,
-- when a part is missing. parallel restricted: a worker has another pid. No regular expression over the token: one
-- that checked its form first took 120 of 145 µs a call, and every table of a statement makes one.
create or replace function ringfence.current_user_id() returns uuid
language plpgsql stable security definer parallel restricted
set search_path = pg_catalog, pg_temp
as $$
declare
  token constant text := pg_catalog.current_setting('ringfence.identity', true);
  part constant text[] := pg_catalog.string_to_array(token, '.');
  inner_key bytea;
  outer_key bytea;
begin
  if token is null or token = '' then
    raise exception 'no user identity is set for this transaction' using errcode = 'RF001';
  end if;
  select k.inner_pad, k.outer_pad into inner_key, outer_key
  from ringfence.identity_keys k
  where k.key_id = part[4];
  -- Without `not found` an unknown key and a missing signature are two nulls, and two nulls are not distinct.
  if not found or part[5] is distinct from pg_catalog.encode(pg_catalog.sha256(outer_key || pg_catalog.sha256(
    inner_key || pg_catalog.convert_to(pg_catalog.left(token, -65), 'UTF8')
  )), 'hex') then
    raise exception 'the user identity is not signed by a key of this database' using errcode = 'RF002';
  end if;
  -- From here on the parts are what the application signed; nothing before this line trusts their form.
  if part[2]::bigint < extract(epoch from pg_catalog.clock_timestamp()) * 1000 then
    raise exception 'the user identity has expired' using errcode = 'RF003';
  end if;
  if part[3]::bigint not in (0, pg_catalog.pg_backend_pid()) then
    raise exception 'the user identity was made for another connection' using errcode = 'RF004';
  end if;
  return part[1]::uuid;
end
$$;
revoke all on function ringfence.current_user_id() from public;
grant execute on function ringfence.current_user_id() to ringfence_app, ringfence_system;

-- The owner of rows that nobody has claimed. Nobody can sign in as this user: no password, no outside identity, and a
-- status that is refused everywhere.
do $$
begin
  -- The second time policies are on, and bind whoever runs this as well.
  if not exists (select from ringfence_migrations where version = 3) then
    insert into users (id, email, name, status)
    values ('00000000-0000-4000-8000-000000000000', 'quarantine@ringfence.invalid', 'Unclaimed rows', 'quarantine')
    on conflict do nothing;
  end if;
end
$$;
