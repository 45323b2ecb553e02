/** The schema `ringfence_rollout` as SQL. Every statement may run again. */
import { ownerAlone } from './owner-alone.ts';

const overrides = `
create schema if not exists ringfence_rollout;

-- Owners that a rule would not come to: given by hand, or saved before the column goes.
create table if not exists ringfence_rollout.user_id_backup (
  table_name text not null,
  id text not null,
  user_id uuid not null,
  rule_user_id uuid,
  saved_at timestamptz not null default clock_timestamp(),
  primary key (table_name, id)
);
`;

/** Where owners are kept before their column goes: the one part that a script in one transaction needs. */
export const overridesSql = `${overrides}
${ownerAlone('ringfence_rollout')}
`;

export const installSql = `${overrides}
-- Plans as they were frozen. The newest that is not wholly taken back is in force.
create table if not exists ringfence_rollout.plans (
  hash text primary key,
  document jsonb not null,
  frozen_at timestamptz not null default clock_timestamp()
);

-- The ledger. \`running\`: begun and not known to have ended; nothing of it is relied on.
create table if not exists ringfence_rollout.steps (
  plan_hash text not null,
  step_id text not null,
  state text not null check (state in ('done', 'undone', 'running')),
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  detail jsonb not null default '{}',
  primary key (plan_hash, step_id)
);

-- Stretches of a table's blocks that a backfill goes through: all before next_block is done. Half of each page stays
-- free, since a row is updated with every range: the new version then fits on its page and no index is touched (HOT).
create table if not exists ringfence_rollout.ranges (
  plan_hash text not null,
  step_id text not null,
  leaf text not null,
  first_block bigint not null,
  next_block bigint not null,
  end_block bigint not null,
  rows bigint not null default 0,
  primary key (plan_hash, step_id, leaf, first_block)
) with (fillfactor = 50);

-- Whose rows a value of an owner column names, as read from a list.
create table if not exists ringfence_rollout.owner_map (
  map text not null,
  value text not null,
  user_id uuid not null,
  primary key (map, value)
);

-- Rows that a rollback behind the point of no return could not keep in their tables, whole.
create table if not exists ringfence_rollout.displaced_rows (
  number bigint generated always as identity primary key,
  table_name text not null,
  document jsonb not null,
  displaced_at timestamptz not null default clock_timestamp()
);

-- What happened, in order; only ever added to.
create table if not exists ringfence_rollout.events (
  number bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  kind text not null,
  detail jsonb not null default '{}'
);

-- What the running command is doing, for \`status\` in another terminal. Worth nothing after a crash, but not unlogged: where
-- the transaction that makes such a table is rolled back and Postgres crashes before its next checkpoint, it does not start
-- again ("could not create file …: File exists", seen on 18.4).
create table if not exists ringfence_rollout.running (
  one boolean primary key default true check (one),
  at timestamptz not null default clock_timestamp(),
  document jsonb not null
);

-- Null for a text that is no UUID: a cast would end the statement. What uuid_in() takes: an optional pair of braces and
-- a hyphen after any group of four digits. Not strict, so that the planner can put it in line.
create or replace function ringfence_rollout.uuid_or_null(value text) returns uuid
language sql immutable parallel safe
return case
  when value ~ '^([0-9a-fA-F]{4}(-?[0-9a-fA-F]{4}){7}|[{][0-9a-fA-F]{4}(-?[0-9a-fA-F]{4}){7}[}])$' then value::uuid
end;

-- A user's id made from what names him: see src/rollout/derived-user-id.ts, which computes the same. convert_to() is
-- marked stable, since a conversion could be replaced; that of UTF8 never is. Names qualified, and no backslash: callers'
-- paths differ, and their standard_conforming_strings.
create or replace function ringfence_rollout.derived_user_id(namespace text, value text) returns uuid
language plpgsql immutable strict parallel safe
as $$
declare
  zero bytea := pg_catalog.decode('00', 'hex');
  hash bytea := pg_catalog.sha256(
    pg_catalog.convert_to('ringfence user', 'UTF8') operator(pg_catalog.||) zero
    operator(pg_catalog.||) pg_catalog.convert_to(namespace, 'UTF8') operator(pg_catalog.||) zero
    operator(pg_catalog.||) pg_catalog.convert_to(value, 'UTF8')
  );
begin
  hash := pg_catalog.set_byte(
    hash, 6, (pg_catalog.get_byte(hash, 6) operator(pg_catalog.&) 15) operator(pg_catalog.|) 128
  );
  hash := pg_catalog.set_byte(
    hash, 8, (pg_catalog.get_byte(hash, 8) operator(pg_catalog.&) 63) operator(pg_catalog.|) 128
  );
  return pg_catalog.encode(pg_catalog.substr(hash, 1, 16), 'hex')::pg_catalog.uuid;
end
$$;

${ownerAlone('ringfence_rollout')}
`;
