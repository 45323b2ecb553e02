/** What provisioning takes from PUBLIC so that nobody sees others at work, tried as the application's role. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { withOwner } from '../../src/database/owner.ts';
import { appRole, roleUrl } from '../../src/database/provision.ts';
import { createDatabase, type TestDatabase } from '../support/postgres.ts';
import { testSecret } from '../support/templates.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase('isolated');
});
afterAll(() => database?.drop());

describe('who is at work, and how much there is, cannot be looked up', () => {
  test.each([
    'select * from pg_stat_activity',
    'select * from pg_stat_user_tables',
    'select * from pg_stat_user_indexes',
    'select * from pg_statio_user_tables',
    'select * from pg_stat_xact_user_tables',
    'select * from pg_stat_database',
    `select pg_stat_get_live_tuples('tasks'::regclass)`,
    'select * from pg_locks',
    'select pg_blocking_pids(pg_backend_pid())',
    'select * from pg_prepared_statements',
    'select * from pg_prepared_xacts',
    'select pg_cancel_backend(0)',
    'select pg_terminate_backend(0)',
  ])('%s', async (sql) => {
    const client = new pg.Client({ connectionString: roleUrl(database.url, appRole, testSecret) });
    await client.connect();
    try {
      await expect(client.query(sql)).rejects.toMatchObject({ code: '42501' });
    } finally {
      await client.end();
    }
    // The control: whoever watches over the cluster still does.
    await withOwner(database.url, async (owner) => {
      await owner.query('set role pg_monitor');
      await expect(owner.query(sql)).resolves.toBeDefined();
    });
  });
});
