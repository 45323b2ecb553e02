import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createDatabase, statement } from '../../../test/support/postgres.ts';
import { type Connection, connect } from '../connection.ts';
import type { OwnedReference, OwnedTable, OwnerSource, Ownership } from '../ownership.ts';
import { freezePlan } from '../plan.ts';
import { freeze, installState, readEvents } from '../state.ts';
import { type AssignOptions, assign } from './assign.ts';

const nobody = '00000000-0000-4000-8000-000000000000';
const [ann, bob, cy] = ['a', 'b', 'c'].map((letter) => `${letter.repeat(8)}-0000-4000-8000-000000000001`) as [
  string,
  string,
  string,
];

/** A shop: folders in a tree, papers in folders, notes that tie two papers, a cover that closes a cycle; a tag may be lost. */
const tables = `
  create schema "My App";
  create table public.people (id uuid primary key, email text not null);
  create table public.tags (user_id uuid not null default '${nobody}', id int not null, name text);
  create table public.folders (user_id uuid not null default '${nobody}', id int not null, name text, parent int, cover int, made_by text);
  create table "My App"."Paper" (user_id uuid not null default '${nobody}', "Id" text not null, folder int not null, tag int, made_by text);
  create table public.notes (user_id uuid not null default '${nobody}', a text not null, b text not null);`;

const filled = `
  insert into public.people values ('${ann}', 'ann@example.com'), ('${bob}', 'bob@example.com'), ('${cy}', 'cy@example.com'),
    ('${nobody}', 'quarantine');
  insert into public.tags (id, name) values (1, 'red');
  insert into public.folders (id, name, parent, made_by) values
    (1, 'root', null, 'ann@example.com'), (2, 'leaf', 1, null), (3, 'other', null, 'bob@example.com');
  insert into "My App"."Paper" ("Id", folder) values ('p1', 1), ('p2', 2), ('p3', 3);
  insert into public.notes (a, b) values ('p1', 'p2');
  update public.folders set cover = 1 where id = 1;`;

/** Keys without the owner, as the old application has them. */
const oldKeys = `
  alter table public.tags add constraint tags_pkey primary key (id);
  alter table public.folders add constraint folders_pkey primary key (id),
    add constraint folders_parent foreign key (parent) references public.folders (id) on delete set null;
  alter table "My App"."Paper" add constraint "Paper_pkey" primary key ("Id"),
    add constraint paper_folder foreign key (folder) references public.folders (id) on delete cascade,
    add constraint paper_tag foreign key (tag) references public.tags (id) on delete set null;
  alter table public.notes add constraint notes_pkey primary key (a, b),
    add constraint notes_a foreign key (a) references "My App"."Paper" ("Id"),
    add constraint notes_b foreign key (b) references "My App"."Paper" ("Id") on update restrict;`;

const newKeys = (prefix: string) => `
  create unique index ${prefix}tags_owner on public.tags (user_id, id);
  create unique index ${prefix}folders_owner on public.folders (user_id, id);
  create unique index ${prefix}folders_name on public.folders (user_id, name);
  create unique index ${prefix}paper_owner on "My App"."Paper" (user_id, "Id");
  create unique index ${prefix}notes_owner on public.notes (user_id, a, b);
  create index on public.folders (user_id, parent);
  create index on "My App"."Paper" (user_id, folder);
  create index on "My App"."Paper" (user_id, tag);
  create index on public.notes (user_id, b);
  alter table public.folders
    add constraint ${prefix}folders_parent foreign key (user_id, parent) references public.folders (user_id, id)
      on delete set null (parent);
  alter table "My App"."Paper"
    add constraint ${prefix}paper_folder foreign key (user_id, folder) references public.folders (user_id, id) on delete cascade,
    add constraint ${prefix}paper_tag foreign key (user_id, tag) references public.tags (user_id, id) on delete set null (tag);
  alter table public.notes
    add constraint ${prefix}notes_a foreign key (user_id, a) references "My App"."Paper" (user_id, "Id"),
    add constraint ${prefix}notes_b foreign key (user_id, b) references "My App"."Paper" (user_id, "Id") on update restrict;`;

const reference = (name: string, columns: string[], table: string, referencedColumns: string[]): OwnedReference => ({
  name,
  columns,
  table,
  referencedColumns,
});
const parent = reference('folders_parent', ['parent'], 'public.folders', ['id']);
const folder = reference('paper_folder', ['folder'], 'public.folders', ['id']);
const tag = reference('paper_tag', ['tag'], 'public.tags', ['id']);
const noteOf = (column: string) => reference(`notes_${column}`, [column], '"My App"."Paper"', ['Id']);
const madeBy: OwnerSource = { kind: 'match', column: 'made_by', usersColumn: 'email', ignoreCase: true };

function owned(table: string, key: string[], references: OwnedReference[], sources: OwnerSource[]): OwnedTable {
  const common = {
    class: 'owned',
    ownerColumn: 'user_id',
    adopted: false,
    defaultOwner: nobody,
    partitions: [],
  } as const;
  return { ...common, table, key, references, sources, reason: '' };
}

const ownership: Ownership = {
  users: { table: 'public.people', id: 'id', idKind: 'uuid' },
  owned: [
    owned('public.tags', ['id'], [], []),
    owned('public.folders', ['id'], [parent], [madeBy, { kind: 'reference', reference: parent }]),
    owned('"My App"."Paper"', ['Id'], [folder, tag], [madeBy, { kind: 'reference', reference: folder }]),
    owned('public.notes', ['a', 'b'], [noteOf('a'), noteOf('b')], [{ kind: 'reference', reference: noteOf('a') }]),
  ],
  unowned: [],
  legacyRoles: [],
  quarantineOwner: nobody,
  appRole: 'ringfence_app',
};

/** The keys that are there: the old ones, both (up to `contract`), or the new ones alone. */
type Form = 'old' | 'both' | 'new';

interface Shop {
  readonly client: Connection;
  close(): Promise<void>;
}

let directory: string;
let client: Connection;
const opened = new Map<Form, Shop>();

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ringfence-assign-'));
});
afterAll(async () => {
  rmSync(directory, { recursive: true, force: true });
  for (const shop of opened.values()) await shop.close();
});

/** One database a form, with the same rows at the beginning of every test. */
async function shop(form: Form): Promise<void> {
  const open = opened.get(form) ?? (await build(form));
  opened.set(form, open);
  client = open.client;
  await client.query(`
    do $$ begin execute (
      select 'truncate ' || string_agg(oid::regclass::text, ', ') from pg_class
      where relkind = 'r' and relnamespace in ('public'::regnamespace, '"My App"'::regnamespace, 'ringfence_rollout'::regnamespace)
    ); end $$;
    ${filled}`);
  await freeze(client, freezePlan('shop', ownership, []));
}

async function build(form: Form): Promise<Shop> {
  const database = await createDatabase();
  const keys = form === 'old' ? [oldKeys] : form === 'both' ? [oldKeys, newKeys('ringfence_')] : [newKeys('')];
  await statement(database.url, [tables, ...keys].join('\n'));
  const connection = await connect(database.url, 'test');
  await installState(connection);
  return {
    client: connection,
    async close() {
      await connection.end();
      await database.drop();
    },
  };
}

const given = (selection: AssignOptions['selection'], more: Partial<AssignOptions> = {}) =>
  assign(client, { selection, ...more });

/** Whose every row is, by one letter: `-` for quarantine. */
async function owners(): Promise<Record<string, string>> {
  const letter = `case user_id when '${nobody}' then '-' else left(user_id::text, 1) end`;
  const list = (table: string, name: string) =>
    `(select coalesce(string_agg(${name} || ':' || ${letter}, ' ' order by ${name}, ${letter}), '') from ${table})`;
  const { rows } = await client.query(
    `select ${list('public.tags', 'id')} tags, ${list('public.folders', 'id')} folders,
      ${list('"My App"."Paper"', '"Id"')} papers, ${list('public.notes', 'a || b')} notes`,
  );
  return rows[0];
}

const untouched = { tags: '1:-', folders: '1:- 2:- 3:-', papers: 'p1:- p2:- p3:-', notes: 'p1p2:-' };
const annHasTheTree = { tags: '1:-', folders: '1:a 2:a 3:-', papers: 'p1:a p2:a p3:-', notes: 'p1p2:a' };

function csv(content: string): string {
  const path = join(directory, 'list.csv');
  writeFileSync(path, content);
  return path;
}

describe.each(['old', 'both', 'new'] as const)('with %s keys', (form) => {
  beforeEach(() => shop(form));

  test('a row takes along whatever hangs on it, at any depth', async () => {
    const result = await given({ by: 'where', table: 'public.folders', predicate: 'id = 1 -- the root', to: ann });
    expect(result).toMatchObject({ named: 1, rows: 5, conflicts: [], othersRows: 0 });
    expect(await owners()).toEqual(annHasTheTree);
  });

  test('a dry run says the same and changes nothing', async () => {
    const selection = { by: 'where', table: 'public.folders', predicate: 'id = 1', to: ann } as const;
    const planned = await given(selection, { dryRun: true });
    expect(await owners()).toEqual(untouched);
    expect(await readEvents(client, 'assign')).toEqual([]);
    expect(await given(selection)).toEqual({ ...planned, dryRun: false });
    expect(planned.tables).toEqual([
      { table: 'public.folders', rows: 2 },
      { table: '"My App"."Paper"', rows: 2 },
      { table: 'public.notes', rows: 1 },
    ]);
  });

  test('a transfer takes the subtree from whoever has it', async () => {
    await given({ by: 'where', table: 'public.folders', predicate: 'true', to: ann });
    const result = await given({ by: 'key', table: 'public.folders', key: ['1'], to: bob });
    expect(result).toMatchObject({ rows: 5, conflicts: [] });
    expect(await owners()).toEqual({ tags: '1:-', folders: '1:b 2:b 3:a', papers: 'p1:b p2:b p3:a', notes: 'p1p2:b' });
  });

  test('what would part a child from its parent is refused and named', async () => {
    const result = await given({ by: 'key', table: '"My App"."Paper"', key: ['p3'], to: ann });
    expect(result).toMatchObject({ rows: 0, conflictsTotal: 1 });
    expect(result.conflicts).toEqual([
      {
        kind: 'reference',
        table: '"My App"."Paper"',
        constraint: 'paper_folder',
        key: '("Id") = (p3)',
        message:
          '"My App"."Paper" ("Id") = (p3) would go, but refers by paper_folder to public.folders (id) = (3), which stays in quarantine (--with-references takes it along)',
      },
    ]);
    expect(await owners()).toEqual(untouched);
  });

  test('a reference that may be given up is, when it is asked for', async () => {
    await client.query(`update "My App"."Paper" set tag = 1 where "Id" in ('p1', 'p3')`);
    const selection = { by: 'key', table: 'public.folders', key: ['1'], to: ann } as const;
    const refused = await given(selection);
    expect(refused.conflicts.map(({ message }) => message)).toEqual([
      '"My App"."Paper" ("Id") = (p1) would go, but refers by paper_tag to public.tags (id) = (1), which stays in quarantine (--with-references takes it along) (--detach gives this reference up)',
    ]);
    // The leaf hangs on by such a reference too; nothing is in the way of its coming along.
    expect(await given(selection, { detach: true })).toMatchObject({ rows: 5, detached: 1, conflicts: [] });
    expect(await owners()).toEqual(annHasTheTree);
    const { rows } = await client.query('select id, parent from public.folders where parent is not null');
    expect(rows).toEqual([{ id: 2, parent: 1 }]);
    const { rows: papers } = await client.query('select "Id", tag from "My App"."Paper" where tag is not null');
    expect(papers).toEqual([{ Id: 'p3', tag: 1 }]);
  });

  test('rows in quarantine that these refer to come along when it is asked for, and no rows beside them', async () => {
    await client.query(`update "My App"."Paper" set tag = 1 where "Id" in ('p1', 'p2')`);
    const selection = { by: 'key', table: 'public.folders', key: ['1'], to: ann } as const;
    expect(await given(selection)).toMatchObject({ rows: 0, conflictsTotal: 2 });
    const all = { rows: 6, named: 1, detached: 0, conflicts: [] };
    expect(await given(selection, { withReferences: true, dryRun: true })).toMatchObject(all);
    expect(await owners()).toEqual(untouched);
    expect(await given(selection, { withReferences: true })).toMatchObject(all);
    expect(await owners()).toEqual({ ...annHasTheTree, tags: '1:a' });
  });

  test('a row that others in quarantine refer to as well does not take them along: they are named', async () => {
    await client.query(`update "My App"."Paper" set tag = 1 where "Id" in ('p1', 'p3')`);
    const selection = { by: 'key', table: 'public.folders', key: ['1'], to: ann } as const;
    const { conflicts } = await given(selection, { withReferences: true });
    expect(conflicts.map(({ message }) => message)).toEqual([
      '"My App"."Paper" ("Id") = (p3) would go, but refers by paper_folder to public.folders (id) = (3), which stays in quarantine',
    ]);
    expect(await owners()).toEqual(untouched);
    // Two users of one list: it can be only one's.
    const file = csv('email,id\nann@example.com,1\nbob@example.com,3\n');
    const listed = { by: 'csv', table: 'public.folders', file } as const;
    expect(await given(listed, { userColumn: 'email', withReferences: true })).toMatchObject({ rows: 0 });
    expect(await owners()).toEqual(untouched);
    // And with both the reference is given up, by one of them.
    const both = await given(listed, { userColumn: 'email', withReferences: true, detach: true });
    expect(both).toMatchObject({ detached: 1, conflicts: [] });
    expect((await owners()).papers).toBe('p1:a p2:a p3:b');
  });

  test('somebody else’s row does not come along', async () => {
    await client.query(`update "My App"."Paper" set tag = null; delete from public.tags`);
    await given({ by: 'key', table: 'public.folders', key: ['3'], to: bob });
    const selection = { by: 'key', table: '"My App"."Paper"', key: ['p3'], to: ann } as const;
    expect(await given(selection, { withReferences: true })).toMatchObject({ rows: 0, conflictsTotal: 1 });
    expect((await owners()).papers).toBe('p1:- p2:- p3:b');
  });

  test('what refers to a row that goes, and is tied to one that stays, gives the reference up', async () => {
    await client.query(`update "My App"."Paper" set tag = 1 where "Id" = 'p2'`);
    const selection = { by: 'key', table: 'public.tags', key: ['1'], to: ann } as const;
    const { conflicts } = await given(selection);
    expect(conflicts.map(({ constraint, key }) => `${constraint} ${key}`).sort()).toEqual([
      'notes_a (a, b) = (p1, p2)',
      'paper_folder ("Id") = (p2)',
    ]);
    expect(await given(selection, { detach: true, dryRun: true })).toMatchObject({
      rows: 1,
      detached: 1,
      conflicts: [],
    });
    expect(await given(selection, { detach: true })).toMatchObject({ rows: 1, detached: 1, conflicts: [] });
    expect(await owners()).toEqual({ ...untouched, tags: '1:a' });
    const { rows } = await client.query('select from "My App"."Paper" where tag is not null');
    expect(rows).toEqual([]);
  });

  test('a list gives rows to several users', async () => {
    const file = csv('email,id\nann@example.com,1\nbob@example.com,3\n');
    const result = await given({ by: 'csv', table: 'public.folders', file }, { userColumn: 'email' });
    expect(result).toMatchObject({ listed: 2, named: 2, rows: 7, missingTotal: 0 });
    expect(await owners()).toEqual({ tags: '1:-', folders: '1:a 2:a 3:b', papers: 'p1:a p2:a p3:b', notes: 'p1p2:a' });
  });

  test('one row a transaction comes to the same', async () => {
    const file = csv(`id,user\n1,${ann}\n2,${ann}\n3,${bob}\n`);
    const progress: number[] = [];
    const onProgress = (done: number) => progress.push(done);
    // Folder 2 hangs on folder 1: it went along with it, and is its owner's already.
    const result = await given({ by: 'csv', table: 'public.folders', file }, { batch: 1, onProgress });
    expect(result).toMatchObject({ rows: 7, conflicts: [] });
    expect(progress).toEqual([1, 1, 2]);
    expect(await readEvents(client, 'assign')).toHaveLength(2);
  });

  test('the rule is followed, and a row with its own does not go with another', async () => {
    const result = await given({ by: 'rule', table: undefined });
    expect(result).toMatchObject({ named: 2, rows: 7, conflicts: [] });
    expect(await owners()).toEqual({ tags: '1:-', folders: '1:a 2:a 3:b', papers: 'p1:a p2:a p3:b', notes: 'p1p2:a' });
  });
});

describe('collisions', () => {
  test.each(['both', 'new'] as const)('with %s keys: what the new owner has already is named', async (form) => {
    await shop(form);
    const prefix = form === 'both' ? 'ringfence_' : '';
    await given({ by: 'key', table: 'public.folders', key: ['3'], to: bob });
    await client.query("update public.folders set name = 'root' where id = 3");
    const result = await given({ by: 'key', table: 'public.folders', key: ['1'], to: bob });
    expect(result).toMatchObject({ rows: 0, conflictsTotal: 1 });
    expect(result.conflicts[0]).toEqual({
      kind: 'collision',
      table: 'public.folders',
      constraint: `${prefix}folders_name`,
      key: '(name) = (root)',
      message: `public.folders: ${bob} has a row with (name) = (root) (${prefix}folders_name)`,
    });
  });

  test('two rows of two users would be one name to the new owner', async () => {
    await shop('new');
    await given({ by: 'key', table: 'public.folders', key: ['3'], to: bob });
    await given({ by: 'key', table: 'public.folders', key: ['1'], to: ann });
    await client.query("update public.folders set name = 'root' where id = 3");
    const selection = { by: 'where', table: 'public.folders', predicate: 'parent is null', to: cy } as const;
    const result = await given(selection, { from: 'any' });
    expect(result.conflicts.map(({ message }) => message)).toEqual([
      `public.folders: ${cy} would get two rows with (name) = (root) (folders_name)`,
    ]);
  });

  test('after contract the same id of two users is asked about, and collides', async () => {
    await shop('new');
    await given({ by: 'key', table: 'public.tags', key: ['1'], to: ann });
    await client.query(`insert into public.tags (user_id, id, name) values ('${bob}', 1, 'blue')`);
    await expect(given({ by: 'key', table: 'public.tags', key: ['1'], to: cy })).rejects.toMatchObject({
      code: 'rollout_refused',
      message: `public.tags: several users have a row with (id) = (1); say --from: ${ann}, ${bob}`,
    });
    const result = await given({ by: 'key', table: 'public.tags', key: ['1'], to: ann }, { from: bob });
    expect(result.conflicts.map(({ key, constraint }) => `${constraint} ${key}`)).toEqual(['tags_owner (id) = (1)']);
    expect(await given({ by: 'key', table: 'public.tags', key: ['1'], to: cy }, { from: bob })).toMatchObject({
      rows: 1,
    });
  });

  test('what an expression index refuses is a conflict too, and nothing has changed', async () => {
    await shop('new');
    await client.query('create unique index folders_shout on public.folders (user_id, upper(name))');
    onTestFinished(async () => {
      await client.query('drop index public.folders_shout');
    });
    await given({ by: 'key', table: 'public.folders', key: ['3'], to: bob });
    await client.query("update public.folders set name = 'ROOT' where id = 3");
    const result = await given({ by: 'key', table: 'public.folders', key: ['1'], to: bob });
    expect(result).toMatchObject({ rows: 0, conflictsTotal: 1 });
    expect(result.conflicts[0]).toMatchObject({
      kind: 'collision',
      table: 'public.folders',
      constraint: 'folders_shout',
    });
    expect(await owners()).toMatchObject({ folders: '1:- 2:- 3:b' });
  });

  test('a user who is not there, where a foreign key knows', async () => {
    await shop('new');
    await freeze(client, freezePlan('shop', { ...ownership, users: null }, []));
    await client.query('alter table public.folders add foreign key (user_id) references public.people');
    onTestFinished(async () => {
      await client.query('alter table public.folders drop constraint folders_user_id_fkey');
    });
    const to = 'dddddddd-0000-4000-8000-000000000001';
    const result = await given({ by: 'key', table: 'public.folders', key: ['1'], to });
    expect(result.conflicts[0]).toMatchObject({ kind: 'reference', constraint: 'folders_user_id_fkey' });
  });
});

describe('lists', () => {
  beforeEach(() => shop('both'));
  const folders = (content: string, more: Partial<AssignOptions> = {}) =>
    given({ by: 'csv', table: 'public.folders', file: csv(content) }, more);

  test.each([
    [`id,user\n1,${ann}\nx,${bob}\n3,${bob}\n`, /line 3, column id: invalid input syntax for type integer: "x"/],
    [`id,user\n1,${ann}\n99999999999,${bob}\n`, /line 3, column id: .*out of range/],
    [`id,user\n1,${ann}\n3,\n`, /line 3, column user: no user is named/],
    [
      `id,user\n1,${ann}\n3,${nobody.replace('8', '9')}\n`,
      /line 3, column user: no single user has the public\.people\.id/,
    ],
    [`id,user\n1,ann@example.com\n`, /line 2, column user: no single user/],
    [`id,user\n1,${ann}\n3,${bob}\n1,${bob}\n`, /lines 2 and 4 give one row to different users/],
    [`folder,user\n1,${ann}\n`, /line 1: the header must be id,user; it is folder,user/],
    [`id,user,x\n1,${ann},\n`, /line 1: the header must be id,user/],
    ['', /is empty/],
  ])('%j is refused, and nothing changes', async (content, sentence) => {
    await expect(folders(content)).rejects.toThrow(sentence);
    await expect(folders(content)).rejects.toMatchObject({ code: 'usage_error' });
    expect(await owners()).toEqual(untouched);
  });

  test('a header alone gives nothing', async () => {
    expect(await folders('id,user\n')).toMatchObject({ listed: 0, rows: 0, missingTotal: 0 });
  });

  test('rows that are not there are told, and passed over when that is asked for', async () => {
    const content = `id,user\n1,${ann}\n77,${bob}\n`;
    expect(await folders(content)).toMatchObject({ rows: 0, missing: ['line 3: (id) = (77)'], missingTotal: 1 });
    expect(await owners()).toEqual(untouched);
    expect(await folders(content, { skipMissing: true })).toMatchObject({ rows: 5, missingTotal: 1 });
    expect(await owners()).toEqual(annHasTheTree);
  });

  test("somebody else's row is left alone unless it is said", async () => {
    await folders(`id,user\n1,${ann}\n`);
    expect(await folders(`id,user\n1,${bob}\n`)).toMatchObject({ named: 0, rows: 0, othersRows: 1 });
    expect(await folders(`id,user\n1,${bob}\n`, { from: cy })).toMatchObject({ rows: 0, othersRows: 1 });
    expect(await folders(`id,user\n1,${bob}\n`, { from: ann })).toMatchObject({ rows: 5, othersRows: 0 });
    expect(await folders(`id,user\n1,${cy}\n`, { from: 'any' })).toMatchObject({ rows: 5 });
    expect(await folders(`id,user\n1,${cy}\n`, { from: 'any' })).toMatchObject({ named: 0, rows: 0, othersRows: 0 });
  });

  test('a row that goes to one and its child to another is refused before anything changes', async () => {
    const result = await folders(`id,user\n1,${ann}\n2,${bob}\n`);
    expect(result.rows).toBe(0);
    expect(result.conflicts.map(({ constraint }) => constraint).sort()).toEqual(['folders_parent', 'notes_b']);
    expect(await owners()).toEqual(untouched);
  });

  test('a composite key stands in columns of any order', async () => {
    await given({ by: 'key', table: 'public.folders', key: ['1'], to: ann });
    const file = csv(`b,who,a\np2,${bob},p1\n`);
    const result = await given({ by: 'csv', table: 'public.notes', file }, { from: 'any' });
    expect(result.conflicts.map(({ key }) => key)).toEqual(['(a, b) = (p1, p2)', '(a, b) = (p1, p2)']);
  });

  test('thousands of lines for many users, in several transactions', async () => {
    await client.query(`
      insert into public.people select gen_random_uuid(), 'u' || n from generate_series(1, 500) n;
      insert into public.folders (id, name) select n, 'f' || n from generate_series(1001, 6000) n;
      analyze`);
    const lines = Array.from({ length: 5_000 }, (_, at) => `${at + 1001},u${(at % 500) + 1}`);
    const result = await folders(`id,user\n${lines.join('\n')}\n`, { userColumn: 'email' });
    expect(result).toMatchObject({ listed: 5_000, named: 5_000, rows: 5_000, conflicts: [] });
    const { rows } = await client.query(
      `select count(*)::int as right from public.folders f join public.people p on p.id = f.user_id
      where p.email = 'u' || ((f.id - 1001) % 500 + 1)`,
    );
    expect(rows).toEqual([{ right: 5_000 }]);
    expect((await readEvents(client, 'assign')).length).toBe(5);
  });
});

describe('what is remembered', () => {
  beforeEach(() => shop('both'));
  const saved = async () =>
    (
      await client.query(
        'select table_name, id, user_id, rule_user_id from ringfence_rollout.user_id_backup order by 1, 2',
      )
    ).rows;

  test('an owner against the rule, and what the rule says; in accord with it nothing', async () => {
    await given({ by: 'key', table: 'public.folders', key: ['1'], to: bob });
    expect(await saved()).toEqual([{ table_name: 'public.folders', id: '1', user_id: bob, rule_user_id: ann }]);
    // The rule comes to the same: what was given stays.
    expect(await given({ by: 'rule', table: undefined })).toMatchObject({ named: 1 });
    expect(await owners()).toMatchObject({ folders: '1:b 2:b 3:b' });
    await given({ by: 'key', table: 'public.folders', key: ['1'], to: ann });
    expect(await saved()).toEqual([]);
  });

  test('a row without a rule', async () => {
    await given({ by: 'key', table: 'public.tags', key: ['1'], to: ann });
    expect(await saved()).toEqual([{ table_name: 'public.tags', id: '1', user_id: ann, rule_user_id: nobody }]);
  });

  test('an event with counts and no values', async () => {
    await given({ by: 'key', table: 'public.folders', key: ['1'], to: bob });
    const [event] = await readEvents(client, 'assign');
    const { rows } = await client.query('select current_user as role');
    expect(event?.detail).toEqual({
      by: 'key',
      table: 'public.folders',
      named: 1,
      rows: { 'public.folders': 2, '"My App"."Paper"': 2, 'public.notes': 1 },
      detached: 0,
      role: rows[0].role,
    });
  });
});

test('what cannot be read is a fault of usage that names the flag', async () => {
  await shop('both');
  const where = (predicate: string) => given({ by: 'where', table: 'public.folders', predicate, to: ann });
  for (const [attempt, sentence] of [
    [() => where('nope = 1'), /--where: column "nope" does not exist/],
    [
      () => where('id = 1); delete from public.notes; select (1'),
      /--where: cannot insert multiple commands|--where: syntax/,
    ],
    [() => given({ by: 'key', table: 'public.folders', key: ['x'], to: ann }), /--key: invalid input syntax/],
    [
      () => given({ by: 'key', table: 'public.folders', key: ['1', '2'], to: ann }),
      /--key: public.folders is keyed by id; 2/,
    ],
    [
      () => given({ by: 'key', table: 'public.folders', key: ['1'], to: 'ann' }),
      /--to: no user has the public.people.id "ann"/,
    ],
    [
      () => given({ by: 'key', table: 'public.people', key: ['1'], to: ann }),
      /--table: public.people is not a table whose/,
    ],
    [
      () => given({ by: 'rule', table: undefined }, { userColumn: 'nope' }),
      /--user-column: public.people has no column nope/,
    ],
  ] as const) {
    await expect(attempt()).rejects.toMatchObject({ code: 'usage_error', message: expect.stringMatching(sentence) });
  }
  expect(await owners()).toEqual(untouched);
});
