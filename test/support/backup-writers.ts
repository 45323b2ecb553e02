/** Writers for the tests of backups: several tables in one transaction, commits all the time. */
import pg from 'pg';

export interface Writers {
  /** @throws when a write failed, so also when one waited for a lock longer than a second */
  stop(): Promise<void>;
}

/** Needs `public.accounts (id 1–50, total)` and `"My App"."Order" (n)`. */
export async function startWriters(url: string, number = 3): Promise<Writers> {
  let stopped = false;
  let writes = 0;
  const work = async (client: pg.Client, seed: number) => {
    for (let at = seed; !stopped; at += number) {
      await client.query(
        `begin; set local synchronous_commit = ${at % 2 === 0 ? 'on' : 'off'};
        update public.accounts set total = total + 1 where id = ${(at % 50) + 1};
        insert into "My App"."Order" (n) values (${at % 3});
        ${at % 7 === 0 ? `delete from "My App"."Order" where n = 1` : ''};
        commit`,
      );
      writes += 1;
    }
    await client.end();
  };
  const clients = await Promise.all(
    Array.from({ length: number }, async () => {
      const client = new pg.Client({ connectionString: url, application_name: 'writer', lock_timeout: 1_000 });
      await client.connect();
      return client;
    }),
  );
  const working = Promise.all(clients.map(work));
  return {
    async stop() {
      stopped = true;
      await working;
      if (writes < 100) throw new Error(`the writers wrote only ${writes} times`);
    },
  };
}
