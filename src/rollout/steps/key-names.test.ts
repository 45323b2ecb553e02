import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../../test/support/postgres.ts';
import { readCatalog, tableOf } from '../catalog.ts';
import { redefine, withOwner } from './key-names.ts';

let database: TestDatabase;
let client: pg.Client;

beforeAll(async () => {
  database = await createDatabase();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});

afterAll(async () => {
  await client.end();
  await database.drop();
});

test.each([
  'create unique index k on t (lower(b), a) where a > 0',
  'create unique index "K (b) USING btree (" on t using btree (b collate "C" text_pattern_ops desc nulls last)',
  'create unique index k on t (a) include (b) with (fillfactor = 70)',
  'create unique index k on t (a, b) nulls not distinct',
])('%s is built again with the owner in front', async (statement) => {
  await client.query(`drop table if exists t; create table t (a int, b text, o uuid); ${statement}`);
  const table = tableOf(await readCatalog(client), 'public.t');
  const [index] = table.indexes;
  if (!index) throw new Error('the index is not there');
  const name = withOwner(index.name);
  await client.query(redefine(table, index, name, 'o'));
  const again = tableOf(await readCatalog(client), 'public.t').indexes.find((other) => other.name === name);
  expect(again).toMatchObject({ columns: ['o', ...index.columns], unique: true, valid: true, partial: index.partial });
  // All but the name and the owner is as it was: collations, operator classes, included columns, conditions.
  const bare = (definition: string) =>
    definition.slice(definition.indexOf(' USING btree (', definition.indexOf(' ON public.t')) + 14);
  expect(bare(again?.definition ?? '')).toBe(`o, ${bare(index.definition)}`);
});
