-- Takes statistics.sql back: the next ANALYZE gathers them again.

do $$
declare
  one record;
begin
  for one in
    select c.relkind, c.relname, a.attnum, a.attname
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
      execute format('alter index public.%I alter column %s set statistics -1', one.relname, one.attnum);
    else
      execute format('alter table public.%I alter column %I set statistics -1', one.relname, one.attname);
    end if;
  end loop;
end $$;
