import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { createDatabase, statement, withDatabase } from '../../../test/support/postgres.ts';
import { withConnection } from '../connection.ts';
import { lookUpPlan } from '../resolve-plan.ts';

const suffix = randomBytes(4).toString('hex');
const owner = `seal_owner_${suffix}`;
const application = `seal_application_${suffix}`;

/** The connection string of another role. */
function as(url: string, role: string): string {
  const other = new URL(url);
  other.username = role;
  other.password = 'secret';
  return other.href;
}

test('an owner who is no superuser sees that the old application is connected', async () => {
  const database = await createDatabase();
  try {
    await statement(
      database.url,
      `create role ${owner} login createrole password 'secret';
        create role ${application} login password 'secret';
        grant create on schema public to ${owner};
        create table public.notes (id integer primary key, user_id uuid not null);
        alter table public.notes owner to ${owner};
        grant select, insert on public.notes to ${application}`,
    );
    const faults = await withConnection(as(database.url, owner), 'test', async (client) => {
      const config = { tables: {}, shared: [], ignored: [], csv: {} };
      const { plan } = await lookUpPlan(client, config);
      const up = plan.steps.find(({ id }) => id === 'seal/sessions')?.up;
      if (up?.kind !== 'check') throw new Error('the plan has no check of sessions');
      const ask = async () => (await client.query<{ fault: string }>(up.query)).rows;
      expect(await ask()).toEqual([]);
      return withConnection(as(database.url, application), 'test', async (old) => {
        await old.query("set application_name = 'ringfence verify'");
        expect(await ask()).toEqual([]);
        await old.query("set application_name = 'ringfence-system'");
        return ask();
      });
    });
    expect(faults).toEqual([
      { fault: expect.stringMatching(`^a session of ${application} is connected \\(ringfence-system, pid `) },
    ]);
  } finally {
    await database.drop();
    await statement(withDatabase(database.url, 'postgres'), `drop role ${owner}, ${application}`);
  }
});
