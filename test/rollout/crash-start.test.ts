/**
 * Postgres starts again, whenever it crashes. It does not after a transaction that made an unlogged table was rolled back
 * and another one was committed before the next checkpoint: recovery makes the table's first fork anew and finds the file
 * of the other there ("could not create file …: File exists", 18.4). So nothing of ours is unlogged.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makePlan } from '../../src/rollout/make-plan.ts';
import { installState } from '../../src/rollout/state.ts';
import { installSql } from '../../src/rollout/state-sql.ts';
import { withClient } from './rows.ts';
import { openServer, type Server } from './server.ts';
import { textKeys } from './shapes/text-keys.ts';

let server: Server;

beforeAll(async () => {
  server = await openServer(true);
});
afterAll(() => server?.stop());

/** While another application commits. */
async function rolledBackBeforeACrash(url: string, sql: string): Promise<void> {
  await withClient(url, async (client) => {
    await client.query('checkpoint');
    await client.query('begin');
    await client.query(sql);
    await withClient(url, (other) => other.query('insert into public.seen values (1)'));
    await client.query('rollback');
  });
  const restart = await server.crash();
  await restart();
  expect((await withClient(url, (client) => client.query('select from public.seen'))).rowCount).toBe(1);
}

test('after a crash behind an installation that was rolled back', async () => {
  const { url } = await server.fresh(textKeys);
  await withClient(url, (client) => client.query('create table public.seen (id int)'));
  await rolledBackBeforeACrash(url, installSql);
});

test('after a crash behind rows that were set aside, and were not after all', async () => {
  const { url } = await server.fresh(textKeys);
  const statement = await withClient(url, async (client) => {
    await client.query('create role old_application login; create table public.seen (id int)');
    await client.query(textKeys.sql('old_application'));
    const { plan } = await makePlan(client, {
      tables: {},
      ignored: ['public.seen'],
      csv: {},
      shared: [],
      ...textKeys.config,
    });
    await installState(client);
    const all = JSON.stringify(plan).match(/"(do \$\$(?:[^"\\]|\\.)*displacing(?:[^"\\]|\\.)*)"/);
    const makesTable = /create (?:\w+ )?table ringfence_rollout\.displacing [^;]*;/.exec(all?.[1] ?? '');
    return makesTable?.[0] ?? '';
  });
  expect(statement).not.toBe('');
  await rolledBackBeforeACrash(url, statement);
});
