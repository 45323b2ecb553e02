-- True of every row, and the condition of the indexes over all users' rows: a statement has them only by saying it, and only
-- who may use this schema can say it. A user's statement is left with indexes that start with the owner; by one on the id
-- alone, time and EXPLAIN ANALYZE would tell a hidden row from an absent one.
--
-- Everybody may execute it: whoever adds a row has it evaluated, and names are looked up, and the schema asked for, when a
-- statement is parsed. plpgsql, because an sql function would be inlined, and the condition could then be said in other words.

create schema if not exists ringfence_system_mode;

create or replace function ringfence_system_mode.every(id uuid) returns boolean
language plpgsql immutable parallel safe cost 1
as $$ begin return true; end $$;
