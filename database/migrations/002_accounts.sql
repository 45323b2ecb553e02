-- Who may sign in, and what they did. These tables say whose a row is from the start; 003 puts policies on them.

begin;

-- Whoever runs this may have a schema of the same name in front of the search path.
set local search_path = public;

create table users (
  id uuid primary key,
  email text not null check (char_length(email) between 3 and 320),
  name text not null check (char_length(name) between 1 and 200),
  -- argon2id in PHC form; null for accounts of an outside identity provider.
  password_hash text,
  -- The outside identity (iss, sub), for accounts made at first use of a provider's token.
  external_issuer text,
  external_subject text,
  roles text[] not null default '{user}' check (roles <@ '{user,admin}' and 'user' = any (roles)),
  status text not null default 'active' check (status in ('active', 'suspended', 'quarantine')),
  -- Access tokens issued before this moment are refused (password changed, all sessions ended).
  tokens_valid_after timestamptz not null default '-infinity',
  last_login_at timestamptz,
  failed_login_attempts integer not null default 0,
  locked_until timestamptz,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint ck_users_external check ((external_issuer is null) = (external_subject is null))
);

-- Of what is computed: a statement of a user cannot have these, since only the policy may come before lower() and ||,
-- which are not leakproof. By an index on the bare columns it would tell which values others have. No issuer, being a URL,
-- has a blank in it.
create unique index uq_users_email on users (lower(email));
create unique index uq_users_external on users ((external_issuer || ' ' || external_subject));

-- One row is one refresh token family (RFC 9700 §4.14.2): a token that was already exchanged ends the family.
create table sessions (
  user_id uuid not null references users (id) on delete cascade,
  id uuid not null,
  token_hash bytea not null check (octet_length(token_hash) = 32),
  -- The token before this one, good for a short grace after the exchange, for clients that lost the answer.
  previous_token_hash bytea check (octet_length(previous_token_hash) = 32),
  rotated_at timestamptz not null default now(),
  expires_at timestamptz not null,
  revoked_at timestamptz,
  revoked_reason text check (revoked_reason in ('logout', 'reuse', 'password_changed', 'admin')),
  user_agent text not null default '' check (char_length(user_agent) <= 500),
  created_at timestamptz not null default now(),
  primary key (user_id, id)
);

create table api_tokens (
  user_id uuid not null references users (id) on delete cascade,
  id uuid not null,
  name text not null check (char_length(name) between 1 and 200),
  token_hash bytea not null check (octet_length(token_hash) = 32),
  scopes text[] not null check (scopes <@ '{read,write,admin}' and cardinality(scopes) > 0),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  usage_count bigint not null default 0,
  created_at timestamptz not null default now(),
  primary key (user_id, id)
);

-- What was done to whose rows, by whom. The application may add to it and read it, and nothing else.
-- It goes with the user: erasure is complete, and it happens in the owner's name (the application role cannot delete).
create table user_access_log (
  user_id uuid not null references users (id) on delete cascade,
  id uuid not null default gen_random_uuid(),
  at timestamptz not null default clock_timestamp(),
  -- Who did it: 'session', 'token', 'cli', 'system'.
  actor text not null check (char_length(actor) <= 200),
  operation text not null check (char_length(operation) <= 100),
  entity_type text not null default '' check (char_length(entity_type) <= 100),
  entity_id uuid,
  outcome text not null check (outcome in ('ok', 'refused', 'system')),
  reason text not null default '' check (char_length(reason) <= 500),
  request_id text not null default '' check (char_length(request_id) <= 100),
  primary key (user_id, id)
);

-- For a user's own pages, and for the administrators'.
create index idx_user_access_log_user_id_at on user_access_log (user_id, at, id);
create index idx_user_access_log_at on user_access_log (at, id);

-- The answers to creations that carried an Idempotency-Key, kept for a day.
create table idempotency_keys (
  user_id uuid not null references users (id) on delete cascade,
  id uuid not null,
  key text not null check (char_length(key) between 1 and 255),
  request_hash bytea not null check (octet_length(request_hash) = 32),
  -- Null until the creation that holds the key has an answer; both commit together.
  response_status smallint,
  response_body text,
  created_at timestamptz not null default now(),
  primary key (user_id, id),
  constraint uq_idempotency_keys_key unique (user_id, key)
);

insert into ringfence_migrations (version, name) values (2, '002_accounts');

commit;
