/**
 * The two walls of I3, each taken away in turn: without the owner filter the policies hold, without the policies the
 * filter holds. Asked of every owned table and verb, of the owner, another user and nobody.
 */
import { sql } from 'kysely';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { ProductUserScope } from '../../src/database/isolation.ts';
import { withOwner } from '../../src/database/owner.ts';
import { appRole, roleUrl } from '../../src/database/provision.ts';
import {
  type OwnedReference,
  type OwnedTable,
  type OwnedTableName,
  ownedTables,
  ownership,
} from '../../src/isolation/owned-tables.ts';
import { startTestServer, type TestServer, type TestUser } from '../support/server.ts';
import { testSecret } from '../support/templates.ts';
import { fingerprint, plantWorld, type World } from '../support/world.ts';

const tables: readonly (OwnedTable & { readonly table: OwnedTableName })[] = ownedTables;
const catalogue = new Map(ownership);

let server: TestServer;
let ann: TestUser;
let bob: TestUser;
let hers: World;
let his: World;
let before: Record<string, string>;
/** His rows as they are, but for what the database fills in by itself. */
const rows = new Map<OwnedTableName, Row>();
type Row = Readonly<Record<string, unknown>>;

beforeAll(async () => {
  server = await startTestServer();
  [ann, bob] = await Promise.all([server.user(), server.user()]);
  hers = await plantWorld(server.database.url, ann.id);
  his = await plantWorld(server.database.url, bob.id);
  before = await fingerprint(server.database.url, ann.id);
  await withOwner(server.database.url, async (owner) => {
    for (const { table } of tables) {
      const found = await owner.query<Row>(`select * from ${table} where user_id = $1 and id = $2`, [
        bob.id,
        his[table],
      ]);
      const { user_id: _, priority_rank: __, ...row } = found.rows[0] ?? {};
      rows.set(table, row);
    }
  });
});
afterAll(() => server?.close());

/** The catalogue is what the owner filter goes by: an empty one lets every statement pass as it is. */
function takeFilterAway(): void {
  const emptied: unknown = ownership;
  if (emptied instanceof Map) emptied.clear();
}
function putFilterBack(): void {
  const emptied: unknown = ownership;
  if (emptied instanceof Map) for (const [table, entry] of catalogue) emptied.set(table, entry);
}
const setPolicies = (verb: 'enable' | 'disable') =>
  withOwner(server.database.url, (owner) =>
    owner.query(tables.map(({ table }) => `alter table ${table} ${verb} row level security;`).join('')),
  );

const rolledBack = new Error('rolled back');

/** Runs something as the user and takes it back; a refusal is what is known of it, but for the ids that were sent. */
async function attempt<T>(
  user: TestUser,
  work: (scope: ProductUserScope) => Promise<T>,
  describe = (error: pg.DatabaseError) => error.code ?? '',
): Promise<T | string> {
  let result: T | undefined;
  try {
    await server.isolation.withUser(user.caller, async (scope) => {
      result = await work(scope);
      throw rolledBack;
    });
  } catch (error) {
    if (error !== rolledBack) return error instanceof pg.DatabaseError ? describe(error) : String(error);
  }
  return result as T;
}

const selects = (table: OwnedTableName) => (scope: ProductUserScope) =>
  scope.all<{ id: string }>(scope.db.selectFrom(table).select('id'));
const deletes = (table: OwnedTableName, id: string) => (scope: ProductUserScope) =>
  scope.run(scope.db.deleteFrom(table).where('id', '=', id));

/** Puts the user's row of the table back as it was, but for what is changed in it, in place of the one that was there. */
const inserts = (table: OwnedTableName, changes: Row) => async (scope: ProductUserScope) => {
  await deletes(table, his[table])(scope);
  return scope.run(scope.db.insertInto(table).values({ ...rows.get(table), ...changes } as never));
};

/** A new row of his that refers to one of hers, or says that it is hers: refused, by whichever wall is there. */
async function insertsHold({ table, references }: (typeof tables)[number]): Promise<void> {
  expect(await attempt(bob, inserts(table, {})), table).toBe(1);
  expect(await attempt(bob, inserts(table, { user_id: ann.id })), table).toMatch(/^42501$|may not set/);

  for (const { column, table: parent } of references as OwnedReference[]) {
    // A rule is about a project or about a branch.
    const about = table === 'rules' && column === 'git_branch_id' ? { scope: 'branch', project_id: null } : {};
    const refer = (id: string) =>
      attempt(bob, inserts(table, { ...about, [column]: id }), ({ code, constraint, message, detail }) =>
        [code, constraint, message, detail?.replaceAll(id, '<id>')].join(' | '),
      );
    const own = rows.get(table)?.[column] ?? his[parent as OwnedTableName];
    expect(await refer(String(own)), `${table}.${column}`).toBe(1);
    const foreign = await refer(hers[parent as OwnedTableName]);
    expect(foreign, `${table}.${column}`).toMatch(new RegExp(`^23503 \\| fk_${table}_${column} `));
    expect(foreign, `${table}.${column}`).toBe(await refer(uuidv7()));
  }
}

async function holds(): Promise<void> {
  for (const entry of tables) {
    const { table, references, updatable } = entry;
    await insertsHold(entry);

    // Reading: each sees the own row, and never the other's.
    const seen = await attempt(bob, selects(table));
    expect(seen, table).not.toContainEqual({ id: hers[table] });
    expect(seen, table).toContainEqual({ id: his[table] });

    // Changing and removing what is hers does nothing; what is his works (the control).
    if (updatable.length > 0) {
      const column = updatable[0] ?? '';
      const change = (id: string) => (scope: ProductUserScope) =>
        scope.run(
          scope.db
            .updateTable(table)
            .set({ [column]: sql.ref(column) })
            .where('id', '=', id),
        );
      expect(await attempt(bob, change(hers[table])), table).toBe(0);
      expect(await attempt(bob, change(his[table])), table).toBe(1);
    }
    expect(await attempt(bob, deletes(table, hers[table])), table).toBe(0);
    expect(await attempt(bob, deletes(table, his[table])), table).toBe(1);

    // A row of his that refers to one of hers: refused like a reference to nothing.
    for (const { column, table: parent } of references as OwnedReference[]) {
      const refer = (id: string) => (scope: ProductUserScope) =>
        scope.run(
          scope.db
            .updateTable(table)
            .set({ [column]: id })
            .where('id', '=', his[table]),
        );
      if (!updatable.includes(column)) continue;
      const foreign = await attempt(bob, refer(hers[parent as OwnedTableName]));
      expect(foreign, `${table}.${column}`).toBe(await attempt(bob, refer(uuidv7())));
      // rules.git_branch_id alone breaks the rule's scope (23514) before the reference is looked at.
      expect(foreign, `${table}.${column}`).toBe(column === 'git_branch_id' && table === 'rules' ? '23514' : '23503');
    }
  }
  expect(await fingerprint(server.database.url, ann.id)).toEqual(before);
}

describe('rows of another user are out of reach', () => {
  afterEach(putFilterBack);

  test('with both walls', holds);

  test('without the owner filter: Postgres holds', async () => {
    takeFilterAway();
    await holds();
  });

  test('without the policies: the owner filter holds', async () => {
    await setPolicies('disable');
    try {
      await holds();
    } finally {
      await setPolicies('enable');
    }
  });

  test('without either, they are in reach: the test can fail', async () => {
    takeFilterAway();
    await setPolicies('disable');
    try {
      await expect(holds()).rejects.toThrow();
    } finally {
      await setPolicies('enable');
    }
  });
});

test('nobody reaches anything: the application role without an identity is refused on every table and verb', async () => {
  const client = new pg.Client({ connectionString: roleUrl(server.database.url, appRole, testSecret) });
  await client.connect();
  for (const { table, updatable } of tables) {
    const statements = [
      `select id from ${table}`,
      `delete from ${table}`,
      ...updatable.slice(0, 1).map((column) => `update ${table} set ${column} = ${column}`),
      `insert into ${table} (id, user_id) values (gen_random_uuid(), '${ann.id}')`,
    ];
    for (const statement of statements) {
      // An insert may stumble over a missing column first; it never succeeds.
      const expected = statement.startsWith('insert') ? /RF001|23502|23514/ : /RF001/;
      await expect(client.query(statement), statement).rejects.toEqual(
        expect.objectContaining({ code: expect.stringMatching(expected) }),
      );
    }
  }
  await client.end();
});
