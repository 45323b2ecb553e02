import { afterEach, beforeEach, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../test/support/postgres.ts';
import { type Connection, connect } from './connection.ts';
import { makePlan } from './make-plan.ts';
import type { RolloutConfig } from './rollout-config.ts';

let database: TestDatabase;
let client: Connection;

beforeEach(async () => {
  database = await createDatabase();
  client = await connect(database.url, 'test');
  await client.query(`
    create table public.users (id int primary key, email text unique, favourite int);
    create table public.projects (id int primary key, owner_id int not null references public.users);
    create table public.events (id int, at date, project_id int not null references public.projects, parent int, primary key (id, at))
      partition by range (at);
    create table public.events_2025 partition of public.events for values from ('2025-01-01') to ('2026-01-01');
    create table public.events_rest partition of public.events default;
    create table public.remarks (id int primary key, owner_id int not null references public.users, event_id int, event_at date);
    create table public.states (id int primary key, event_id int, event_at date);
    create schema elsewhere;
    create table elsewhere.copies (id int primary key, project_id int)`);
});
afterEach(async () => {
  await client.end();
  await database.drop();
});

const config: RolloutConfig = { schemas: ['public'], tables: {}, shared: ['public.states'], ignored: [], csv: {} };

test.each([
  [
    'from the users',
    'public.users add constraint r foreign key (favourite) references public.projects',
    'a table of its own',
  ],
  [
    'from a schema that is left out',
    'elsewhere.copies add constraint r foreign key (project_id) references public.projects',
    'Drop it',
  ],
  [
    'to a partition',
    'public.remarks add constraint r foreign key (event_id, event_at) references public.events_2025',
    'Let it refer',
  ],
  [
    'to a partition, from what is shared',
    'public.states add constraint r foreign key (event_id, event_at) references public.events_2025',
    'Let it refer',
  ],
  [
    'from a partition',
    'public.events_2025 add constraint r foreign key (parent) references public.projects',
    'Give it',
  ],
])('a reference %s that needs the old key is refused', async (_, change, remedy) => {
  await makePlan(client, config);
  await client.query(`alter table ${change}`);
  const refusal = makePlan(client, config);
  await expect(refusal).rejects.toMatchObject({
    code: 'rollout_refused',
    extensions: { findings: [{ check: 'reference-past-the-owner', object: change.split(' ')[0] }] },
  });
  await expect(refusal).rejects.toThrow(remedy);
});
