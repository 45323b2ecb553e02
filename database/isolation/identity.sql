-- Identity ------------------------------------------------------------------------------------------------------------
-- The application signs who it acts for; Postgres verifies it with a key that the application's role cannot read. So a
-- statement that an attacker slips in cannot become anybody else: it can set the setting, but it cannot sign.

create schema if not exists ringfence;

-- HMAC-SHA256 (RFC 2104) keys, already combined with the inner and outer pad, so that the check is two calls of the
-- built-in sha256() and needs no extension. Two keys may be valid at once: that is how they are rotated.
create table if not exists ringfence.identity_keys (
  key_id text primary key check (key_id ~ '^[0-9a-f]{16}$'),
  inner_pad bytea not null check (octet_length(inner_pad) = 64),
  outer_pad bytea not null check (octet_length(outer_pad) = 64),
  created_at timestamptz not null default clock_timestamp()
);

-- Who the current transaction acts for, or an error: never a default. The policies ask with `loud` false, everybody else asks
-- current_user_id() below.
--
-- The setting ringfence.identity holds `user.expiry.pid.key.mac`: the user's UUID, the end of validity in milliseconds
-- since 1970, the backend it is good for (0 = any, behind a pooler that hides it), the key's id, and the MAC over all
-- that stands before it. A token stolen from one connection is worth nothing on another.
--
-- SQLSTATEs: RF001 no identity, RF002 not ours, RF003 expired, RF004 made for another connection.
--
-- Not loud, in a transaction that began as DEFERRABLE, it gives null instead of an error, and the policy then shows nothing.
-- Such a transaction has called current_user_id() first, so an identity that does not hold any more was spoilt by a
-- statement, on purpose: whether the policy came to look at it would tell that a row lies there. DEFERRABLE, because a
-- transaction cannot change it once it has run a statement, by no means, and it does nothing else in READ COMMITTED.
--
-- security definer, to read the key; search_path closed and names qualified, since pg_temp is searched first otherwise
-- and a temporary table could stand in for the key's. `is distinct from`, because `<>` is null, hence not an error,
-- when a part is missing. parallel restricted: a worker has another pid. No regular expression over the token: one
-- that checked its form first took 120 of 145 µs a call, and every table of a statement makes one. Ours have 140 bytes or
-- so; one of a gigabyte would fail for want of memory, which is an error of another kind that tells the same.
create or replace function ringfence.verified_user_id(loud boolean) returns uuid
language plpgsql stable security definer parallel restricted
set search_path = pg_catalog, pg_temp
as $$
declare
  token constant text := pg_catalog.current_setting('ringfence.identity', true);
  part text[];
  inner_key bytea;
  outer_key bytea;
  fault text;
begin
  if token is null or token = '' then
    fault := 'RF001';
  elsif pg_catalog.octet_length(token) > 256 then
    fault := 'RF002';
  else
    part := pg_catalog.string_to_array(token, '.');
    select k.inner_pad, k.outer_pad into inner_key, outer_key
    from ringfence.identity_keys k
    where k.key_id = part[4];
    -- Without `not found` an unknown key and a missing signature are two nulls, and two nulls are not distinct.
    if not found or part[5] is distinct from pg_catalog.encode(pg_catalog.sha256(outer_key || pg_catalog.sha256(
      inner_key || pg_catalog.convert_to(pg_catalog.left(token, -65), 'UTF8')
    )), 'hex') then
      fault := 'RF002';
    -- From here on the parts are what the application signed; nothing before this line trusts their form.
    elsif part[2]::bigint < extract(epoch from pg_catalog.clock_timestamp()) * 1000 then
      fault := 'RF003';
    elsif part[3]::bigint not in (0, pg_catalog.pg_backend_pid()) then
      fault := 'RF004';
    else
      return part[1]::uuid;
    end if;
  end if;
  if not loud and pg_catalog.current_setting('transaction_deferrable') = 'on' then
    return null;
  end if;
  raise exception using errcode = fault, message = case fault
    when 'RF001' then 'no user identity is set for this transaction'
    when 'RF002' then 'the user identity is not signed by a key of this database'
    when 'RF003' then 'the user identity has expired'
    else 'the user identity was made for another connection'
  end;
end
$$;

-- The same, or an error: what a transaction calls first, and whose a new row is by default.
create or replace function ringfence.current_user_id() returns uuid
language sql stable parallel restricted
as $$ select ringfence.verified_user_id(true) $$;
