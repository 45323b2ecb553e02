/**
 * Two databases that are the same to the attacker, byte for byte, and different in everything that is others'. Every text
 * and document of another user holds a mark that no statement contains, every id a prefix that none contains.
 */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { withOwner } from '../../../../src/database/owner.ts';
import { appRole, closeDatabase, roleUrl } from '../../../../src/database/provision.ts';
import { deriveIdentityKey, identityKeyPads, parseUserId, type UserId } from '../../../../src/isolation/identity.ts';
import { accountTables, ownedTables } from '../../../../src/isolation/owned-tables.ts';
import { testSecret } from '../../../support/templates.ts';

/**
 * `level`: as many rows in both, of the same lengths, so that plans are the same and any difference is content.
 * `skewed`: next to nobody in one; hundreds of users, one of them heavy, in the other.
 */
export type Shape = 'level' | 'skewed';

interface World {
  readonly url: string;
  readonly appUrl: string;
  readonly database: string;
}

export interface Worlds {
  readonly shape: Shape;
  readonly marks: Marks;
  readonly both: readonly [World, World];
  /** Hashes of what is others', as planted, one for each world. */
  readonly planted: readonly [string, string];
  drop(): Promise<void>;
}

/** What may appear in no answer. */
export interface Marks {
  readonly text: string;
  /** The first eight digits of others' ids. */
  readonly id: string;
  /** What identities are signed with, as the database keeps it. */
  readonly key: string;
}

const fixedId = (prefix: string, last: number): string =>
  `${prefix}-0000-7000-8000-${last.toString(16).padStart(12, '0')}`;

function userId(text: string): UserId {
  const id = parseUserId(text);
  if (id === null) throw new TypeError(`${text} is no user id`);
  return id;
}

export const attacker = userId(fixedId('a77ac4e2', 1));
/** The attacker's own rows: `mine('projects', 0)`. */
export const mine = (table: string, i: number): string =>
  table === 'global_contexts' ? attacker : fixedId('a77ac4e2', code(describedBy[table] ?? table) * 256 + i);
/** Ids that the attacker guesses: some are rows in the first world, some in the second, some in neither. */
export const guessed = (table: string, i: number): string =>
  fixedId('90e55ed0', code(describedBy[table] ?? table) * 256 + i);
/** A user who is there in the first world alone, and one in the second alone. */
export const guessedUsers = [userId(fixedId('90e55ed0', 0xfffff1)), userId(fixedId('90e55ed0', 0xfffff2))] as const;
/** How many guesses there are for each table. */
export const guesses = 6;
/** Names that others have as well: the first half in the first world, the second half in the second. */
export const guessedName = (i: number): string => `guess-${i}`;

const tableNames = [...ownedTables, ...accountTables].map(({ table }) => table as string);
const code = (table: string) => tableNames.indexOf(table) + 1;
const describedBy: Readonly<Record<string, string>> = {
  project_contexts: 'projects',
  branch_contexts: 'project_git_branchs',
  task_contexts_unified: 'tasks',
};

function marksOf(seed: number): Marks {
  const digest = createHash('sha256').update(`marks ${seed}`).digest('hex');
  const key = identityKeyPads(deriveIdentityKey(testSecret)).inner.toString('hex').slice(0, 40);
  return { text: `knr${digest.slice(0, 12)}`, id: `c${digest.slice(12, 19)}`, key };
}

/**
 * @param serverUrl a superuser's
 * @param template the isolated database
 * @param name what the databases' names begin with
 * @param spoil defects to plant in both worlds, for showing that they are found
 */
export async function makeWorlds(options: {
  readonly serverUrl: string;
  readonly template: string;
  readonly name: string;
  readonly shape: Shape;
  readonly seed: number;
  readonly spoil?: string | undefined;
}): Promise<Worlds> {
  const { serverUrl, name, shape, seed } = options;
  const marks = marksOf(seed);
  const databases = [`${name}_base`, `${name}_1`, `${name}_2`] as const;
  const [base, ...twins] = databases;
  const url = (database: string) => {
    const other = new URL(serverUrl);
    other.pathname = `/${database}`;
    return other.href;
  };
  const drop = () =>
    withOwner(serverUrl, async (owner) => {
      for (const database of databases) await owner.query(`drop database if exists ${database} with (force)`);
    });
  await drop();
  await withOwner(serverUrl, (owner) =>
    owner.query(`create database ${base} template ${options.template} strategy wal_log`),
  );
  await withOwner(url(base), async (owner) => {
    // A table that is analysed at a moment of its own is planned differently from then on.
    for (const table of tableNames) await owner.query(`alter table ${table} set (autovacuum_enabled = false)`);
    await plant(owner, attackerRows());
  });
  for (const database of twins) {
    await withOwner(serverUrl, (owner) => owner.query(`create database ${database} template ${base} strategy wal_log`));
  }
  const worlds = twins.map((database) => ({
    database,
    url: url(database),
    appUrl: roleUrl(url(database), appRole, testSecret),
  })) as unknown as [World, World];
  const planted = (await Promise.all(
    worlds.map(({ url: worldUrl }, i) =>
      withOwner(worldUrl, async (owner) => {
        await closeDatabase(owner);
        const others = othersOf(shape, i, seed).map((other) => rowsOf(other, marks, seed, i));
        await plant(
          owner,
          Object.fromEntries(tableNames.map((table) => [table, others.flatMap((rows) => rows[table] ?? [])])),
        );
        await owner.query('analyze');
        if (options.spoil !== undefined) await owner.query(options.spoil);
      }).then(() => hashOfOthers(worldUrl)),
    ),
  )) as unknown as [string, string];
  return { shape, marks, both: worlds, planted, drop };
}

type Row = Record<string, unknown>;
type Rows = Readonly<Record<string, readonly Row[]>>;

interface Other {
  readonly number: number;
  readonly id?: string;
  /** Rows a table. */
  readonly rows: number;
  /** Which guesses are this user's rows. */
  readonly guesses: readonly number[];
}

function othersOf(shape: Shape, world: number, seed: number): Other[] {
  const half = [0, 1, 2].map((i) => i + (world === 0 ? 0 : 3)).filter((i) => i < guesses - (world === 0 ? 0 : 1));
  const known = { number: 0, id: guessedUsers[world] ?? '', guesses: half };
  if (shape === 'level')
    return [{ ...known, rows: 5 }, ...[1, 2, 3].map((number) => ({ number, rows: 5, guesses: [] }))];
  if (world === 0) return [{ ...known, rows: 3 }];
  const many = Array.from({ length: 60 }, (_, i) => ({ number: i + 2, rows: 2, guesses: [] }));
  return [{ ...known, rows: 4 }, { number: 1, rows: 600 + (seed % 50), guesses: [] }, ...many];
}

function rowsOf(other: Other, marks: Marks, seed: number, world: number): Rows {
  const digest = (...of: readonly unknown[]) =>
    createHash('md5')
      .update([seed, world, other.number, ...of].join('/'))
      .digest('hex');
  const uuid = (...of: readonly unknown[]) => {
    const d = digest(...of);
    return `${marks.id}-${d.slice(0, 4)}-7${d.slice(4, 7)}-8${d.slice(7, 10)}-${d.slice(10, 22)}`;
  };
  const user = other.id ?? uuid('user');
  return build({
    user,
    rows: other.rows,
    mark: (...of) => `${marks.text}${digest(...of)}`,
    id: (table, i) => {
      const guess = other.guesses[i];
      return guess === undefined ? uuid(describedBy[table] ?? table, i) : guessed(table, guess);
    },
    name: (table, i) => {
      const guess = other.guesses[i];
      return guess === undefined ? `${marks.text}${digest(table, 'name', i)}` : guessedName(guess);
    },
  });
}

const attackerRows = (): Rows =>
  build({
    user: attacker,
    rows: 3,
    mark: (...of) => `mine ${of.join(' ')}`,
    id: mine,
    name: (table, i) => `mine ${table} ${i}`,
  });

/** One user's rows in every table; texts and documents that are not said here are filled with marks. */
function build(of: {
  readonly user: string;
  readonly rows: number;
  readonly mark: (...of: readonly (string | number)[]) => string;
  readonly id: (table: string, i: number) => string;
  readonly name: (table: string, i: number) => string;
}): Rows {
  const { user, id, name, mark } = of;
  const range = Array.from({ length: of.rows }, (_, i) => i);
  const few = range.slice(0, 3);
  const hash = (text: string) => `\\x${createHash('sha256').update(text).digest('hex')}`;
  const own = (table: string, i: number) => ({ id: id(table, i), user_id: user });
  const named = (table: string, i: number) => ({ ...own(table, i), name: name(table, i) });
  const rows: Record<string, Row[]> = {
    users: [{ id: user, email: `${mark('email')}@example.test`, roles: ['user'], status: 'active' }],
    projects: range.map((i) => ({ ...named('projects', i), status: 'active' })),
    agents: range.map((i) => ({ ...named('agents', i), status: 'available' })),
    project_git_branchs: range.map((i) => ({
      ...named('project_git_branchs', i),
      project_id: id('projects', i),
      assigned_agent_id: id('agents', i),
      priority: 'medium',
      status: 'todo',
    })),
    tasks: range.map((i) => ({
      ...own('tasks', i),
      title: name('tasks', i),
      git_branch_id: id('project_git_branchs', i),
      status: 'todo',
      priority: i % 2 === 0 ? 'medium' : 'high',
      archived_from: null,
    })),
    task_subtasks: range.map((i) => ({
      ...own('task_subtasks', i),
      task_id: id('tasks', i),
      status: 'todo',
      priority: 'low',
    })),
    task_dependencies: range.slice(1).map((i) => ({
      ...own('task_dependencies', i),
      task_id: id('tasks', i),
      depends_on_task_id: id('tasks', i - 1),
      dependency_type: 'blocks',
    })),
    task_assignees: range.map((i) => ({
      ...own('task_assignees', i),
      task_id: id('tasks', i),
      agent_id: id('agents', i),
    })),
    labels: range.map((i) => ({ ...named('labels', i), color: '#0066cc' })),
    task_labels: range.map((i) => ({ ...own('task_labels', i), task_id: id('tasks', i), label_id: id('labels', i) })),
    rules: range.map((i) => ({ ...named('rules', i), scope: 'project', project_id: id('projects', i) })),
    global_contexts: [{ id: user, user_id: user }],
    project_contexts: range.map((i) => ({
      ...own('project_contexts', i),
      project_id: id('projects', i),
      parent_global_id: user,
    })),
    branch_contexts: range.map((i) => ({
      ...own('branch_contexts', i),
      branch_id: id('project_git_branchs', i),
      parent_project_id: id('project_contexts', i),
    })),
    task_contexts_unified: range.map((i) => ({
      ...own('task_contexts_unified', i),
      task_id: id('tasks', i),
      parent_branch_id: id('project_git_branchs', i),
      parent_branch_context_id: id('branch_contexts', i),
    })),
    sessions: few.map((i) => ({
      ...own('sessions', i),
      token_hash: hash(mark('token', i)),
      expires_at: '2035-01-01T00:00:00Z',
      revoked_reason: null,
    })),
    api_tokens: few.map((i) => ({ ...named('api_tokens', i), token_hash: hash(mark('api', i)), scopes: ['read'] })),
    user_access_log: few.map((i) => ({ ...own('user_access_log', i), outcome: 'ok' })),
    idempotency_keys: few.map((i) => ({
      ...own('idempotency_keys', i),
      key: name('idempotency_keys', i),
      request_hash: hash(mark('request', i)),
    })),
  };
  for (const [table, list] of Object.entries(rows)) {
    list.forEach((row, i) => {
      for (const { column, type } of fillable[table] ?? []) {
        if (column in row) continue;
        const text = mark(table, column, i);
        row[column] = type === 'jsonb' ? { [text]: [text] } : type === 'text[]' ? [text] : text;
      }
    });
  }
  return rows;
}

const texts = (columns: string) => columns.split(' ').map((column) => ({ column, type: 'text' }));
const documents = (columns: string) => columns.split(' ').map((column) => ({ column, type: 'jsonb' }));
/** The columns of texts and documents that nothing else is put into. */
const fillable: Readonly<Record<string, readonly { column: string; type: string }[]>> = {
  users: texts('name password_hash'),
  projects: [...texts('description'), ...documents('metadata')],
  agents: [...texts('description role'), { column: 'capabilities', type: 'text[]' }, ...documents('metadata')],
  project_git_branchs: [...texts('description'), ...documents('metadata')],
  tasks: texts('description details estimated_effort completion_summary testing_notes'),
  task_subtasks: [
    ...texts('title description estimated_effort progress_notes blockers completion_summary impact_on_parent'),
    { column: 'assignees', type: 'text[]' },
    { column: 'insights_found', type: 'text[]' },
  ],
  task_assignees: texts('assignee_id role'),
  labels: texts('description'),
  rules: texts('content'),
  global_contexts: [
    ...texts('organization_id'),
    ...documents(
      'organization_standards security_policies compliance_requirements shared_resources reusable_patterns global_preferences delegation_rules nested_structure',
    ),
  ],
  project_contexts: documents(
    'data project_info team_preferences technology_stack project_workflow local_standards project_settings technical_specifications global_overrides delegation_rules',
  ),
  branch_contexts: documents(
    'data branch_info branch_workflow feature_flags discovered_patterns branch_decisions active_patterns local_overrides delegation_rules',
  ),
  task_contexts_unified: documents(
    'data task_data execution_context discovered_patterns implementation_notes test_results blockers local_decisions delegation_queue local_overrides delegation_triggers',
  ),
  sessions: texts('user_agent'),
  user_access_log: texts('actor operation entity_type reason request_id'),
  idempotency_keys: texts('response_body'),
};

const times = ['created_at', 'updated_at', 'rotated_at', 'assigned_at', 'applied_at', 'at'];
const planted = '2020-02-02T02:02:02Z';
const parentsFirst = ['users', ...tableNames.filter((table) => table !== 'users')];

async function plant(owner: { query: pg.Client['query'] }, rows: Rows): Promise<void> {
  const { rows: columns } = await owner.query<{ table: string; column: string }>(
    `select table_name as table, column_name as column from information_schema.columns
     where table_schema = 'public' and column_name = any ($1)`,
    [times],
  );
  for (const table of parentsFirst) {
    const list = rows[table] ?? [];
    if (list.length === 0) continue;
    const dated = columns.filter((column) => column.table === table).map(({ column }) => column);
    const full = list.map((row) => ({ ...row, ...Object.fromEntries(dated.map((column) => [column, planted])) }));
    const names = Object.keys(full[0] ?? {}).join(', ');
    await owner.query(
      `insert into ${table} (${names}) select ${names} from jsonb_populate_recordset(null::${table}, $1::jsonb)`,
      [JSON.stringify(full)],
    );
  }
}

/** A hash of everything that is not the attacker's: unchanged means that nobody touched it. */
export function hashOfOthers(url: string): Promise<string> {
  const parts = [...ownedTables.map(({ table }) => ({ table, column: 'user_id' })), ...accountTables].map(
    ({ table, column }) =>
      `select '${table}' || count(*) || coalesce(md5(string_agg(t::text, ',' order by t.${column}, t.id)), '') as h
       from ${table} t where ${column} <> '${attacker}'`,
  );
  return withOwner(url, async (owner) => {
    const { rows } = await owner.query<{ hash: string }>(
      `select string_agg(h, ' ' order by h) as hash from (${parts.join(' union all ')}) parts`,
    );
    return rows[0]?.hash ?? '';
  });
}
