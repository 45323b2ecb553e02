import { expect, test } from 'vitest';
import { createDatabase, statement } from '../../../test/support/postgres.ts';
import { withConnection } from '../connection.ts';
import { makePlan } from '../make-plan.ts';
import { applyPlan, rollbackPlan } from './runner.ts';
import type { RunEvent } from './step-run.ts';

const schema = `
  create table public.users (id integer primary key);
  create table public.projects (id integer primary key, owner_id integer not null references public.users);
  create table public.tasks (id integer primary key, project_id integer not null references public.projects);
  insert into public.users values (1), (2);
  insert into public.projects values (1, 1), (2, 2);
  insert into public.tasks values (1, 1), (2, 2)`;

/** Ends a run behind the first step whose id matches. */
function until(pattern: RegExp) {
  const stop = new AbortController();
  const onEvent = (event: RunEvent) => {
    if (event.kind === 'stepDone' && pattern.test(event.step.id)) stop.abort();
  };
  return { signal: stop.signal, onEvent };
}

test('a way back that was broken off among the keys is not turned round; the way forth is', async () => {
  const database = await createDatabase();
  const constraints = async () => {
    const { rows } = await statement(
      database.url,
      `select conrelid::regclass::text as "on", conname, pg_get_constraintdef(oid) as is, convalidated from pg_constraint
      where connamespace = 'public'::regnamespace and contype in ('p', 'f') order by 1, 2`,
    );
    return rows;
  };
  try {
    await statement(database.url, schema);
    const before = await constraints();
    const plan = await withConnection(database.url, 'test', async (client) => {
      return (await makePlan(client, { tables: {}, shared: [], ignored: [], csv: {} })).plan;
    });
    await applyPlan(database.url, plan, { until: 'contract' });
    const stopped = { code: 'rollout_failed', message: expect.stringContaining('Stopped before the end') };
    // The keys of the tasks are the old ones again, those of the projects still carry the owner.
    await expect(
      rollbackPlan(database.url, plan, { to: null, ...until(/^contract\/public\.tasks\/keys/) }),
    ).rejects.toMatchObject(stopped);
    await expect(applyPlan(database.url, plan, { until: 'contract' })).rejects.toMatchObject({
      code: 'rollout_refused',
      message: expect.stringContaining('broken off within the phase contract'),
    });
    await rollbackPlan(database.url, plan, { to: 'cutover' });
    // The other direction may be turned round at any place.
    await expect(
      applyPlan(database.url, plan, { until: 'contract', ...until(/^contract\/public\.projects\/keys/) }),
    ).rejects.toMatchObject(stopped);
    await applyPlan(database.url, plan, { until: 'contract' });
    await rollbackPlan(database.url, plan, { to: null });
    expect(await constraints()).toEqual(before);
  } finally {
    await database.drop();
  }
}, 120_000);
