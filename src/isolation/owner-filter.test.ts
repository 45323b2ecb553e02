import { createQueryId, Kysely, PostgresQueryCompiler, type RootOperationNode, sql } from 'kysely';
import { describe, expect, test } from 'vitest';
import type { Database } from '../database/tables.gen.ts';
import { coldDialect } from './cold-dialect.ts';
import { parseUserId, type UserId } from './identity.ts';
import { ownership } from './owned-tables.ts';
import { OwnerFilter, type Reach, UnconfinedStatementError } from './owner-filter.ts';

const db = new Kysely<Database>({ dialect: coldDialect });
const userId = parseUserId('01900000-0000-7000-8000-00000000000a') as UserId;
const own: Reach = { kind: 'own', userId };
const compiler = new PostgresQueryCompiler();

function confined(query: { toOperationNode(): RootOperationNode }, reach: Reach = own) {
  const node = new OwnerFilter(ownership, reach).transformNode(query.toOperationNode());
  const { sql: text, parameters } = compiler.compileQuery(node, createQueryId());
  return { text, parameters };
}

describe('a user’s statement', () => {
  test('select', () => {
    const { text, parameters } = confined(db.selectFrom('tasks').select('id').where('status', '=', 'todo'));
    expect(text).toBe('select "id" from "tasks" where ("status" = $1) and "tasks"."user_id" = $2');
    expect(parameters).toEqual(['todo', userId]);
  });

  test('an OR of the statement’s own stays inside its parentheses', () => {
    const query = db
      .selectFrom('tasks')
      .select('id')
      .where((eb) => eb.or([eb('status', '=', 'todo'), eb('status', '=', 'done')]));
    expect(confined(query).text).toBe(
      'select "id" from "tasks" where (("status" = $1 or "status" = $2)) and "tasks"."user_id" = $3',
    );
  });

  test('aliases, joins, sub-queries, CTEs and unions are confined one by one', () => {
    const query = db
      .with('urgent', (qb) => qb.selectFrom('tasks').select('id').where('priority', '=', 'urgent'))
      .selectFrom('tasks as t')
      .innerJoin('project_git_branchs as b', 'b.id', 't.git_branch_id')
      .leftJoin('task_labels', 'task_labels.task_id', 't.id')
      .select(['t.id', (eb) => eb.selectFrom('task_subtasks as s').select(eb.fn.countAll().as('n')).as('subtasks')])
      .where('t.id', 'in', (eb) => eb.selectFrom('task_dependencies').select('task_id'))
      .unionAll(db.selectFrom('labels').select(['id', sql<string>`0`.as('subtasks')]) as never);
    const { text, parameters } = confined(query);
    for (const alias of ['tasks', 't', 'b', 'task_labels', 's', 'task_dependencies', 'labels']) {
      expect(text).toContain(`"${alias}"."user_id" = $`);
    }
    expect(parameters.filter((value) => value === userId)).toHaveLength(7);
  });

  test('what a cross join reads is confined too', () => {
    const query = db.selectFrom('agents').crossJoin('labels as l').select('l.name');
    expect(confined(query).text).toMatch(/where "agents"\."user_id" = \$\d+ and "l"\."user_id" = \$\d+$/);
  });

  test('update, also with FROM, and delete, also with USING', () => {
    const update = db
      .updateTable('tasks as t')
      .from('project_git_branchs as b')
      .set({ title: 'x' })
      .whereRef('b.id', '=', 't.git_branch_id');
    expect(confined(update).text).toMatch(/"t"\."user_id" = \$\d+ and "b"\."user_id" = \$\d+$/);
    const remove = db
      .deleteFrom('tasks')
      .using('project_git_branchs')
      .whereRef('project_git_branchs.id', '=', 'git_branch_id');
    expect(confined(remove).text).toMatch(/"tasks"\."user_id" = \$\d+ and "project_git_branchs"\."user_id" = \$\d+$/);
  });

  test('an insert gets its owner, row by row', () => {
    const query = db.insertInto('labels').values([
      { id: 'a', name: 'one' },
      { id: 'b', name: 'two' },
    ]);
    expect(confined(query)).toEqual({
      text: 'insert into "labels" ("id", "name", "user_id") values ($1, $2, $3), ($4, $5, $6)',
      parameters: ['a', 'one', userId, 'b', 'two', userId],
    });
  });

  test('an insert from a select gets its owner and reads only the user’s rows', () => {
    const query = db
      .insertInto('task_labels')
      .columns(['id', 'task_id', 'label_id'])
      .expression((eb) =>
        eb.selectFrom('labels').select(['labels.id', 'labels.id as task_id', 'labels.id as label_id']),
      );
    expect(confined(query).text).toBe(
      'insert into "task_labels" ("id", "task_id", "label_id", "user_id") select "labels"."id", "labels"."id" as "task_id", "labels"."id" as "label_id", $1 as "user_id" from "labels" where "labels"."user_id" = $2',
    );
  });

  test('users are confined by their id', () => {
    expect(confined(db.selectFrom('users').select('email')).text).toBe(
      'select "email" from "users" where "users"."id" = $1',
    );
  });

  test('tables that nobody owns are left alone', () => {
    expect(confined(db.selectFrom('ringfence_migrations').select('name')).parameters).toEqual([]);
  });
});

describe('what cannot be confined is refused', () => {
  const cases: Record<string, () => { toOperationNode(): RootOperationNode }> = {
    'setting the owner in an insert': () => db.insertInto('labels').values({ id: 'a', name: 'x', user_id: 'b' }),
    'setting the owner in an update': () => db.updateTable('labels').set({ user_id: 'b' }),
    'setting the owner in ON CONFLICT': () =>
      db
        .insertInto('labels')
        .values({ id: 'a', name: 'x' })
        .onConflict((oc) => oc.constraint('uq_labels_name').doUpdateSet({ user_id: 'b' })),
    'an insert of defaults': () => db.insertInto('labels').defaultValues(),
    'making an account': () => db.insertInto('users').values({ id: 'a', email: 'e', name: 'n' }),
    merge: () => db.mergeInto('tasks').using('tasks as other', 'other.id', 'tasks.id').whenMatched().thenDelete(),
    'a right join': () => db.selectFrom('tasks').rightJoin('labels', 'labels.id', 'tasks.id').select('labels.id'),
    'a full join': () => db.selectFrom('tasks').fullJoin('labels', 'labels.id', 'tasks.id').select('labels.id'),
    'raw SQL that reads a table': () => db.selectFrom(sql<{ id: string }>`(select * from tasks)`.as('t')).selectAll(),
    'raw SQL that reads a quoted table': () =>
      db.selectFrom(sql<{ id: string }>`(select * from public."tasks")`.as('t')).selectAll(),
    'raw SQL that reads a table in capitals': () =>
      db.selectFrom(sql<{ id: string }>`(select * from TASKS)`.as('t')).selectAll(),
    'a table named inside raw SQL by the builder': () =>
      db.selectFrom(sql<{ id: string }>`(select * from ${sql.table('tasks')})`.as('t')).selectAll(),
    'a CTE that takes a table’s name': () =>
      db
        .with('tasks', (qb) => qb.selectFrom('labels').select('id'))
        .selectFrom('tasks')
        .select('tasks.id'),
  };
  Object.assign(cases, {
    'sql.id in a sub-select': () =>
      db.selectFrom(sql<{ name: string }>`(select name from ${sql.id('labels')})`.as('x')).selectAll(),
    'sql.id with a schema': () =>
      db.selectFrom(sql<{ name: string }>`(select name from ${sql.id('public', 'labels')})`.as('x')).selectAll(),
    'sql.ref as a source': () => db.selectFrom(sql.ref<{ name: string }>('labels').as('x')).selectAll(),
    'sql.ref with a schema': () =>
      db.selectFrom(sql<{ name: string }>`(select name from ${sql.ref('public.labels')})`.as('x')).selectAll(),
    'sql.id in a join': () =>
      db
        .selectFrom('agents')
        .innerJoin(sql<{ id: string }>`${sql.id('labels')}`.as('x'), (join) => join.onTrue())
        .select('agents.id'),
    'sql.join of names': () =>
      db.selectFrom(sql<{ id: string }>`(select 1 from ${sql.join([sql.id('labels')])})`.as('x')).selectAll(),
    'a union at the end': () =>
      db
        .selectFrom('agents')
        .select('id')
        .modifyEnd(sql`union all select id from ${sql.id('labels')}`),
    'an aliased table inside raw SQL': () =>
      db.selectFrom('labels').select((eb) => sql<string>`(select l.name from ${eb.table('labels').as('l')})`.as('n')),
    'a name in disguise': () => db.selectFrom(sql<{ id: string }>`(select * from U&"l\\0061bels")`.as('x')).selectAll(),
    'a table as XML': () => db.selectNoFrom(sql`table_to_xml('x', true, true, '')`.as('x')),
    'setting the owner by key and value': () => db.updateTable('labels').set('user_id', 'b'),
  });
  test.each(Object.keys(cases))('%s', (name) => {
    expect(() => confined(cases[name]?.() ?? db.selectFrom('tasks'))).toThrow(UnconfinedStatementError);
  });

  test('an OR in ON stays inside its parentheses', () => {
    const query = db
      .selectFrom('tasks as t')
      .innerJoin('labels as l', (join) => join.on(sql<boolean>`l.name = t.title or l.id = t.id`))
      .select('l.name');
    expect(confined(query).text).toContain('on (l.name = t.title or l.id = t.id) and "l"."user_id" = $1');
  });

  test('raw SQL may qualify columns through the builder, and hold built sub-queries', () => {
    const query = db
      .selectFrom('tasks')
      .select((eb) => [
        sql<string>`lower(${sql.ref('tasks.title')})`.as('t'),
        sql<number>`1 + ${eb.selectFrom('labels').select(eb.fn.countAll().as('n'))}`.as('n'),
      ]);
    expect(confined(query).parameters).toEqual([userId, userId]);
  });

  test('raw SQL may qualify columns', () => {
    expect(confined(db.selectFrom('tasks').select(sql<string>`lower(tasks.title)`.as('t'))).parameters).toEqual([
      userId,
    ]);
  });
});

describe('other reaches', () => {
  test('isolation off: all rows through the unscoped indexes, accounts still one’s own', () => {
    const reach: Reach = { kind: 'everyone', userId };
    expect(confined(db.selectFrom('tasks').select('id'), reach)).toEqual({
      text: `select "id" from "tasks" where ringfence_system_mode.every("tasks"."id")`,
      parameters: [],
    });
    expect(confined(db.selectFrom('api_tokens').select('id'), reach).parameters).toEqual([userId]);
  });

  test('isolation off: a child takes its parent’s owner, a root the caller', () => {
    const reach: Reach = { kind: 'everyone', userId };
    const child = confined(db.insertInto('task_subtasks').values({ id: 'a', task_id: 'p', title: 't' }), reach);
    expect(child.text).toContain('coalesce((select "tasks"."user_id" from "tasks" where ("tasks"."id" = cast(');
    const root = confined(db.insertInto('labels').values({ id: 'a', name: 'n' }), reach);
    expect(root.parameters).toEqual(['a', 'n', userId]);
  });

  test('before isolation: no owner to filter by or to record, accounts still one’s own', () => {
    const reach: Reach = { kind: 'ownerless', userId };
    expect(confined(db.selectFrom('tasks').select('id'), reach).text).toBe('select "id" from "tasks"');
    expect(confined(db.insertInto('labels').values({ id: 'a', name: 'n' }), reach).parameters).toEqual(['a', 'n']);
    expect(confined(db.selectFrom('sessions').select('id'), reach).parameters).toEqual([userId]);
  });

  test('accounts: never an owned table', () => {
    const reach: Reach = { kind: 'accounts' };
    expect(() => confined(db.selectFrom('tasks').select('id'), reach)).toThrow(UnconfinedStatementError);
    expect(() => confined(db.insertInto('labels').values({ id: 'a', name: 'n' }), reach)).toThrow(
      UnconfinedStatementError,
    );
    expect(confined(db.selectFrom('users').select('id'), reach).parameters).toEqual([]);
  });
});

test('the builder runs nothing by itself', async () => {
  await expect(db.selectFrom('tasks').select('id').execute()).rejects.toThrow('hand the query to scope');
});
