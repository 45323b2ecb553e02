/**
 * The shapes and their writers without any rollout: whatever a rollout test then finds, it was the rollout. And what the
 * comparison of schemas and rows would notice.
 */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { readOwners } from './rows.ts';
import { schemaTextWithin } from './schema-text.ts';
import { openServer, type Server } from './server.ts';
import { shapes } from './shapes/all.ts';
import { textKeys } from './shapes/text-keys.ts';
import { none, Stage } from './stage.ts';

let server: Server;
beforeAll(async () => {
  server = await openServer();
});
afterAll(() => server?.stop());

test.each(shapes.map((shape) => [shape.name, shape] as const))(
  '%s: the old application works, and all it does is known',
  async (_, shape) => {
    const stage = await Stage.open(shape, await server.fresh(shape), { writers: 2 });
    try {
      await stage.startWriters();
      // Every operation of the shape, also those that are given up because there is no row for them.
      await vi.waitUntil(
        () => stage.writers.every(({ figures }) => figures.writes > 150 || figures.failures.length > 0),
        { timeout: 50_000 },
      );
      await stage.settled(async () => {
        none('failed', stage.faultsInWriters());
        none('rows', await stage.faultsInRows());
        const owners = await stage.asOwner((client) => readOwners(client, shape));
        const known = stage.knownOwners();
        for (const [table, rows] of owners) {
          if (shape.tables[table]?.unclaimed) continue;
          for (const [key, owner] of rows)
            expect([table, key, known.get(`${table} ${key}`) ?? null]).toEqual([table, key, owner]);
        }
        const done = new Set(stage.writers.flatMap(({ figures }) => [...figures.operations.keys()]));
        expect(shape.operations.map(({ name }) => name).filter((name) => !done.has(name))).toEqual([]);
        expect(await stage.schemaNow()).toBe(stage.schemaBefore);
      });
    } finally {
      await stage.close();
    }
  },
);

const changes = [
  'alter table tasks add column user_id uuid',
  'alter table tasks alter column title drop not null',
  `alter table tasks alter column title set default 'x'`,
  'alter table tasks alter column title set statistics 7',
  'alter table tasks drop constraint tasks_project_fk',
  'alter table tasks alter constraint tasks_project_fk deferrable',
  'alter table tasks rename constraint tasks_project_fk to other',
  'create index on tasks (title)',
  'drop index tasks_open_idx',
  'alter table tasks enable row level security',
  'alter table tasks force row level security',
  'alter table tasks disable trigger all',
  'create policy p on tasks using (true)',
  'grant select (title) on tasks to public',
  'grant truncate on tasks to public',
  'revoke create on schema public from pg_database_owner',
  'create function f() returns int language sql as $$select 1$$',
  'create schema leftover',
  'alter default privileges grant select on tables to public',
  'create view v as select 1 as one',
  'comment on table tasks is $$x$$',
  'alter table tasks set (fillfactor = 50)',
  'create sequence s',
  `do $$ begin execute format('revoke temporary on database %I from public', current_database()); end $$`,
  `do $$ begin execute format('alter database %I set work_mem = %L', current_database(), '5MB'); end $$`,
];

test('the text of a schema tells each change', async () => {
  const stage = await Stage.open(textKeys, await server.fresh(textKeys), { writers: 1 });
  try {
    await stage.asOwner(async (client) => {
      for (const change of changes) {
        await client.query('begin');
        await client.query(change);
        expect.soft(await schemaTextWithin(client, textKeys.schemas), change).not.toBe(stage.schemaBefore);
        await client.query('rollback');
      }
      expect(await stage.schemaNow()).toBe(stage.schemaBefore);
    });
  } finally {
    await stage.close();
  }
});
