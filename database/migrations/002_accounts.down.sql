-- Takes the accounts away. Refused while 003 is applied, since every row's owner is an account.

begin;

-- Whoever runs this may have a schema of the same name in front of the search path.
set local search_path = public;

do $$
begin
  if exists (select from ringfence_migrations where version = 3) then
    raise exception 'user isolation (003) is applied: take it down first' using errcode = 'RF010';
  end if;
end
$$;

drop table idempotency_keys, user_access_log, api_tokens, sessions, users;

delete from ringfence_migrations where version = 2;

commit;
