-- The planner's statistics hold values of everybody's rows, and what it reckons with them is answered to everybody: by
-- EXPLAIN, and by which plan is chosen. Ids, titles and addresses could be read from it by halving
-- (test/isolation/statistics.test.ts). Those of expressions are kept with their index. What is there already does not go by
-- itself; before Postgres 18 only a superuser can take it away, as `pg_dump` and `pg_restore` into a new database does.

do $$
declare
  one record;
begin
  for one in
    select c.oid, c.relkind, c.relname, a.attnum, a.attname
    from pg_catalog.pg_class c
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.oid = any (array[%TABLES%]::regclass[])
      or exists (
        select from pg_catalog.pg_index i
        where i.indexrelid = c.oid and i.indexprs is not null and i.indrelid = any (array[%TABLES%]::regclass[])
      )
    order by c.oid, a.attnum
  loop
    if one.relkind = 'i' then
      execute format('alter index public.%I alter column %s set statistics 0', one.relname, one.attnum);
    else
      execute format('alter table public.%I alter column %I set statistics 0', one.relname, one.attname);
    end if;
    if current_setting('server_version_num')::int >= 180000 then
      perform pg_catalog.pg_clear_attribute_stats('public', one.relname::text, one.attname::text, false);
    elsif (select rolsuper from pg_catalog.pg_roles where rolname = current_user) then
      delete from pg_catalog.pg_statistic s where s.starelid = one.oid and s.staattnum = one.attnum;
    end if;
  end loop;
end $$;
