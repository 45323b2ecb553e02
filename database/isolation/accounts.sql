-- What runs before anybody is known (sign-in, token checks, registration) becomes ringfence_accounts, which alone reads
-- password and token hashes and reaches no owned table. It never logs in: ringfence_system becomes it, by SET ROLE only.

do $$
begin
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
