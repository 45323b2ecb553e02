-- What runs before anybody is known (sign-in, token checks, registration) becomes ringfence_accounts, which alone reads
-- password and token hashes and reaches no owned table. It never logs in: ringfence_system becomes it, by SET ROLE only.

do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'ringfence_accounts') then
    create role ringfence_accounts nologin noinherit nobypassrls;
  end if;
exception
  -- Roles belong to the cluster: another database may be made ready at the same moment.
  when duplicate_object or unique_violation then null;
end
$$;

do $$
begin
  -- Who runs this a second time may not have the right to grant it.
  if not exists (
    select from pg_catalog.pg_auth_members
    where roleid = 'ringfence_accounts'::regrole and member = 'ringfence_system'::regrole
  ) then
    -- From Postgres 16 on it is the membership that inherits or not; before, it is the role (noinherit).
    execute 'grant ringfence_accounts to ringfence_system'
      || case when current_setting('server_version_num')::int >= 160000 then ' with inherit false, set true' else '' end;
  end if;
end
$$;

grant usage on schema public to ringfence_accounts;
