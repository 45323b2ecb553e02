-- Roles ---------------------------------------------------------------------------------------------------------------
-- The application works through ringfence_app, system mode through ringfence_system. Neither owns anything, neither
-- bypasses policies. They get their passwords, and with them the right to log in, from `ringfence migrate` or the
-- server; a login of your own can be made a member instead.

do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'ringfence_app') then
    create role ringfence_app nologin noinherit nobypassrls;
  end if;
  if not exists (select from pg_catalog.pg_roles where rolname = 'ringfence_system') then
    create role ringfence_system nologin noinherit nobypassrls;
  end if;
exception
  -- Roles belong to the cluster: another database may be made ready at the same moment.
  when duplicate_object or unique_violation then null;
end
$$;
