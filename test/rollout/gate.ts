/**
 * Holds the command line at a chosen entry of its ledger, so that it can be killed exactly there: a trigger on the ledger,
 * planted by the test, sleeps inside the very transaction that makes the entry. The program knows nothing of it.
 *
 * An entry `running` stands between two steps: the one before is done, this one has not begun. An entry `done` or `undone`
 * is the end of a step's own transaction: killed there, the step's work is lost with its entry, or is there without it.
 */
import type pg from 'pg';
import { installState } from '../../src/rollout/state.ts';
import type { Stage } from './stage.ts';

/** An entry of the ledger. */
export interface Point {
  readonly step: string;
  readonly state: string;
}

const sleepSeconds = 60;

const plantSql = `
  create table if not exists ringfence_rollout.test_seen (at bigint generated always as identity, step text, state text);
  create table if not exists ringfence_rollout.test_stop (step text, state text);
  create or replace function ringfence_rollout.test_gate() returns trigger language plpgsql as $$
    begin
      if exists (select from ringfence_rollout.test_stop s where s.step = new.step_id and s.state = new.state) then
        perform pg_catalog.pg_sleep(${sleepSeconds});
      end if;
      insert into ringfence_rollout.test_seen (step, state) values (new.step_id, new.state);
      return null;
    end $$;
  create or replace trigger test_gate after insert or update on ringfence_rollout.steps
    for each row execute function ringfence_rollout.test_gate();
`;

/** Makes the ledger, as the first run would, and plants the trigger. */
export async function plantGate(stage: Stage): Promise<void> {
  await stage.asOwner(async (client) => {
    await installState(client);
    await client.query(plantSql);
  });
}

/** The entries that were made since the last time, in order. */
export async function takeSeen(stage: Stage): Promise<readonly Point[]> {
  return stage.asOwner(async (client) => {
    const { rows } = await client.query<Point>('select step, state from ringfence_rollout.test_seen order by at');
    await client.query('truncate ringfence_rollout.test_seen');
    return rows;
  });
}

/** Starts a command and kills it with SIGKILL at the point. @returns false when it ended without coming there */
export async function killAt(stage: Stage, point: Point, args: readonly string[]): Promise<boolean> {
  return stage.asOwner(async (client) => {
    await client.query('insert into ringfence_rollout.test_stop values ($1, $2)', [point.step, point.state]);
    const { child, outcome } = stage.start(...args);
    let ended = false;
    void outcome.then(() => {
      ended = true;
    });
    while (!ended && !(await isHeld(client))) await new Promise((resolve) => setTimeout(resolve, 3));
    child.kill('SIGKILL');
    const { signal, code, stdout, stderr } = await outcome;
    await client.query('delete from ringfence_rollout.test_stop');
    if (signal === 'SIGKILL') return true;
    if (code === 0) return false;
    throw new Error(
      `\`${args.join(' ')}\`, to be killed at ${point.step} (${point.state}), ended with ${code}\n${stdout}\n${stderr}`,
    );
  });
}

async function isHeld(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query(
    `select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`,
  );
  return rows.length > 0;
}

/** Kills a command after some time, wherever it is then. @returns false when it had ended well before */
export async function killAfter(stage: Stage, milliseconds: number, args: readonly string[]): Promise<boolean> {
  const { child, outcome } = stage.start(...args);
  const timer = setTimeout(() => child.kill('SIGKILL'), milliseconds);
  const { signal, code, stdout, stderr } = await outcome;
  clearTimeout(timer);
  if (signal === 'SIGKILL') return true;
  if (code === 0) return false;
  throw new Error(
    `\`${args.join(' ')}\`, to be killed after ${milliseconds} ms, ended with ${code}\n${stdout}\n${stderr}`,
  );
}
