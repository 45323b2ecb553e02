/**
 * The isolation migration (003) as SQL text, up and down, from the catalogue of owned tables. It is committed under
 * database/migrations and compared in CI, so that there is one source of truth and still plain SQL to read and to run
 * with psql. Every statement can run a second time and then changes nothing.
 */
import {
  type AccountTable,
  accountTables,
  everybodyMark,
  type OwnedReference,
  type OwnedTable,
  ownedTables,
  quarantineUserId,
} from './owned-tables.ts';

const owned: readonly OwnedTable[] = ownedTables;
const accounts: readonly AccountTable[] = accountTables;

/** The parent whose owner a new row takes; rows of a table without one are roots of what a user has. */
export function parentOf(table: OwnedTable): OwnedReference | undefined {
  return table.references.find((reference) => reference.onDelete === 'cascade');
}

export function isolationUp(identity: string): string {
  return [
    header('003_add_user_isolation', 'Every row gets an owner, and Postgres itself enforces it.'),
    'begin;',
    searchPath,
    '-- A migration that waits for a lock stops everybody behind it: give up instead, nothing is changed then.',
    "set local lock_timeout = '5s';",
    identity.trim(),
    section('Owners'),
    '-- A constant default is metadata only (20 ms on 2 M rows) and closes at once: what nobody has claimed belongs to a',
    '-- user who cannot sign in. A second run finds the column and changes no owner.',
    ...owned.map((t) => addOwnerColumn(t.table)),
    restoreOwners(),
    refuseMixedOwners(),
    section('Keys'),
    '-- Ownership is structural: a row can only refer to rows of its own user, equal ids of two users do not collide,',
    '-- nothing cascades or locks across users. References first, since they hold the old primary keys.',
    ...owned.flatMap(dropSingleReferences),
    ...owned.flatMap((t) => [compositePrimaryKey(t.table), ...t.unique.map((u) => compositeUnique(t.table, u))]),
    ...owned.flatMap(compositeReferences),
    section('Indexes'),
    ...owned.flatMap(indexes),
    section('Policies'),
    ...owned.map((t) => protect(t.table, 'user_id')),
    ...accounts.map((t) => protect(t.table, t.column)),
    ...accounts.filter(isForAccounts).map(openToAccounts),
    refuseSystemOutcome(),
    section('Grants'),
    ...owned.map(ownedGrants),
    ...accounts.map(accountGrants),
    'revoke all on table ringfence_migrations from public;',
    `grant select on table ringfence_migrations to ${roles};`,
    "insert into ringfence_migrations (version, name) values (3, '003_add_user_isolation') on conflict do nothing;",
    'commit;',
    '',
  ].join('\n\n');
}

export function isolationDown(): string {
  const reversed = owned.toReversed();
  return [
    header(
      '003_add_user_isolation.down',
      'Back to the schema before isolation; who owns what is kept in user_id_backup.',
    ),
    'begin;',
    searchPath,
    "set local lock_timeout = '5s';",
    "-- Policies bind the tables' owner as well: lift them first, or the owners could not be read.",
    ...owned.map((t) => unprotect(t.table, 'user_id')),
    ...accounts.filter(isForAccounts).map((t) => `drop policy accounts_mode on ${t.table};`),
    'drop policy no_system_outcome on user_access_log;',
    ...accounts.map((t) => unprotect(t.table, t.column)),
    refuseCollisions(),
    saveOwners(),
    ...reversed.flatMap(dropCompositeReferences),
    ...reversed.map(singleKeys),
    ...owned.flatMap(singleReferences),
    ...owned.map((t) => `alter table ${t.table} drop column user_id;`),
    ...[...owned, ...accounts].map((t) => `revoke all on table ${t.table} from ${roles};`),
    '-- The roles belong to the cluster, not to this database, and stay.',
    `revoke all on table ringfence_migrations from ${roles};`,
    `revoke usage on schema public from ${roles};`,
    'drop schema ringfence cascade;',
    `delete from users where id = '${quarantineUserId}';`,
    'delete from ringfence_migrations where version = 3;',
    'commit;',
    '',
  ].join('\n\n');
}

const roles = 'ringfence_app, ringfence_system, ringfence_accounts';

const searchPath =
  '-- Whoever runs this may have a schema of the same name in front of the search path.\nset local search_path = public;';

function header(name: string, purpose: string): string {
  return `-- ${name}: ${purpose}
--
-- Generated from src/isolation/owned-tables.ts and database/isolation/identity.sql by \`npm run generate\`; do not edit.
-- Runs through \`ringfence migrate\` and equally through \`psql -f\`. One transaction: all of it or nothing.`;
}

function section(title: string): string {
  return `-- ${title} ${'-'.repeat(116 - title.length)}`;
}

/** A statement that runs only while the condition holds. plpgsql looks at the statement when it gets there. */
function when(condition: string, statements: readonly string[]): string {
  return `do $$
begin
  if ${condition} then
${statements.map((s) => `    ${s}`).join('\n')}
  end if;
end
$$;`;
}

function addOwnerColumn(table: string): string {
  return `alter table ${table} add column if not exists user_id uuid not null default '${quarantineUserId}';`;
}

/** Owners that an earlier way down saved come back; rows made since then take the owner of what they belong to. */
function restoreOwners(): string {
  const restore = owned.map(
    (t) => `update ${t.table} t set user_id = b.user_id
      from user_id_backup b
      where b.table_name = '${t.table}' and b.id = t.id and t.user_id = '${quarantineUserId}';`,
  );
  const inherit = owned.flatMap((t) => {
    const parent = t.references.filter((reference) => reference.onDelete === 'cascade');
    return parent.map(
      (p) => `update ${t.table} t set user_id = p.user_id
      from ${p.table} p
      where p.id = t.${p.column} and t.user_id = '${quarantineUserId}' and p.user_id <> t.user_id;`,
    );
  });
  return when("to_regclass('user_id_backup') is not null", [...restore, ...inherit, 'drop table user_id_backup;']);
}

/** Rows that were tied together across owners while there was no isolation cannot be kept apart: say which. */
function refuseMixedOwners(): string {
  const pairs = owned.flatMap((t) =>
    t.references.map(
      (r) => `select '${t.table}.${r.column}' as reference, t.id from ${t.table} t
      join ${r.table} p on p.id = t.${r.column} and p.user_id <> t.user_id
      where not exists (select from ringfence_migrations where version = 3)`,
    ),
  );
  return `do $$
declare
  mixed text;
begin
  select string_agg(format('%s of row %s', m.reference, m.id), ', ') into mixed
  from (
    ${pairs.join('\n    union all\n    ')}
    limit 20
  ) m;
  if mixed is not null then
    raise exception 'rows refer to rows of another user: %', mixed
      using errcode = 'RF011', hint = 'Remove these references or give both ends one owner, then run this again.';
  end if;
end
$$;`;
}

function isComposite(table: string, constraint: string): string {
  return `exists (
    select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.conrelid = '${table}'::regclass and c.conname = '${constraint}' and a.attname = 'user_id'
  )`;
}

const referenceName = (table: string, reference: OwnedReference) => `fk_${table}_${reference.column}`;

function dropSingleReferences(t: OwnedTable): string[] {
  return t.references.map((r) =>
    when(`not ${isComposite(t.table, referenceName(t.table, r))}`, [
      `alter table ${t.table} drop constraint if exists ${referenceName(t.table, r)};`,
    ]),
  );
}

function compositePrimaryKey(table: string): string {
  return when(`not ${isComposite(table, `${table}_pkey`)}`, [
    `alter table ${table} drop constraint ${table}_pkey, add constraint ${table}_pkey primary key (user_id, id);`,
  ]);
}

function compositeUnique(table: string, unique: { name: string; columns: readonly string[] }): string {
  const columns = ['user_id', ...unique.columns].join(', ');
  return when(`not ${isComposite(table, unique.name)}`, [
    `alter table ${table} drop constraint ${unique.name}, add constraint ${unique.name} unique (${columns});`,
  ]);
}

function compositeReferences(t: OwnedTable): string[] {
  const references = t.references.map((r) => {
    const name = referenceName(t.table, r);
    // Only the reference is emptied when its target goes; the owner stays (the column list needs Postgres 15).
    const action = r.onDelete === 'cascade' ? 'cascade' : `set null (${r.column})`;
    return when(`not ${isComposite(t.table, name)}`, [
      `alter table ${t.table} add constraint ${name}
      foreign key (user_id, ${r.column}) references ${r.table} (user_id, id) on delete ${action};`,
    ]);
  });
  if (parentOf(t)) return references;
  // A root has no parent whose owner is known to exist. No cascade: erasing a user names each table, or fails.
  const name = `fk_${t.table}_user_id`;
  return [
    ...references,
    when(`not ${isComposite(t.table, name)}`, [
      `alter table ${t.table} add constraint ${name} foreign key (user_id) references users (id);`,
    ]),
  ];
}

function indexes(t: OwnedTable): string[] {
  const covered = new Set(t.unique.map((u) => u.columns[0]));
  const byReference = t.references.filter((r) => !covered.has(r.column));
  return [
    `create index if not exists idx_${t.table}_user_id on ${t.table} (user_id);`,
    ...byReference.map(
      (r) => `create index if not exists idx_${t.table}_user_id_${r.column} on ${t.table} (user_id, ${r.column});`,
    ),
    ...t.lists.map(
      (columns) =>
        `create index if not exists idx_${t.table}_user_id_${columns[0]} on ${t.table} (${['user_id', ...columns].join(', ')});`,
    ),
    // For system mode and for USER_ISOLATION_ENABLED=false. See everybodyMark in owned-tables.ts for the condition.
    `create index if not exists idx_${t.table}_id on ${t.table} (id) where ${everybodyMark};`,
    ...unscopedIndexes(t).map((index) => {
      const create = `create index ${index.name} on ${t.table} (${index.columns.join(', ')}) where ${everybodyMark};`;
      const partial = `exists (
    select from pg_index where indexrelid = to_regclass('${index.name}') and indpred is not null
  )`;
      return when(`not ${partial}`, [`drop index if exists ${index.name};`, create]);
    }),
  ];
}

interface UnscopedIndex {
  readonly name: string;
  readonly columns: readonly string[];
  /** Whether the schema before isolation had it; a reference that led a unique constraint needed none there. */
  readonly existed: boolean;
}

function unscopedIndexes(t: OwnedTable): UnscopedIndex[] {
  const covered = new Set(t.unique.map((u) => u.columns[0]));
  return [
    ...t.unscoped.map((index) => ({ ...index, existed: true })),
    ...t.references.map((r) => ({
      name: `idx_${t.table}_${r.column}`,
      columns: [r.column],
      existed: !covered.has(r.column),
    })),
  ];
}

function hasPolicy(table: string, policy: string): string {
  return `exists (select from pg_policy where polrelid = '${table}'::regclass and polname = '${policy}')`;
}

/**
 * The one policy of users, the same for reading and writing, with no role in it (four CVEs of the class of
 * CVE-2026-14666 come from policies that depend on the role), and the one of system mode. The sub-select makes the
 * verification run once a statement and table, not once a row (114 against 7,023 ms on a scan).
 */
function protect(table: string, column: string): string {
  const condition = `${column} = (select ringfence.current_user_id())`;
  return [
    column === 'user_id' ? `alter table ${table} alter column user_id set default ringfence.current_user_id();` : '',
    `alter table ${table} enable row level security, force row level security;`,
    when(`not ${hasPolicy(table, 'user_isolation')}`, [
      `create policy user_isolation on ${table} using (${condition}) with check (${condition});`,
    ]),
    when(`not ${hasPolicy(table, 'system_mode')}`, [
      `create policy system_mode on ${table} to ringfence_system using (true) with check (true);`,
    ]),
  ]
    .filter((statement) => statement !== '')
    .join('\n');
}

const isForAccounts = (t: AccountTable) => t.accountsGrants.length > 0;

/** Before anybody is known there is no user to compare with; the grants, column by column, are the limit. */
function openToAccounts({ table }: AccountTable): string {
  return when(`not ${hasPolicy(table, 'accounts_mode')}`, [
    `create policy accounts_mode on ${table} to ringfence_accounts using (true) with check (true);`,
  ]);
}

/** The access log is evidence: a use of system mode can only be written down by system mode, not by a user's statement. */
function refuseSystemOutcome(): string {
  return when(`not ${hasPolicy('user_access_log', 'no_system_outcome')}`, [
    "create policy no_system_outcome on user_access_log as restrictive for insert to ringfence_app, ringfence_accounts with check (outcome <> 'system');",
  ]);
}

/** Taken back first: what an earlier version of this catalogue granted must not stay. Columns go with the table. */
function revoked(table: string): string {
  return `revoke all on table ${table} from public, ${roles};`;
}

function ownedGrants(t: OwnedTable): string {
  const update = t.updatable.length > 0 ? `, update (${t.updatable.join(', ')})` : '';
  return `${revoked(t.table)}
grant select, insert, delete${update} on table ${t.table} to ringfence_app;
grant select, insert, update, delete on table ${t.table} to ringfence_system;`;
}

function accountGrants(t: AccountTable): string {
  const grants = [
    `grant ${t.grants.join(', ')} on table ${t.table} to ringfence_app;`,
    `grant ${t.systemGrants.join(', ')} on table ${t.table} to ringfence_system;`,
  ];
  if (isForAccounts(t)) grants.push(`grant ${t.accountsGrants.join(', ')} on table ${t.table} to ringfence_accounts;`);
  return [revoked(t.table), ...grants].join('\n');
}

function unprotect(table: string, column: string): string {
  const dropDefault = column === 'user_id' ? `\nalter table ${table} alter column user_id drop default;` : '';
  return `alter table ${table} no force row level security, disable row level security;
drop policy user_isolation on ${table};
drop policy system_mode on ${table};${dropDefault}`;
}

/** Point of no return: two users with one id fit under (user_id, id) and not under (id). */
function refuseCollisions(): string {
  const counts = owned.map(
    (t) => `select '${t.table}' as table_name, id from ${t.table} group by id having count(*) > 1`,
  );
  const uniques = owned.flatMap((t) =>
    t.unique.map(
      (u) =>
        `select '${t.table} (${u.columns.join(', ')})', min(id::text)::uuid from ${t.table} group by ${u.columns.join(', ')} having count(*) > 1`,
    ),
  );
  return `do $$
declare
  collisions text;
begin
  select string_agg(format('%s: %s', c.table_name, c.id), ', ') into collisions
  from (
    ${[...counts, ...uniques].join('\n    union all\n    ')}
    limit 20
  ) c;
  if collisions is not null then
    raise exception 'rows of different users have the same key, which the schema before isolation cannot hold: %',
      collisions
      using errcode = 'RF012', hint = 'Rename or remove one of each, then run this again.';
  end if;
end
$$;`;
}

function saveOwners(): string {
  const rows = owned.map(
    (t) => `select '${t.table}', id, user_id from ${t.table} where user_id <> '${quarantineUserId}'`,
  );
  return `create table user_id_backup (
  table_name text not null,
  id uuid not null,
  user_id uuid not null,
  saved_at timestamptz not null default now(),
  primary key (table_name, id)
);
revoke all on table user_id_backup from public;
insert into user_id_backup (table_name, id, user_id)
${rows.join('\nunion all\n')};`;
}

function dropCompositeReferences(t: OwnedTable): string[] {
  const names = t.references.map((r) => referenceName(t.table, r));
  if (!parentOf(t)) names.push(`fk_${t.table}_user_id`);
  return names.length > 0
    ? [`alter table ${t.table} ${names.map((name) => `drop constraint ${name}`).join(', ')};`]
    : [];
}

function singleKeys(t: OwnedTable): string {
  const keys = [
    { name: `${t.table}_pkey`, definition: 'primary key (id)' },
    ...t.unique.map((u) => ({ name: u.name, definition: `unique (${u.columns.join(', ')})` })),
  ];
  const changes = keys.map((k) => `drop constraint ${k.name}, add constraint ${k.name} ${k.definition}`);
  const unscoped = unscopedIndexes(t).map((index) =>
    index.existed
      ? `drop index ${index.name};\ncreate index ${index.name} on ${t.table} (${index.columns.join(', ')});`
      : `drop index ${index.name};`,
  );
  return [`alter table ${t.table} ${changes.join(', ')};`, `drop index idx_${t.table}_id;`, ...unscoped].join('\n');
}

function singleReferences(t: OwnedTable): string[] {
  return t.references.map(
    (r) =>
      `alter table ${t.table} add constraint ${referenceName(t.table, r)} foreign key (${r.column}) references ${r.table} (id) on delete ${r.onDelete};`,
  );
}
