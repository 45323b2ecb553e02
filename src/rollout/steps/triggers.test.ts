/** What the application's own triggers see of ours: docs/rollout.md says so, and preflight names them. */
import { expect, test } from 'vitest';
import { createDatabase, statement } from '../../../test/support/postgres.ts';
import { withConnection } from '../connection.ts';
import { makePlan } from '../make-plan.ts';
import { applyPlan } from '../run/runner.ts';

const logged = (name: string, when = '') => `
  create trigger "${name}" before update on public.tasks for each row ${when} execute function public.log_update('${name}')`;

test('a row that follows its parent fires triggers on any update, and the owner is all that has changed', async () => {
  const database = await createDatabase();
  try {
    await statement(
      database.url,
      `create table public.users (id integer primary key);
      create table public.projects (id integer primary key, owner_id integer not null references public.users);
      create table public.tasks (id integer primary key, project_id integer not null references public.projects, title text);
      create table public.log (name text, changed text[], depth integer);
      create function public.log_update() returns trigger language plpgsql set search_path = '' as $$
        begin
          insert into public.log select tg_argv[0], array_agg(o.key order by o.key), pg_trigger_depth()
            from jsonb_each(to_jsonb(old)) o where o.value is distinct from to_jsonb(new) -> o.key;
          return new;
        end $$;
      ${logged('on any update')};
      ${logged('not from triggers', 'when (pg_trigger_depth() = 0)')};
      create trigger "on the title" before update of title on public.tasks
        for each row execute function public.log_update('on the title');
      insert into public.users values (1), (2);
      insert into public.projects values (1, 1);
      insert into public.tasks values (1, 1, 'One'), (2, 1, 'Two')`,
    );
    await withConnection(database.url, 'test', async (client) => {
      const config = { tables: {}, shared: [], ignored: ['public.log'], csv: {} };
      await applyPlan(database.url, (await makePlan(client, config)).plan);
    });
    // The backfill and the cut-over have fired none.
    expect((await statement(database.url, 'select from public.log')).rowCount).toBe(0);

    await statement(database.url, 'update public.projects set owner_id = 2 where id = 1');
    const { rows } = await statement(database.url, 'select * from public.log');
    expect(rows).toEqual([
      { name: 'on any update', changed: ['user_id'], depth: 2 },
      { name: 'on any update', changed: ['user_id'], depth: 2 },
    ]);
  } finally {
    await database.drop();
  }
}, 60_000);
