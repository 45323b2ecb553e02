import { describe, expect, test } from 'vitest';
import { readStatement } from './sql-text.ts';

const tables = (sql: string) => readStatement(sql).tables.map((path) => path.join('.'));
const conditions = (sql: string) => [...readStatement(sql).conditions];

describe('tables', () => {
  test.each([
    ['select * from tasks', ['tasks']],
    ['SELECT tasks_done FROM reports', ['reports']],
    ['select tasks from reports r', ['reports']],
    ['select * from public.tasks t, "Order" o', ['public.tasks', 'Order']],
    ['select * from "My App"."Order""s"', ['My App.Order"s']],
    ['select * from a left join b on a.x = b.x, c', ['a', 'b', 'c']],
    ['select * from only tasks', ['tasks']],
    ['select * from f(a, b), tasks', ['tasks']],
    ['select * from x as y (a, b) join tasks using (a)', ['x', 'tasks']],
    ['insert into tasks (id, title) values ($1, $2)', ['tasks']],
    ['insert into tasks select * from drafts', ['tasks', 'drafts']],
    ['update tasks set title = $1 from projects p where p.id = $2', ['tasks', 'projects']],
    ['delete from tasks using projects p where p.id = project_id', ['tasks', 'projects']],
    [
      'merge into tasks t using drafts d on t.id = d.id when matched then update set title = d.title',
      ['tasks', 'drafts'],
    ],
    ['truncate table tasks, projects', ['tasks', 'projects']],
    ['table tasks', ['tasks']],
    ['copy tasks (id, title) to stdout', ['tasks']],
    ['declare c cursor for select * from tasks', ['tasks']],
    ['select extract(epoch from tasks) from t', ['t']],
    ['select a is distinct from tasks from t', ['t']],
    ['select * from t for update of t', ['t']],
    ['select * from t where exists (select from tasks)', ['t', 'tasks']],
    ['select * from (select 1 from tasks) x, y', ['tasks', 'y']],
    ["select 'from tasks', $$ from tasks $$, e'\\' from tasks' from t", ['t']],
    ['select 1 -- from tasks\n from /* from /* tasks */ x */ t', ['t']],
    ['with tasks as (select * from tasks where user_id = $1) select * from tasks', ['tasks']],
    ['with mine as not materialized (select 1 from a) select * from mine, b', ['a', 'b']],
    ['with recursive r (n) as (select 1 from a union all select n from r) select * from r', ['a']],
  ])('%s', (sql, expected) => {
    expect(tables(sql)).toEqual(expected);
  });
});

describe('conditions', () => {
  test.each([
    ['select user_id from tasks', false],
    ['select * from tasks order by user_id', false],
    ['select count(*) filter (where user_id = $1) from tasks', false],
    ['select * from tasks where user_id = $1', true],
    ['select * from tasks t where t.user_id in ($1)', true],
    ['select * from tasks t where (t.user_id, id) = ($1, $2)', true],
    ['select * from tasks where case when a then b end and user_id = $1', true],
    ['select * from tasks t join p using (user_id)', true],
    ['select * from tasks t join p on p.user_id = t.user_id', true],
    ['insert into tasks (user_id, title) values ($1, $2)', true],
    ['insert into tasks (title) values ($1) on conflict (user_id, title) do nothing', false],
    ['insert into tasks (title) values ($1) returning user_id', false],
    ['update tasks set user_id = $1', false],
    ['update tasks set title = $1 where user_id = $2', true],
    ['copy tasks (user_id, id) to stdout', false],
    ['select * from tasks where id in (select user_id from p)', false],
    ['select * from tasks -- where user_id = 1', false],
    ["select * from tasks where title = 'user_id'", false],
    ['select * from tasks where "user_id" = $1', true],
  ])('%s: %s', (sql, expected) => {
    expect(conditions(sql).includes('user_id')).toBe(expected);
  });
});

test('comments come without their marks, and are no part of the statement', () => {
  const { comments, verb } = readStatement('select /* SYSTEM: nightly report */ 1 -- end\n');
  expect(comments).toEqual(['SYSTEM: nightly report', 'end']);
  expect(verb).toBe('select');
});

test.each(['', "select 'open", 'select /* open', 'select $a$ open', ')))', 'select "open', '((('])(
  'what is no whole statement does no harm: %s',
  (sql) => {
    expect(readStatement(sql).tables).toEqual([]);
  },
);
